"""Platt scaling: logits to probabilities that mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from triage_agent.models.spec import CalibrationSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

MIN_SLOPE = 1e-3  # a score that carries no information still must not turn the order around
_STEPS = 100
_TOLERANCE = 1e-10


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow at either end."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def apply_platt(
    logits: ArrayLike, calibration: CalibrationSpec, anatomies: Sequence[str | None] = ()
) -> NDArray[np.float64]:
    """Probabilities in [0, 1] of logits [N]: sigmoid(a * logit + b), with each region's own a and b.

    Without `anatomies`, the common line is taken for logits of any shape.
    """
    values = np.asarray(logits, dtype=np.float64)
    if not anatomies:
        return sigmoid(calibration.a * values + calibration.b)
    lines = [calibration.of(anatomy) for anatomy in anatomies]
    return sigmoid(np.array([line.a for line in lines]) * values + np.array([line.b for line in lines]))


def fit_platt(logits: ArrayLike, labels: ArrayLike, *, ridge: float = 1.0) -> CalibrationSpec:
    """Fit sigmoid(a * logit + b) by damped Newton steps on the penalised log-likelihood.

    The targets are Platt's smoothed ones ((n1 + 1)/(n1 + 2) and 1/(n0 + 2), Platt 1999), and `ridge`/2 * (a - 1)^2
    pulls towards the map that leaves the slope alone, so that few or separable samples give a finite answer. The
    slope is at least `MIN_SLOPE`: a higher logit is never a lower probability.

    Args:
        logits: [N] scores.
        labels: [N] of 0 and 1; both must occur.
        ridge: strength of the pull, in samples.

    Raises:
        ValueError: lengths differ, a value is not finite, or one class is absent.
    """
    scores = np.asarray(logits, dtype=np.float64).ravel()
    truth = np.asarray(labels, dtype=np.float64).ravel()
    positives = float(truth.sum())
    negatives = truth.size - positives
    if scores.shape != truth.shape or not np.isfinite(scores).all() or not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("calibration needs one finite logit and one label of 0 or 1 for each sample")
    if not positives or not negatives:
        raise ValueError("calibration needs samples of both classes")
    target = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    start = np.array([1.0, float(np.log(positives / negatives) - np.mean(scores))])
    fitted = _newton(scores, target, ridge, start, fixed_slope=False)
    if fitted[0] < MIN_SLOPE:
        fitted = _newton(scores, target, ridge, np.array([MIN_SLOPE, fitted[1]]), fixed_slope=True)
    return CalibrationSpec(a=float(fitted[0]), b=float(fitted[1]))


def _objective(
    scores: NDArray[np.float64], target: NDArray[np.float64], ridge: float, at: NDArray[np.float64]
) -> float:
    values = at[0] * scores + at[1]
    likelihood = np.logaddexp(0.0, values) - target * values
    return float(likelihood.sum() + ridge / 2 * (at[0] - 1.0) ** 2)


def _newton(
    scores: NDArray[np.float64],
    target: NDArray[np.float64],
    ridge: float,
    start: NDArray[np.float64],
    *,
    fixed_slope: bool,
) -> NDArray[np.float64]:
    at = start
    current = _objective(scores, target, ridge, at)
    for _ in range(_STEPS):
        probability = sigmoid(at[0] * scores + at[1])
        slack, weight = probability - target, probability * (1 - probability) + 1e-12
        gradient = np.array([(slack * scores).sum() + ridge * (at[0] - 1.0), slack.sum()])
        cross = (weight * scores).sum()
        hessian = np.array([[(weight * scores**2).sum() + ridge, cross], [cross, weight.sum()]])
        if fixed_slope:
            step = np.array([0.0, gradient[1] / hessian[1, 1]])
        else:
            step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        scale = 1.0
        while (value := _objective(scores, target, ridge, at - scale * step)) > current and scale > _TOLERANCE:
            scale /= 2
        if current - value < _TOLERANCE:
            return at
        at, current = at - scale * step, value
    return at
