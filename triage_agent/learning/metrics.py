"""What a classifier is worth, with intervals that respect that one patient's studies are not independent.

An interval is the 2.5th to 97.5th percentile over seeded bootstrap resamples of patients. `auroc_delong` alone has
DeLong's interval, which takes studies as independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.learning.significance import delong_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

METRICS = ("accuracy", "macro_f1", "auroc", "sensitivity", "specificity", "kappa", "brier", "ece")
DELONG = "auroc_delong"
RESAMPLES = 1000
ECE_BINS = 10
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyScore:
    """One study's truth (1 abnormal, 0 normal) and its predicted probability of abnormality."""

    study: str
    patient: str
    anatomy: str
    label: int
    probability: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None where the data cannot give it (one class only)."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """The public form."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Block:
    """The figures of one group of studies, or of images where each counts for itself."""

    n: int
    prevalence: float
    estimates: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The public form: `n`, `prevalence`, each metric and `auroc_delong` with their intervals."""
        metrics = {name: estimate.to_json() for name, estimate in self.estimates.items()}
        return {"n": self.n, "prevalence": self.prevalence, **metrics}


def study_scores(rows: Iterable[tuple[str, str, str, int]], probabilities: Iterable[float]) -> list[StudyScore]:
    """Join images into studies by MURA's rule: a study's probability is the arithmetic mean of its images'.

    Args:
        rows: study, patient, anatomy and label of each image.
        probabilities: one an image, in the same order.
    """
    members: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for row, probability in zip(rows, probabilities, strict=True):
        members[row].append(probability)
    return [
        StudyScore(
            study=study, patient=patient, anatomy=anatomy, label=label, probability=math.fsum(values) / len(values)
        )
        for (study, patient, anatomy, label), values in members.items()
    ]


def block(scores: Sequence[StudyScore], threshold: float, *, resamples: int = RESAMPLES, seed: int = 0) -> Block:
    """Every metric of a group of studies, abnormal at or above `threshold`; `scores` must not be empty."""
    labels = np.array([score.label for score in scores], dtype=np.float64)
    probabilities = np.array([score.probability for score in scores], dtype=np.float64)
    patients = np.unique([score.patient for score in scores], return_inverse=True)[1]
    point = weighted_metrics(labels, probabilities, np.ones((1, len(scores))), threshold)
    draws = weighted_metrics(labels, probabilities, patient_weights(patients, resamples, seed), threshold)
    estimates = {name: estimate(float(point[name][0]), draws[name]) for name in METRICS}
    estimates[DELONG] = _or_none(*delong_interval(labels, probabilities))
    return Block(n=len(scores), prevalence=float(labels.mean()), estimates=estimates)


def blocks(
    scores: Sequence[StudyScore], threshold: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Block, dict[str, Block]]:
    """Every metric over all regions and of each, in alphabetical order; one region alone is measured once."""
    overall = block(scores, threshold, resamples=resamples, seed=seed)
    regions = sorted({score.anatomy for score in scores})
    if len(regions) == 1:
        return overall, {regions[0]: overall}
    return overall, {
        name: block([one for one in scores if one.anatomy == name], threshold, resamples=resamples, seed=seed)
        for name in regions
    }


def weighted_metrics(
    labels: NDArray[np.float64], probabilities: NDArray[np.float64], weights: NDArray[np.float64], threshold: float
) -> dict[str, NDArray[np.float64]]:
    """Every metric under each row of `weights` [R, n]; NaN where it is undefined."""
    positive, called = labels == 1, probabilities >= threshold
    true_positive = weights[:, positive & called].sum(1)
    false_negative = weights[:, positive & ~called].sum(1)
    false_positive = weights[:, ~positive & called].sum(1)
    true_negative = weights[:, ~positive & ~called].sum(1)
    total = weights.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = (true_positive + true_negative) / total
        called_share = (true_positive + false_positive) / total
        share = (true_positive + false_negative) / total
        chance = called_share * share + (1 - called_share) * (1 - share)
        wrong = false_positive + false_negative
        f1_abnormal = 2 * true_positive / (2 * true_positive + wrong)
        f1_normal = 2 * true_negative / (2 * true_negative + wrong)
        return {
            "accuracy": accuracy,
            "macro_f1": (f1_abnormal + f1_normal) / 2,
            "auroc": weighted_auroc(labels, probabilities, weights),
            "sensitivity": true_positive / (true_positive + false_negative),
            "specificity": true_negative / (true_negative + false_positive),
            "kappa": (accuracy - chance) / (1 - chance),
            "brier": (weights * (labels - probabilities) ** 2).sum(1) / total,
            "ece": _calibration_error(labels, probabilities, weights),
        }


def auroc(labels: Sequence[int] | NDArray[np.float64], probabilities: Sequence[float] | NDArray[np.float64]) -> float:
    """Area under the ROC curve, ties counted half; NaN when there is one class only."""
    truth, scores = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    return float(weighted_auroc(truth, scores, np.ones((1, len(truth))))[0])


def weighted_auroc(
    labels: NDArray[np.float64], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area under the ROC curve under each row of `weights` [R, n], ties counted half; NaN where it is undefined."""
    order = np.argsort(probabilities, kind="stable")
    ties = np.flatnonzero(np.r_[True, np.diff(probabilities[order]) > 0])
    positive = np.add.reduceat(weights[:, order] * labels[order], ties, axis=1)
    negative = np.add.reduceat(weights[:, order] * (1 - labels[order]), ties, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    with np.errstate(divide="ignore", invalid="ignore"):
        area: NDArray[np.float64] = (positive * (below + negative / 2)).sum(1) / (positive.sum(1) * negative.sum(1))
    return area


def _calibration_error(
    labels: NDArray[np.float64], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected calibration error over ten equal bins (Guo et al. 2017)."""
    bins = np.minimum((probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = weights * (labels - probabilities)
    error = np.zeros(len(weights))
    for index in range(ECE_BINS):
        error += np.abs(gaps[:, bins == index].sum(1))
    scaled: NDArray[np.float64] = error / weights.sum(1)
    return scaled


def patient_weights(patients: NDArray[np.intp], resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each study is drawn when patients (numbers from 0) are drawn with replacement: [resamples, n]."""
    count = int(patients.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return draws[:, patients].astype(np.float64)


def estimate(value: float, draws: NDArray[np.float64]) -> Estimate:
    """A figure and the interval that its resamples give; draws that are NaN do not count."""
    if math.isnan(value):
        return Estimate(None, None, None)
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return Estimate(value, None, None)
    low, high = np.percentile(defined, INTERVAL)
    return Estimate(value, float(low), float(high))


def _or_none(*figures: float) -> Estimate:
    value, low, high = (None if math.isnan(figure) else figure for figure in figures)
    return Estimate(value, low, high)
