"""Whether a difference is more than chance: DeLong's method for AUROC, McNemar's test for right and wrong calls.

Both take studies as independent of each other. Where patients have several studies that is not quite so; the intervals
of `learning.metrics` come from a bootstrap over patients and do not assume it.

Sources: DeLong et al. 1988 (Biometrics 44:837); Sun and Xu 2014 (IEEE Signal Processing Letters 21:1389), for the same
in n log n by mid-ranks; McNemar 1947 (Psychometrika 12:153) with Edwards's continuity correction 1948.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
FEW_DISCORDANT = 25  # below so many pairs the chi-square approximation is poor, and the exact binomial is used
_TWO = 2  # a variance needs two of each class


@dataclass(frozen=True, slots=True)
class Components:
    """DeLong's structural components of one classifier.

    Attributes:
        area: the AUROC, ties counted half; NaN when there is one class only.
        abnormal: for each abnormal case, the share of normal ones that score lower [m].
        normal: for each normal case, the share of abnormal ones that score higher [n].
    """

    area: float
    abnormal: NDArray[np.float64]
    normal: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """Of the area; NaN with fewer than two cases of a class."""
        return _variance(self.abnormal, self.normal)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Cases that only the first called rightly, those that only the second did, and the two-sided p-value."""

    only_first: int
    only_second: int
    p: float


def components(labels: ArrayLike, probabilities: ArrayLike) -> Components:
    """The AUROC and what its variance is made of.

    Args:
        labels: [N] of 1 (abnormal) and 0 (normal).
        probabilities: [N], higher for abnormal.
    """
    truth = np.asarray(labels).astype(bool)
    scores = np.asarray(probabilities, dtype=np.float64)
    among_all = _midranks(scores)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return Components(math.nan, np.zeros(0), np.zeros(0))
    abnormal = (among_all[truth] - _midranks(scores[truth])) / negatives
    normal = 1 - (among_all[~truth] - _midranks(scores[~truth])) / positives
    return Components(float(abnormal.mean()), abnormal, normal)


def delong_interval(labels: ArrayLike, probabilities: ArrayLike, level: float = LEVEL) -> tuple[float, float, float]:
    """AUROC with the lower and upper end of its normal interval, cut to [0, 1].

    The ends are NaN where the method has nothing to say: fewer than two cases of a class, or a variance of zero
    (classes that are wholly apart), which would make an interval of no width.
    """
    found = components(labels, probabilities)
    error = math.sqrt(found.variance) if found.variance > 0 else math.nan
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    return found.area, _cut(found.area - reach), _cut(found.area + reach)


def delong_test(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value that two classifiers have the same AUROC on the same cases.

    1 where they rank every pair alike; NaN where the variance of the difference is zero though the areas differ, or
    where there are fewer than two cases of a class.
    """
    one, other = components(labels, first), components(labels, second)
    variance = _variance(one.abnormal - other.abnormal, one.normal - other.normal)
    difference = one.area - other.area
    if variance == 0:
        return 1.0 if difference == 0 else math.nan
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Whether two classifiers are right equally often on the same cases.

    Args:
        first_right: [N] of booleans, whether the first called each case rightly.
        second_right: [N], the same of the second.
    """
    first, second = np.asarray(first_right).astype(bool), np.asarray(second_right).astype(bool)
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = one + other
    if discordant == 0:
        return McNemar(one, other, 1.0)
    if discordant < FEW_DISCORDANT:
        tail = sum(math.comb(discordant, count) for count in range(min(one, other) + 1))
        return McNemar(one, other, min(1.0, 2 * tail / 2**discordant))
    statistic = (abs(one - other) - 1) ** 2 / discordant if one != other else 0.0
    return McNemar(one, other, math.erfc(math.sqrt(statistic / 2)))


def _variance(abnormal: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    if min(len(abnormal), len(normal)) < _TWO:
        return math.nan
    return float(abnormal.var(ddof=1) / len(abnormal) + normal.var(ddof=1) / len(normal))


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _cut(value: float) -> float:
    return value if math.isnan(value) else min(1.0, max(0.0, value))
