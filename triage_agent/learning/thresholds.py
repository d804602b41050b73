"""From held-back logits to probabilities, thresholds and conformal quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from triage_agent.learning.metrics import study_scores
from triage_agent.models.bundle import CalibrationSpec, ConformalSpec, Thresholds
from triage_agent.models.calibration import apply_platt, fit_platt
from triage_agent.models.conformal import fit_conformal
from triage_agent.models.spec import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from triage_agent.learning.mura import LabeledImage

YOUDEN_RULE = "the probability with the highest sensitivity + specificity (Youden) on the held-back studies"
SENSITIVITY_RULE = "the highest probability that at least {share:.0%} of the abnormal held-back studies reach"
SPECIFICITY_RULE = "the lowest probability that at least {share:.0%} of the normal held-back studies stay below"
ALERT_RULE = (
    "the lowest probability that at least {share:.0%} of the normal held-back studies stay below in every image"
)
LEAST = 20  # images of each class that a region must have for a line of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a site asks of the thresholds.

    Attributes:
        sensitivity: share of abnormal studies that must reach the abnormal threshold; None for no such wish.
        specificity: share of normal studies that must stay below it; with neither, Youden's index decides.
        alert_specificity: share of normal studies none of whose images may reach the alert threshold.
        error_rate: of the conformal findings.
    """

    sensitivity: float | None = None
    specificity: float | None = None
    alert_specificity: float = 0.95
    error_rate: float = 0.1


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How a bundle turns logits into findings, all of it from held-back images."""

    calibration: CalibrationSpec
    thresholds: Thresholds
    conformal: ConformalSpec


@dataclass(frozen=True, slots=True)
class Studies:
    """Held-back studies: labels of 0 and 1, the mean and the highest probability of their images, all [N]; regions."""

    labels: NDArray[np.float64]
    mean: NDArray[np.float64]
    highest: NDArray[np.float64]
    regions: list[str]


def calibrate(images: Sequence[LabeledImage], logits: NDArray[np.float64], targets: Targets) -> Calibrated:
    """Platt scaling of images by region; thresholds and conformal quantiles of studies; all from held-back images.

    Args:
        images: held back from training, both classes present.
        logits: one each, uncalibrated.
        targets: what the site asks for.
    """
    labels = np.array([float(image.label) for image in images])
    regions = [image.anatomy for image in images]
    calibration = fit_by_region(logits, labels, regions)
    probabilities = apply_platt(logits, calibration, regions)
    studies = by_study(images, probabilities)
    conformal = fit_conformal(studies.mean, studies.labels, studies.regions, targets.error_rate)
    return Calibrated(calibration, set_thresholds(studies, targets), conformal)


def by_study(images: Sequence[LabeledImage], probabilities: NDArray[np.float64]) -> Studies:
    """Images joined into studies: a study is called by its mean, and raised by its highest image."""
    rows = [(image.study, image.patient, image.anatomy, image.label) for image in images]
    highest: dict[str, float] = {}
    for image, probability in zip(images, probabilities.tolist(), strict=True):
        highest[image.study] = max(probability, highest.get(image.study, 0.0))
    studies = study_scores(rows, probabilities.tolist())
    return Studies(
        labels=np.array([float(study.label) for study in studies]),
        mean=np.array([study.probability for study in studies]),
        highest=np.array([highest[study.study] for study in studies]),
        regions=[study.anatomy for study in studies],
    )


def fit_by_region(logits: NDArray[np.float64], labels: NDArray[np.float64], regions: Sequence[str]) -> CalibrationSpec:
    """One Platt line for all, and one for each region with enough images, pulled towards the common one."""
    common = fit_platt(logits, labels)
    homes = np.array(regions)
    lines = {}
    for region in sorted(set(regions)):
        mine = homes == region
        positives = labels[mine].sum()
        if min(positives, mine.sum() - positives) < LEAST:
            continue
        own = fit_platt(common.a * logits[mine] + common.b, labels[mine])
        lines[region] = Line(a=own.a * common.a, b=own.a * common.b + own.b)
    return common.model_copy(update={"regions": lines if len(set(regions)) > 1 else {}})


def set_thresholds(studies: Studies, targets: Targets) -> Thresholds:
    """Both thresholds and what they were chosen for; the alert threshold is never below the other."""
    probabilities, labels = studies.mean, studies.labels
    if targets.sensitivity is not None:
        abnormal = sensitivity_threshold(probabilities, labels, targets.sensitivity)
        rule = SENSITIVITY_RULE.format(share=targets.sensitivity)
    elif targets.specificity is not None:
        abnormal = specificity_threshold(probabilities, labels, targets.specificity)
        rule = SPECIFICITY_RULE.format(share=targets.specificity)
    else:
        abnormal, rule = youden_threshold(probabilities, labels), YOUDEN_RULE
    alert = specificity_threshold(studies.highest, labels, targets.alert_specificity)
    return Thresholds(
        abnormal=round(abnormal, 4),
        alert=round(max(alert, abnormal), 4),
        abnormal_rule=rule,
        alert_rule=ALERT_RULE.format(share=targets.alert_specificity),
    )


def youden_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """The cut with the highest sensitivity + specificity, halfway to the next lower probability.

    Of several equally good cuts the one nearest to 0.5 is taken.
    """
    values = np.unique(probabilities)
    cuts = (values + np.r_[0.0, values[:-1]]) / 2
    positive, negative = np.sort(probabilities[labels == 1]), np.sort(probabilities[labels == 0])
    sensitivity = 1 - np.searchsorted(positive, cuts) / len(positive)
    specificity = np.searchsorted(negative, cuts) / len(negative)
    youden = sensitivity + specificity
    best = cuts[youden >= youden.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def specificity_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.float64], share: float) -> float:
    """The lowest cut below which at least `share` of the normal ones stay; at most 1."""
    normal = np.sort(probabilities[labels == 0])
    place = int(np.ceil(share * len(normal))) - 1
    above = normal[normal > normal[place]]
    upper = float(above[0]) if len(above) else 1.0
    return (float(normal[place]) + upper) / 2


def sensitivity_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.float64], share: float) -> float:
    """The highest cut that at least `share` of the abnormal ones reach; at least 0."""
    return 1 - specificity_threshold(1 - probabilities, 1 - labels, share)
