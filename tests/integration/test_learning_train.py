"""`train` and `evaluate` from files to bundle and report, at a tiny size."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support.bundles import write_tiny_bundle
from support.radiographs import write_mura
from transformers import SiglipVisionConfig, SiglipVisionModel

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.evaluate import evaluate
from triage_agent.learning.metrics import METRICS
from triage_agent.learning.mura import DataError, read_display, read_split
from triage_agent.learning.options import TrainOptions
from triage_agent.learning.train import train
from triage_agent.models.bundle import load_bundle
from triage_agent.models.scorer import load_scorer

RECIPE = """
batch_size = 8
held_back = 0.25
warmup_epochs = 0.0
learning_rate = 0.01
encoder_learning_rate = 0.01
{members}
stages = [{{ size = 24, epochs = 2 }}, {{ size = 32, epochs = 2 }}]
[encoder]
widths = [8, 16]
depths = [1, 1]
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return write_mura(tmp_path_factory.mktemp("data") / "mini")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(members="members = 1"))
    return path


@pytest.fixture
def few_patients(tmp_path):
    path = tmp_path / "few.toml"
    path.write_text("held_back = 0.25\nepochs = 4\n")
    return path


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=56, patch_size=14
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-siglip"
    SiglipVisionModel(config).save_pretrained(folder)
    return folder


def options(mini, out, **changes):
    return TrainOptions(data=(mini,), out=out, device="cpu", cache=out.parent / "cache", **changes)


def tensors(bundle):
    return {path.name: load_file(path) for path in sorted(bundle.glob("*.safetensors"))}


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[file][name]) for file, state in one.items() for name, tensor in state.items()
    )


class InterruptedHereError(Exception):
    pass


def interrupting(after):
    """A progress callback that raises once `after` epochs are done."""
    seen = []

    def progress(line):
        if line.startswith("epoch"):
            seen.append(line)
            if len(seen) == after:
                raise InterruptedHereError

    return progress


def test_a_compact_bundle_learns_and_says_what_it_is(mini, tmp_path, recipe):
    lines = []
    notes = tmp_path / "notes.md"
    notes.write_text("## Limits\n\nDrawn images.\n")
    out = train(options(mini, tmp_path / "bundle", recipe=recipe, notes=notes), lines.append)
    bundle = load_bundle(out)
    assert bundle.spec.encoder.kind == "compact"
    assert bundle.spec.encoder.source == "bundle"
    assert bundle.spec.anatomies == ("XR_KNEE",)
    assert bundle.spec.clinical_use is False
    assert bundle.spec.training_data["images"] == 48
    assert bundle.spec.metrics["valid"]["mini"]["n"] == 12
    assert "Not for clinical use until it has been validated" in bundle.model_card
    assert "Drawn images." in bundle.model_card
    command = "triage-agent train mini --encoder compact --recipe recipe.toml --notes notes.md --out bundle"
    assert command in bundle.model_card
    assert any("epoch 4 of 4 at 32 px" in line for line in lines)
    assert not (tmp_path / ".bundle.work").exists()
    assert evaluate(mini, out, resamples=50).overall.estimates["auroc"].value > 0.9


def test_a_resumed_run_ends_like_an_uninterrupted_one(mini, tmp_path, recipe):
    whole = tensors(train(options(mini, tmp_path / "whole", recipe=recipe), lambda line: None))
    with pytest.raises(InterruptedHereError):
        train(options(mini, tmp_path / "resumed", recipe=recipe), interrupting(3))
    torch.manual_seed(99)
    lines = []
    resumed = tensors(train(options(mini, tmp_path / "resumed", recipe=recipe, resume=True), lines.append))
    assert next(line for line in lines if line.startswith("epoch")).startswith("epoch 4 of 4")
    assert same(whole, resumed)


def test_a_checkpoint_of_another_run_is_not_resumed(mini, tmp_path, recipe):
    with pytest.raises(InterruptedHereError):
        train(options(mini, tmp_path / "bundle", recipe=recipe), interrupting(1))
    with pytest.raises(ConfigurationError, match="another training run"):
        train(options(mini, tmp_path / "bundle", recipe=recipe, resume=True, seed=5), lambda line: None)


def test_members_are_trained_side_by_side_and_averaged(mini, tmp_path, recipe):
    recipe.write_text(RECIPE.format(members="members = 2"))
    lines = []
    out = train(options(mini, tmp_path / "pair", recipe=recipe), lines.append)
    assert {line.split(",")[0] for line in lines if line.startswith("member")} == {"member 1 of 2", "member 2 of 2"}
    spec = load_bundle(out).spec
    assert len(spec.encoder.config["towers"]) == 2
    assert spec.head.input_dim == 32
    assert evaluate(mini, out, resamples=50).overall.estimates["auroc"].value > 0.9


def test_a_frozen_encoder_gets_a_head_and_its_embeddings_are_kept(mini, tmp_path, siglip, few_patients):
    lines = []
    out = train(options(mini, tmp_path / "bundle", encoder=str(siglip), recipe=few_patients), lines.append)
    spec = load_bundle(out).spec
    assert (spec.encoder.kind, spec.encoder.source) == ("siglip", str(siglip))
    assert spec.head.hidden == (512, 256)
    assert not (out / "encoder.safetensors").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "embeddings").iterdir()}
    assert kept
    again = train(options(mini, tmp_path / "again", encoder=str(siglip), recipe=few_patients), lambda line: None)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "embeddings").iterdir()} == kept
    assert same(tensors(out), tensors(again))


def test_the_last_blocks_of_a_siglip_encoder_can_be_tuned_and_resumed(mini, tmp_path, siglip, few_patients):
    whole = train(
        options(mini, tmp_path / "whole", encoder=str(siglip), recipe=few_patients, unfreeze=1), lambda line: None
    )
    spec = load_bundle(whole).spec
    assert spec.encoder.source == "bundle"
    assert spec.encoder.base.source == str(siglip)
    before, after = load_file(siglip / "model.safetensors"), load_file(whole / "encoder.safetensors")
    changed = {
        name for name in after for old in before if name.endswith(old) and not torch.equal(after[name], before[old])
    }
    assert changed
    assert all("layers.2." in name for name in changed)
    with pytest.raises(InterruptedHereError):
        train(
            options(mini, tmp_path / "resumed", encoder=str(siglip), recipe=few_patients, unfreeze=1), interrupting(2)
        )
    resumed = train(
        options(mini, tmp_path / "resumed", encoder=str(siglip), recipe=few_patients, unfreeze=1, resume=True),
        lambda line: None,
    )
    assert same(tensors(whole), tensors(resumed))


@pytest.mark.parametrize(("whose", "images"), [("first", 12), ("all", 36)])
def test_thresholds_and_calibration_come_from_the_first_root_or_from_all(mini, tmp_path, recipe, whose, images):
    recipe.write_text(f'calibrate_on = "{whose}"\n' + recipe.read_text())
    hands = write_mura(tmp_path / "hands", anatomies=("XR_HAND", "XR_WRIST"), seed=4, grades=False)
    both = TrainOptions(data=(mini, hands), out=tmp_path / "bundle", recipe=recipe, device="cpu")
    spec = load_bundle(train(both, lambda line: None)).spec
    assert spec.anatomies == ("XR_HAND", "XR_KNEE", "XR_WRIST")
    assert spec.training_data["reference_images"] == images
    assert set(spec.metrics["valid"]) == {"mini", "hands"}
    assert set(spec.metrics["valid"]["hands"]["anatomies"]) == {"XR_HAND", "XR_WRIST"}


def test_data_sets_of_one_name_keep_their_figures_apart_and_a_head_alone_says_how_it_learnt(tmp_path, few_patients):
    roots = tuple(write_mura(tmp_path / place / "knees", patients=16, seed=place == "b") for place in ("a", "b"))
    start = write_tiny_bundle(tmp_path / "start", training_data={"images": 8, "roots": ["elsewhere"]})
    asked = options(roots[0], tmp_path / "out", encoder=str(start), unfreeze=0, recipe=few_patients)
    made = load_bundle(train(replace(asked, data=roots), lambda line: None))
    assert made.spec.training_data["roots"] == ["knees", "knees (2)"]
    assert list(made.spec.metrics["valid"]) == ["knees", "knees (2)"]
    assert "## Held-out figures: knees (2), split valid" in made.model_card
    assert "Whether `tiny` learnt from patients that are held back here cannot be known" in made.model_card
    assert "rate 0.0001 throughout" in made.model_card
    assert "moving average" not in made.model_card


def test_a_shared_patient_stops_training(tmp_path, recipe):
    root = write_mura(tmp_path / "mini", patients=6)
    with (root / "valid_image_paths.csv").open("a") as file:
        file.write((root / "train_image_paths.csv").read_text().splitlines()[0].replace("/train/", "/valid/") + "\n")
    with pytest.raises(DataError, match="are in both train and valid"):
        train(options(root, tmp_path / "bundle", recipe=recipe), lambda line: None)


def test_a_missing_file_stops_training(tmp_path, recipe):
    root = write_mura(tmp_path / "mini", patients=6)
    shutil.rmtree(root / "train/XR_KNEE/patient00003")
    with pytest.raises(DataError, match=r"2 images .* are missing: .*patient00003"):
        train(options(root, tmp_path / "bundle", recipe=recipe), lambda line: None)


def test_an_evaluation_is_the_public_json_and_a_page_that_stands_alone(mini, tmp_path, recipe):
    out = train(options(mini, tmp_path / "bundle", recipe=recipe), lambda line: None)
    report = evaluate(mini, out, out=tmp_path / "report", resamples=50)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content == json.loads(json.dumps(report.to_json()))
    assert content["n"] == content["overall"]["n"] == 12
    assert content["images"] == 24
    assert content["bundle"]["digest"] == load_bundle(out).digest
    assert content["anatomies"].keys() == {"XR_KNEE"}
    assert content["overall"].keys() == {"n", "prevalence", "auroc_delong", *METRICS}
    assert all(content["overall"][name].keys() == {"value", "low", "high"} for name in METRICS)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 6
    assert "http" not in page
    assert "not for clinical use" in page
    assert evaluate(mini, out, resamples=50).to_json() == content


def test_the_figures_are_of_studies_with_the_mean_of_their_images(mini, tmp_path, recipe):
    out = train(options(mini, tmp_path / "bundle", recipe=recipe), lambda line: None)
    report = evaluate(mini, out, resamples=10)
    images = [image for image in read_split(mini, "valid") if image.study == report.scores[0].study]
    scores = load_scorer(out, "cpu").score([read_display(image.path) for image in images])
    assert report.scores[0].probability == pytest.approx(sum(score.probability for score in scores) / 2)


def test_a_compact_bundle_can_go_on_learning_with_more_data(mini, tmp_path, recipe):
    recipe.write_text(RECIPE.format(members="members = 2"))
    first = train(options(mini, tmp_path / "first", recipe=recipe), lambda line: None)
    hands = write_mura(tmp_path / "hands", anatomies=("XR_HAND",), seed=4, grades=False)
    recipe.write_text(RECIPE.format(members="members = 2").replace("0.01", "0.0000001"))
    both = TrainOptions(data=(mini, hands), encoder=str(first), out=tmp_path / "second", recipe=recipe, device="cpu")
    second = train(both, lambda line: None)
    assert len(load_bundle(second).spec.encoder.config["towers"]) == 2
    before, after = load_file(first / "encoder.safetensors"), load_file(second / "encoder.safetensors")
    weights = [name for name in after if name.endswith("0.weight")]
    assert weights
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in weights)
    assert "triage-agent train mini hands --encoder first" in load_bundle(second).model_card


def test_lesions_are_learnt_from_crops_first_and_bundles_can_be_joined(mini, tmp_path, recipe):
    boxed = write_mura(tmp_path / "boxed", anatomies=("XR_HAND",), seed=4, grades=False, boxes=True)
    stages = "stages = [{ size = 32, crop = 16, epochs = 2 }, { size = 32, epochs = 2 }]\n[encoder]\nunshuffle = 2\n"
    recipe.write_text(
        RECIPE.format(members="").replace(
            "stages = [{ size = 24, epochs = 2 }, { size = 32, epochs = 2 }]\n[encoder]", stages
        )
    )
    lines = []
    lesions = TrainOptions(data=(mini, boxed), out=tmp_path / "lesions", recipe=recipe, device="cpu", name="lesions")
    train(lesions, lines.append)
    assert [line for line in lines if "epoch 2 of 4 at crops of 16 px from 32: loss" in line]
    assert "2 epochs at crops of 16 px from 32 px" in load_bundle(lesions.out).model_card
    recipe.write_text(RECIPE.format(members="members = 2"))
    other = train(
        replace(options(mini, tmp_path / "other", recipe=recipe, name="other"), data=(mini, boxed)), lines.append
    )
    joint = TrainOptions(
        data=(mini, boxed), join=(other, lesions.out), out=tmp_path / "joint", recipe=recipe, device="cpu"
    )
    bundle = load_bundle(train(joint, lines.append))
    told = next(line for line in lines if line.startswith("shares for XR_HAND: "))
    shares = [float(part.rpartition(" ")[2]) for part in told.split(", ")]
    displays = [read_display(image.path) for image in read_split(boxed, "valid")]
    parts = [load_scorer(folder, "cpu").logits(displays) for folder in (other, lesions.out)]
    expected = sum(share * part for share, part in zip(shares, parts, strict=True))
    assert load_scorer(bundle.folder, "cpu").logits(displays) == pytest.approx(expected, abs=0.02)
    assert [one["name"] for one in bundle.spec.training_data["started_from"]] == ["other", "lesions"]
    assert "--join other --join lesions" in bundle.model_card
    assert "set on all of them" in bundle.model_card


def test_a_joined_bundle_answers_for_the_regions_that_it_knows(mini, tmp_path, recipe):
    hands = write_mura(tmp_path / "hands", anatomies=("XR_HAND",), seed=4, grades=False)
    both = replace(options(mini, tmp_path / "both", recipe=recipe, name="both"), data=(mini, hands))
    folders = (
        train(both, lambda line: None),
        train(options(hands, tmp_path / "some", recipe=recipe, name="some"), lambda line: None),
    )
    lines = []
    joint = TrainOptions(data=(mini, hands), join=folders, out=tmp_path / "joint", recipe=recipe, device="cpu")
    bundle = load_bundle(train(joint, lines.append))
    shares = dict(line.removeprefix("shares for ").split(": ") for line in lines if line.startswith("shares for"))
    assert bundle.spec.head.kind == "mixture"
    assert bundle.spec.head.regions == ("XR_HAND", "XR_KNEE") == tuple(sorted(shares))
    assert shares["XR_KNEE"].endswith("some 0.000")
    head, width = load_file(bundle.head_path), load_bundle(folders[0]).spec.head.input_dim
    hand, knee = head["experts.weight"]
    assert hand[:width].any()
    assert hand[width:].any()
    assert knee[:width].any()
    assert not knee[width:].any()
    assert "a gate" in bundle.model_card
    images = [read_display(image.path) for image in read_split(hands, "valid")]
    assert load_scorer(bundle.folder, "cpu").logits(images).shape == (len(images),)
