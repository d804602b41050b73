import numpy as np
import pytest

from triage_agent.learning.coverage import coverage, coverage_section
from triage_agent.learning.metrics import StudyScore
from triage_agent.models.calibration import sigmoid
from triage_agent.models.conformal import fit_conformal


def studies(count, seed, region="XR_KNEE"):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    probabilities = sigmoid(generator.normal(size=count) + 3.0 * labels - 1.5)
    return [
        StudyScore(study=f"{region}{n}", patient=f"{n}", anatomy=region, label=int(label), probability=float(value))
        for n, (label, value) in enumerate(zip(labels, probabilities, strict=True))
    ]


def fitted(scores):
    return fit_conformal(
        np.array([one.probability for one in scores]),
        np.array([float(one.label) for one in scores]),
        [one.anatomy for one in scores],
        0.1,
    )


def test_what_was_promised_is_kept_on_new_studies():
    found = coverage(studies(4000, 2), fitted(studies(2000, 1)), 0.5)
    for alpha in ("0.05", "0.1", "0.2"):
        overall = found[alpha]["overall"]
        for name in ("covered", "covered_normal", "covered_abnormal"):
            assert overall[name] == pytest.approx(1 - float(alpha), abs=0.02)
    assert found["0.05"]["overall"]["uncertain"] > found["0.2"]["overall"]["uncertain"]


def test_a_class_that_is_not_there_has_no_share():
    normal = [one for one in studies(50, 3) if not one.label]
    found = coverage(normal, fitted(studies(500, 1)), 0.5)
    assert found["0.1"]["overall"]["covered_abnormal"] is None
    assert "&ndash;" in coverage_section(found)


def test_a_broken_promise_shows():
    flipped = [
        StudyScore(
            study=one.study, patient=one.patient, anatomy=one.anatomy, label=1 - one.label, probability=one.probability
        )
        for one in studies(500, 2)
    ]
    assert coverage(flipped, fitted(studies(500, 1)), 0.5)["0.1"]["overall"]["covered"] < 0.5


@pytest.mark.parametrize("threshold", [0.02, 0.2, 0.5, 0.8, 0.98])
def test_what_is_called_for_sure_is_wrong_no_more_often_than_promised_wherever_the_threshold_lies(threshold):
    found = coverage(studies(4000, 2), fitted(studies(2000, 1)), threshold)
    for alpha in ("0.05", "0.1", "0.2"):
        overall = found[alpha]["overall"]
        assert overall["wrong_normal"] <= float(alpha) + 0.02
        assert overall["wrong_abnormal"] <= float(alpha) + 0.02


def test_a_region_that_is_harder_than_the_others_keeps_its_promise_at_the_common_threshold():
    def mixed(count, seed):
        easy = studies(count, seed)
        hard = [
            StudyScore(
                study=f"h{one.study}",
                patient=f"h{one.patient}",
                anatomy="XR_HAND",
                label=one.label,
                probability=one.probability * 0.3,
            )
            for one in studies(count, seed + 50)
        ]
        return [*easy, *hard]

    hand = coverage(mixed(3000, 2), fitted(mixed(2000, 1)), 0.5)["0.1"]["anatomies"]["XR_HAND"]
    assert hand["wrong_abnormal"] <= 0.12
    assert hand["uncertain"] > 0.3
