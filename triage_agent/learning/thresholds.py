"""From held-back logits to probabilities and thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from triage_agent.models.bundle import CalibrationSpec, Thresholds
from triage_agent.models.calibration import apply_platt, fit_platt

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABNORMAL_RULE = "the probability with the highest sensitivity + specificity (Youden) on the held-back images"
ALERT_RULE = "the lowest probability that at least {share:.0%} of the normal held-back images stay below"


def calibrate(
    logits: NDArray[np.float64], labels: NDArray[np.float64], alert_specificity: float
) -> tuple[CalibrationSpec, Thresholds]:
    """Platt scaling and both thresholds from held-back images of the reference data.

    Args:
        logits: [N], uncalibrated.
        labels: [N] of 0 and 1, both present.
        alert_specificity: share of normal images that must stay below the alert threshold.
    """
    calibration = fit_platt(logits, labels)
    probabilities = apply_platt(logits, calibration)
    abnormal = youden_threshold(probabilities, labels)
    alert = specificity_threshold(probabilities, labels, alert_specificity)
    return calibration, Thresholds(abnormal=round(abnormal, 4), alert=round(max(alert, abnormal), 4))


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
    """The lowest cut below which at least `share` of the normal images stay; at most 1."""
    normal = np.sort(probabilities[labels == 0])
    place = int(np.ceil(share * len(normal))) - 1
    above = normal[normal > normal[place]]
    upper = float(above[0]) if len(above) else 1.0
    return (float(normal[place]) + upper) / 2
