"""Two bundles on the same studies: is one better, and by how much?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.learning.metrics import estimate, patient_weights, weighted_auroc
from triage_agent.learning.significance import delong_test, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from triage_agent.learning.metrics import StudyScore


@dataclass(frozen=True, slots=True)
class Judge:
    """One bundle's scores of the studies, in an order that both bundles share, and its own threshold."""

    scores: Sequence[StudyScore]
    threshold: float

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """One a study."""
        return np.array([score.probability for score in self.scores], dtype=np.float64)

    def right(self, labels: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which studies it calls rightly."""
        called: NDArray[np.bool_] = (self.probabilities >= self.threshold) == (labels == 1)
        return called


def comparison(first: Judge, second: Judge, *, seed: int, resamples: int) -> dict[str, Any]:
    """Paired differences, first minus second, overall and by region, in the public form.

    Raises:
        ValueError: the two did not score the same studies.
    """
    if [score.study for score in first.scores] != [score.study for score in second.scores]:
        raise ValueError("two bundles can only be compared on the same studies")
    regions = [score.anatomy for score in first.scores]
    return {
        "overall": paired(first, second, seed=seed, resamples=resamples),
        "anatomies": {
            name: paired(_of(first, name), _of(second, name), seed=seed, resamples=resamples)
            for name in sorted(set(regions))
        },
    }


def paired(first: Judge, second: Judge, *, seed: int, resamples: int) -> dict[str, Any]:
    """The differences on one group of studies.

    Intervals are of the difference, over bootstrap resamples of patients in which both are measured. `p` is DeLong's
    for the AUROC and McNemar's for the accuracy, each at its own threshold; None where the data cannot give it.
    """
    labels = np.array([score.label for score in first.scores], dtype=np.float64)
    patients = np.unique([score.patient for score in first.scores], return_inverse=True)[1]
    draws, once = patient_weights(patients, resamples, seed), np.ones((1, len(labels)))
    areas = [_areas(labels, one, once, draws) for one in (first, second)]
    rights = [one.right(labels).astype(np.float64) for one in (first, second)]
    shares = [(float(right.mean()), draws @ right / draws.sum(1)) for right in rights]
    test = mcnemar(rights[0], rights[1])
    return {
        "n": len(labels),
        "auroc": _difference(areas) | {"p": _number(delong_test(labels, first.probabilities, second.probabilities))},
        "accuracy": _difference(shares)
        | {"p": test.p, "only_first_right": test.only_first, "only_second_right": test.only_second},
    }


def _areas(
    labels: NDArray[np.float64], judge: Judge, once: NDArray[np.float64], draws: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    value = float(weighted_auroc(labels, judge.probabilities, once)[0])
    return value, weighted_auroc(labels, judge.probabilities, draws)


def _difference(figures: Sequence[tuple[float, NDArray[np.float64]]]) -> dict[str, Any]:
    (one, one_draws), (other, other_draws) = figures
    return {
        "first": _number(one),
        "second": _number(other),
        "difference": estimate(one - other, one_draws - other_draws).to_json(),
    }


def _of(judge: Judge, anatomy: str) -> Judge:
    return Judge([score for score in judge.scores if score.anatomy == anatomy], judge.threshold)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
