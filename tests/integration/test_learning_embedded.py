"""The bundle that ships, on real knees that it was not trained on."""

import numpy as np
import pytest
from support.data import shared_data

from triage_agent.learning.evaluate import evaluate
from triage_agent.learning.mura import read_split
from triage_agent.models.bundle import load_bundle, verify
from triage_agent.models.scorer import load_scorer

pytestmark = pytest.mark.timeout(900)  # all knees take a minute of a core, and cores are shared
SHIPPED_BYTES = 25_000_000
REGIONS = {f"XR_{name}" for name in ("ELBOW", "FINGER", "FOREARM", "HAND", "HUMERUS", "SHOULDER", "WRIST", "KNEE")}


def test_the_embedded_bundle_is_whole_small_and_honest_about_itself():
    bundle = load_bundle("embedded")
    assert verify("embedded") == []
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) < SHIPPED_BYTES
    assert set(bundle.spec.anatomies) == REGIONS
    assert bundle.spec.clinical_use is False
    assert "not for clinical use" in bundle.spec.notice
    for said in ("not for clinical use", "CC BY 4.0", "Osteoarthritis Initiative", "triage-agent train", "SigLIP"):
        assert said in bundle.model_card


def test_a_full_size_radiograph_scores_like_its_thumbnail():
    scorer = load_scorer("embedded", "cpu")
    y, x = np.mgrid[:250, :200] / 250
    small = np.clip(0.4 + 0.3 * np.sin(9 * x) * np.cos(7 * y), 0, 1).astype(np.float32)
    large = np.repeat(np.repeat(small, 10, axis=0), 10, axis=1)
    assert scorer.score([large])[0].probability == pytest.approx(scorer.score([small])[0].probability, abs=0.05)


@pytest.fixture(scope="module")
def report():
    """Of all real knees; its intervals, which nobody looks at here, cost as much as the scores."""
    return evaluate(shared_data("knees"), "embedded", device="cpu", resamples=10)


@pytest.mark.shared
def test_real_knees_are_told_apart_as_well_as_the_card_says(report):
    bundle = load_bundle("embedded")
    figures = report.anatomies["XR_KNEE"]
    said = bundle.spec.metrics["valid"]["knees"]["anatomies"]["XR_KNEE"]
    area = figures.estimates["auroc"]
    assert area.value >= 0.915
    assert area.value == pytest.approx(said["auroc"]["value"], abs=1e-3)
    assert figures.estimates["ece"].value < 0.05
    assert report.details["conformal"]["0.1"]["overall"]["covered"] == pytest.approx(0.9, abs=0.025)
    assert figures.estimates["sensitivity"].value == pytest.approx(said["sensitivity"]["value"], abs=0.01)


@pytest.mark.shared
def test_severe_knees_raise_the_flag_at_once(report):
    bundle = load_bundle("embedded")
    severe = {image.study for image in read_split(shared_data("knees"), "valid") if (image.grade or 0) >= 3}
    probabilities = np.array([score.probability for score in report.scores if score.study in severe])
    assert len(probabilities) == len(severe) > 0
    assert np.mean(probabilities >= bundle.spec.thresholds.alert) >= 0.85
