"""What became of one image in the cluster, as it travels between processes: a word and plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from triage_agent.domain.study import ImageScore


class Outcome(StrEnum):
    """How it went."""

    SCORED = "scored"
    FAILED = "failed"  # the model failed on this image, and scores others
    SICK = "sick"  # this replica scores nothing any more; another one may
    UNUSABLE = "unusable"  # the bundle cannot be loaded there
    FULL = "full"  # the device's memory is
    BUSY = "busy"  # no room in the replica's queue
    AWAY = "away"  # nobody answered in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An outcome, and what there is to say of it.

    Attributes:
        score: of one that was scored.
        says: why it was not, in words that are ours or the name of an exception's type.
    """

    outcome: Outcome
    score: ImageScore | None = None
    says: str = ""

    def plain(self) -> list[Any]:
        """As JSON and Ray take it."""
        one = self.score
        score = None if one is None else [one.probability, one.seen_anatomy, one.strangeness]
        return [self.outcome.value, score, self.says]

    @classmethod
    def of(cls, plain: Any) -> Answer:
        """From what `plain` made.

        Raises:
            ValueError: it is something else.
        """
        try:
            outcome, score, says = plain
            if score is not None:
                probability, seen, strangeness = score
                found = ImageScore(
                    probability=float(probability),
                    seen_anatomy=None if seen is None else str(seen),
                    strangeness=float(strangeness),
                )
            return cls(outcome=Outcome(outcome), score=None if score is None else found, says=str(says))
        except TypeError as error:
            raise ValueError("an answer that is none") from error


def scored(score: ImageScore) -> Answer:
    """The answer that everybody hopes for."""
    return Answer(outcome=Outcome.SCORED, score=score)
