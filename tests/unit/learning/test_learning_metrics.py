"""Metrics against hand-made tables and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from triage_agent.learning.metrics import METRICS, StudyScore, auroc, block, study_scores, weighted_metrics


def scores_of(labels, probabilities, patients=None):
    patients = patients or [f"p{index}" for index in range(len(labels))]
    return [
        StudyScore(study=f"s{index}", patient=patient, anatomy="XR_KNEE", label=label, probability=probability)
        for index, (label, probability, patient) in enumerate(zip(labels, probabilities, patients, strict=True))
    ]


def test_a_table_worked_by_hand_gives_its_figures():
    # 4 abnormal: 3 called; 6 normal: 1 called.
    figures = block(scores_of([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1]), 0.5)
    value = {name: figures.estimates[name].value for name in METRICS}
    assert value["sensitivity"] == pytest.approx(3 / 4)
    assert value["specificity"] == pytest.approx(5 / 6)
    assert value["accuracy"] == pytest.approx(8 / 10)
    assert value["macro_f1"] == pytest.approx((6 / 8 + 10 / 12) / 2)
    assert value["kappa"] == pytest.approx((0.8 - 0.52) / (1 - 0.52))
    assert value["auroc"] == pytest.approx(23 / 24)
    assert value["brier"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.64 + 0.36 + 5 * 0.01) / 10)
    assert figures.n == 10
    assert figures.prevalence == pytest.approx(0.4)


def test_every_figure_agrees_with_scikit_learn():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 300)
    probabilities = np.round(np.clip(labels * 0.2 + generator.random(300) * 0.8, 0, 1), 2)
    figures = block(scores_of(labels.tolist(), probabilities.tolist()), 0.55, resamples=10)
    called = probabilities >= 0.55
    expected = {
        "accuracy": reference.accuracy_score(labels, called),
        "macro_f1": reference.f1_score(labels, called, average="macro"),
        "auroc": reference.roc_auc_score(labels, probabilities),
        "sensitivity": reference.recall_score(labels, called),
        "specificity": reference.recall_score(labels, called, pos_label=0),
        "kappa": reference.cohen_kappa_score(labels, called),
        "brier": reference.brier_score_loss(labels, probabilities),
    }
    for name, value in expected.items():
        assert figures.estimates[name].value == pytest.approx(value), name


def test_calibration_error_is_the_weighted_gap_of_ten_bins():
    figures = block(scores_of([1, 0, 1, 1], [0.25, 0.25, 0.85, 0.85]), 0.5, resamples=5)
    assert figures.estimates["ece"].value == pytest.approx((2 * 0.25 + 2 * 0.15) / 4)


def test_a_probability_of_one_falls_in_the_last_bin():
    assert block(scores_of([1, 0], [1.0, 0.0]), 0.5, resamples=5).estimates["ece"].value == 0.0


def test_one_class_only_gives_nulls_and_no_crash():
    figures = block(scores_of([0, 0, 0], [0.1, 0.2, 0.3]), 0.5, resamples=20).to_json()
    assert figures["auroc"] == {"value": None, "low": None, "high": None}
    assert figures["sensitivity"]["value"] is None
    assert figures["kappa"]["value"] is None
    assert figures["specificity"]["value"] == 1.0


def test_ties_count_half():
    assert auroc([0, 1], [0.4, 0.4]) == 0.5


def test_a_weight_is_as_good_as_a_repetition():
    labels, probabilities = np.array([1.0, 0.0, 1.0]), np.array([0.7, 0.6, 0.2])
    weighted = weighted_metrics(labels, probabilities, np.array([[2.0, 1.0, 3.0]]), 0.5)
    twice = [0, 0, 1, 2, 2, 2]
    repeated = weighted_metrics(labels[twice], probabilities[twice], np.ones((1, 6)), 0.5)
    for name in METRICS:
        assert weighted[name][0] == pytest.approx(repeated[name][0]), name


def test_intervals_contain_the_value_and_repeat_with_the_seed():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 120).tolist()
    scores = scores_of(labels, [min(1.0, 0.3 * label + 0.7 * generator.random()) for label in labels])
    first, second, other = (block(scores, 0.5, resamples=200, seed=seed).to_json() for seed in (1, 1, 2))
    assert first == second
    assert first != other
    for name in METRICS:
        if name != "ece":  # biased upwards in resamples
            assert first[name]["low"] <= first[name]["value"] <= first[name]["high"], name


def test_resampling_patients_widens_what_copies_of_one_patient_would_narrow():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 2, 40).tolist()
    probabilities = [min(1.0, 0.25 * label + 0.75 * generator.random()) for label in labels]
    apart = block(scores_of(labels * 10, probabilities * 10), 0.5, resamples=300)
    together = block(scores_of(labels * 10, probabilities * 10, [f"p{i}" for i in range(40)] * 10), 0.5, resamples=300)

    def width(figures):
        return figures.estimates["auroc"].high - figures.estimates["auroc"].low

    assert width(together) > 2 * width(apart)


def test_a_study_has_the_mean_probability_of_its_images():
    rows = [("s1", "p1", "XR_HAND", 1), ("s2", "p1", "XR_HAND", 0), ("s1", "p1", "XR_HAND", 1)]
    found = study_scores(rows, [0.2, 0.9, 0.6])
    assert [(one.study, one.label, one.probability) for one in found] == [("s1", 1, pytest.approx(0.4)), ("s2", 0, 0.9)]


def test_the_area_has_delongs_interval_beside_the_bootstraps():
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 2, 200).tolist()
    scores = scores_of(labels, [min(1.0, 0.3 * label + 0.7 * generator.random()) for label in labels])
    figures = block(scores, 0.5, resamples=500).to_json()
    said, delong = figures["auroc"], figures["auroc_delong"]
    assert delong["value"] == pytest.approx(said["value"])
    assert delong["low"] == pytest.approx(said["low"], abs=0.02)
    assert delong["high"] == pytest.approx(said["high"], abs=0.02)
    assert block(scores_of([0, 0], [0.1, 0.2]), 0.5, resamples=5).to_json()["auroc_delong"]["value"] is None
