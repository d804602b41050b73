"""Split-conformal prediction: findings whose error rate a site chooses, and holds where studies are exchangeable.

Mondrian by region and by class (Vovk, Gammerman and Shafer 2005; Vovk 2012): among the abnormal studies of a region at
most the chosen share is called normal, and the other way round. The price is that some are called neither.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from triage_agent.domain.decision import UncertaintyBand
from triage_agent.domain.errors import ConfigurationError
from triage_agent.models.spec import ConformalGroup, ConformalSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ALPHAS = tuple(round(0.01 * step, 2) for step in range(1, 31))
DEFAULT_ALPHA = 0.1
LEAST = 30  # studies of each class that a region must have for quantiles of its own


def fit_conformal(
    probabilities: NDArray[np.float64], labels: NDArray[np.float64], regions: Sequence[str], alpha: float
) -> ConformalSpec:
    """Quantiles from calibration studies that the model has not learnt from.

    Args:
        probabilities: [N] study probabilities.
        labels: [N] of 0 and 1.
        regions: [N].
        alpha: the error rate that holds where a site chooses none.
    """
    homes = np.array(regions)
    groups = {}
    for region in sorted(set(regions)):
        mine = homes == region
        if min(labels[mine].sum(), (1 - labels[mine]).sum()) >= LEAST:
            groups[region] = _group(probabilities[mine], labels[mine])
    return ConformalSpec(alpha=alpha, alphas=ALPHAS, everywhere=_group(probabilities, labels), groups=groups)


def bands(spec: ConformalSpec, alpha: float, threshold: float | None = None) -> dict[str, UncertaintyBand]:
    """The uncertain probabilities at an error rate, by region; under "" for every other region.

    The threshold is always inside a band that is not empty, or at its edge: else a probability whose only possible
    finding is "abnormal" could lie below the threshold and be called "normal", or the other way round. What is called
    for sure is thereby always in the prediction set, and wrong no more often than promised. Without a threshold the
    bands are those of the prediction sets alone.

    Raises:
        ConfigurationError: the bundle has no quantiles for that error rate.
    """
    if not spec.alphas[0] - 1e-9 <= alpha <= spec.alphas[-1] + 1e-9:
        raise ConfigurationError(
            f"the bundle has no error rate {alpha}",
            remedy=f"set model.error_rate between {spec.alphas[0]} and {spec.alphas[-1]}, or to 0 for none",
        )
    # Between two rates that were computed the smaller one is kept: it errs on the side of the promise.
    place = max(number for number, known in enumerate(spec.alphas) if known <= alpha + 1e-9)
    return {name: _band(group, place, threshold) for name, group in {"": spec.everywhere, **spec.groups}.items()}


def _band(group: ConformalGroup, place: int, threshold: float | None) -> UncertaintyBand:
    abnormal_from, normal_to = 1 - group.abnormal[place], group.normal[place]
    # Where neither finding is possible between the two, the model is surer than it has to be.
    if threshold is None or normal_to < threshold <= abnormal_from:
        return UncertaintyBand(abnormal_from=abnormal_from, normal_to=normal_to)
    return UncertaintyBand(abnormal_from=min(abnormal_from, threshold), normal_to=max(normal_to, threshold))


def _group(probabilities: NDArray[np.float64], labels: NDArray[np.float64]) -> ConformalGroup:
    normal = np.sort(probabilities[labels == 0])
    abnormal = np.sort(1 - probabilities[labels == 1])
    return ConformalGroup(
        n_normal=len(normal),
        n_abnormal=len(abnormal),
        normal=tuple(_quantile(normal, alpha) for alpha in ALPHAS),
        abnormal=tuple(_quantile(abnormal, alpha) for alpha in ALPHAS),
    )


def _quantile(scores: NDArray[np.float64], alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n sorted scores; 1, which excludes nothing, where there is none."""
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    if rank > len(scores):
        return 1.0
    return min(1.0, math.ceil(float(scores[rank - 1]) * 1e6) / 1e6)  # rounded up: a shorter number, and no looser
