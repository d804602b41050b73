"""Two bundles on the same studies."""

import numpy as np
import pytest

from triage_agent.learning.compare import Judge, comparison, paired
from triage_agent.learning.metrics import StudyScore, auroc
from triage_agent.learning.significance import delong_test


def judge(labels, probabilities, threshold=0.5, anatomies=None):
    anatomies = anatomies or ["XR_KNEE"] * len(labels)
    rows = zip(labels, probabilities, anatomies, strict=True)
    return Judge(
        [
            StudyScore(study=f"s{i}", patient=f"p{i // 2}", anatomy=anatomy, label=label, probability=probability)
            for i, (label, probability, anatomy) in enumerate(rows)
        ],
        threshold,
    )


def two(seed=0, cases=200):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, cases).tolist()
    return labels, [
        [float(np.clip(weight * label + 0.6 * generator.random(), 0, 1)) for label in labels] for weight in (0.4, 0.1)
    ]


def test_differences_are_those_of_the_two_and_carry_their_p_values():
    labels, (better, worse) = two()
    found = paired(judge(labels, better, 0.5), judge(labels, worse, 0.3), seed=0, resamples=200)
    area = found["auroc"]
    assert area["first"] == pytest.approx(auroc(labels, better))
    assert area["difference"]["value"] == pytest.approx(auroc(labels, better) - auroc(labels, worse))
    assert area["difference"]["low"] > 0
    assert area["p"] == delong_test(labels, better, worse) < 0.001
    right = [np.mean((np.array(p) >= t) == labels) for p, t in ((better, 0.5), (worse, 0.3))]
    accuracy = found["accuracy"]
    assert [accuracy["first"], accuracy["second"]] == pytest.approx(right)
    assert accuracy["only_first_right"] - accuracy["only_second_right"] == pytest.approx(200 * (right[0] - right[1]))
    assert accuracy["difference"]["low"] < right[0] - right[1] < accuracy["difference"]["high"]


def test_a_bundle_is_as_good_as_itself():
    labels, (one, _) = two()
    found = paired(judge(labels, one), judge(labels, one), seed=0, resamples=50)
    for name in ("auroc", "accuracy"):
        assert found[name]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert found[name]["p"] == 1.0


def test_the_interval_of_a_difference_is_narrower_than_those_of_unpaired_figures():
    labels, (one, _) = two(3)
    generator = np.random.default_rng(1)
    other = [float(np.clip(p + generator.normal(0, 0.02), 0, 1)) for p in one]
    difference = paired(judge(labels, one), judge(labels, other), seed=0, resamples=300)["auroc"]["difference"]
    assert difference["high"] - difference["low"] < 0.02


def test_each_region_is_compared_by_itself_and_one_class_gives_no_area():
    labels, (one, other) = [1, 0, 1, 0, 0, 0], ([0.9, 0.1, 0.8, 0.2, 0.6, 0.1], [0.4, 0.3, 0.9, 0.1, 0.2, 0.3])
    regions = ["XR_KNEE"] * 4 + ["XR_HAND"] * 2
    found = comparison(judge(labels, one, 0.5, regions), judge(labels, other, 0.5, regions), seed=0, resamples=20)
    assert (found["overall"]["n"], found["anatomies"]["XR_KNEE"]["n"], found["anatomies"]["XR_HAND"]["n"]) == (6, 4, 2)
    hand = found["anatomies"]["XR_HAND"]
    assert (hand["auroc"]["first"], hand["auroc"]["difference"]["value"], hand["auroc"]["p"]) == (None, None, None)
    assert hand["accuracy"]["difference"]["value"] == pytest.approx(-0.5)


def test_other_studies_cannot_be_compared():
    with pytest.raises(ValueError, match="same studies"):
        comparison(judge([1, 0], [1.0, 0.0]), judge([1], [1.0]), seed=0, resamples=5)
