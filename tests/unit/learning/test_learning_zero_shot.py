"""Zero-shot bundles with a site's data: calibrated, measured, and honest about it."""

import json

import pytest
from support.checkpoints import write_gemma, write_siglip

from triage_agent.learning.evaluate import evaluate
from triage_agent.learning.mura import DataError
from triage_agent.learning.zero_shot import ZeroShotOptions, make_zero_shot
from triage_agent.models.bundle import load_bundle, verify
from triage_agent.models.scorer import load_scorer

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


@pytest.fixture
def data(layout):
    """Six patients a region to calibrate on, two to measure; one of a region that the prompts lack."""
    return layout(
        [
            (
                split,
                anatomy,
                f"patient{place:05d}",
                f"study1_{'positive' if place % 2 else 'negative'}",
                place % 2,
                None,
            )
            for split, places in (("train", range(6)), ("valid", range(6, 8)))
            for anatomy in ("XR_KNEE", "XR_WRIST", "XR_HAND")
            for place in places
        ]
    )


@pytest.fixture(params=[write_siglip, write_gemma])
def options(request, tmp_path, data):
    (tmp_path / "prompts.toml").write_text(PROMPTS)
    return ZeroShotOptions(
        encoder=str(request.param(tmp_path / "medsiglip")),
        out=tmp_path / "bundle",
        prompts=tmp_path / "prompts.toml",
        data=(data,),
        device="cpu",
    )


def test_with_data_a_bundle_is_calibrated_and_its_card_has_the_figures(options, data):
    told = []
    bundle = load_bundle(make_zero_shot(options, told.append))
    drawn = bundle.spec.training_data["calibration"]
    valid = bundle.spec.metrics["valid"]["mini"]

    assert verify(bundle.folder) == []
    assert told[1:] == ["calibrating on 12 images", "measuring on the valid split of mini"]
    assert (drawn["studies"], drawn["patients"], drawn["anatomies"]) == (12, 6, ["XR_KNEE", "XR_WRIST"])
    assert (bundle.spec.calibration.a, bundle.spec.calibration.b) != (1.0, 0.0)
    assert bundle.spec.thresholds.alert >= bundle.spec.thresholds.abnormal != 0.5
    assert "Youden" in bundle.spec.thresholds.abnormal_rule
    assert "calibrated on 12 studies of mini" in bundle.spec.notice
    assert "ncalibrated" not in bundle.model_card
    assert bundle.spec.clinical_use is False
    assert f"| all | {valid['n']} | {valid['overall']['auroc']['value']:.3f}" in bundle.model_card
    assert f"AUROC {bundle.spec.metrics['calibration']['auroc']:.3f}" in bundle.model_card
    again = evaluate(data, bundle.folder, device="cpu").to_json()
    assert {key: again[key] for key in ("overall", "anatomies")} == {
        key: valid[key] for key in ("overall", "anatomies")
    }
    assert json.dumps(bundle.spec.metrics)


def test_evaluation_tells_the_scorer_each_images_region(options, data, monkeypatch):
    bundle = make_zero_shot(options, lambda _line: None)
    asked = []
    scorer = load_scorer(bundle, "cpu")
    genuine = scorer.score
    monkeypatch.setattr(scorer, "score", lambda images, regions: asked.extend(regions) or genuine(images, regions))
    monkeypatch.setattr("triage_agent.learning.evaluate.load_scorer", lambda *_args, **_options: scorer)
    evaluate(data, bundle)

    assert sorted(set(asked)) == ["XR_HAND", "XR_KNEE", "XR_WRIST"]


def test_few_studies_are_drawn_by_patient_and_by_seed(options):
    def drawn(**changes):
        made = make_zero_shot(
            ZeroShotOptions(**{**{key: getattr(options, key) for key in options.__slots__}, **changes}),
            lambda _line: None,
        )
        return load_bundle(made).spec.training_data["calibration"]

    assert drawn(studies=7)["studies"] == 8
    with pytest.raises(DataError, match="do not hold both normal and abnormal"):
        drawn(studies=1)
