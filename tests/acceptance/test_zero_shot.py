"""A site without training data: the agent serves a bundle that was made of a checkpoint and sentences alone."""

from datetime import UTC, datetime

import pytest
from support.checkpoints import write_gemma, write_siglip
from support.xrays import send

from triage_agent.imaging.loader import DirectLoader, load_instance
from triage_agent.learning.zero_shot import UNVALIDATED, ZeroShotOptions, make_zero_shot
from triage_agent.models.scorer import load_scorer
from triage_agent.simulation.phantom import simulate_study, study_datasets

PROMPTS = """
[default]
name = "bone"
question = "does this radiograph of {region} show a fracture?"
abnormal = ["a radiograph of {region} with a fracture"]
normal = ["a normal radiograph of {region}"]
[regions.XR_KNEE]
name = "a knee"
[regions.XR_WRIST]
name = "a wrist"
"""


@pytest.fixture(params=[write_siglip, write_gemma], ids=["prompts", "question"])
def zero_shot(request, tmp_path):
    """The folder of a bundle of either kind."""
    (tmp_path / "prompts.toml").write_text(PROMPTS)
    checkpoint = request.param(tmp_path / "checkpoint")
    options = ZeroShotOptions(encoder=str(checkpoint), out=tmp_path / "bundle", prompts=tmp_path / "prompts.toml")
    return make_zero_shot(options, lambda _line: None)


def expected(bundle, images, folder):
    """The study's probability by the bundle alone."""
    loaded = []
    for number, image in enumerate(images):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        loaded.append(load_instance(DirectLoader(), folder / f"{number}.dcm"))
    scores = load_scorer(bundle, "cpu", threads=1).score([one.image for one in loaded], ["XR_WRIST"] * len(loaded))
    return sum(score.probability for score in scores) / len(scores)


def texts(content):
    """Every sentence of a report."""
    below = [text for one in content.get("ContentSequence", []) for text in texts(one)]
    return [content.TextValue, *below] if "TextValue" in content else below


def test_a_served_zero_shot_bundle_decides_a_study_by_its_regions_sentences(agent, pacs, zero_shot, tmp_path):
    images = study_datasets(simulate_study("XR_WRIST", abnormal=True, seed=3, long_side=256), 3, now=datetime.now(UTC))
    site = agent(bundle=zero_shot, pacs_port=pacs.port)
    assert set(send(site.port, *images).values()) == {0x0000}
    (item,) = site.settled(images[0].StudyInstanceUID)
    assert (item["status"], item["anatomy"], item["instances"]) == ("delivered", "XR_WRIST", len(images))
    assert item["finding"] in {"normal", "abnormal", "uncertain"}
    assert item["probability"] == pytest.approx(expected(zero_shot, images, tmp_path), abs=1e-5)
    (report,) = [each for each in pacs.objects if each.get("Modality") == "SR"]
    assert UNVALIDATED in "\n".join(texts(report))
