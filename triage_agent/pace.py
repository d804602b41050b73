"""How much is done at once: decided by the settings, and where they say nothing by what the model runs on."""

import os
from dataclasses import dataclass

from triage_agent.domain.ports import ImageScorer
from triage_agent.settings import Settings

_MOST_DECODERS_ON_CPU = 4  # the model needs the cores, too
_LOOPS_APART = 2  # while one commits or makes a report, the model works for the other
_LOOPS_ON_GPU = 4  # one reads, one is scored, one is committed, and one more so that none of them waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What the worker does at the same time.

    Attributes:
        decoders: files that are read at once, each in a process of its own.
        loops: rounds of claiming, scoring and committing side by side.
        together: images that are handed to the model in one go.
        side: of the square that the model samples, in pixels; None where it is given whole images.
    """

    decoders: int
    loops: int
    together: int
    side: int | None

    @property
    def names(self) -> list[str]:
        """Of the loops."""
        return ["worker", *(f"worker-{number}" for number in range(2, self.loops + 1))]

    @property
    def for_images(self) -> list[str]:
        """Loops that leave studies to the others: where there are several, one, so that images wait for no report."""
        return self.names[:1] if self.loops > 1 else []


def pace_of(settings: Settings, scorer: ImageScorer, cores: int | None = None) -> Pace:
    """What suits the settings and the scorer, on a machine with so many cores (this one's).

    On a CPU images go through the model one by one, so that each is flagged before the next one is looked at.
    """
    cores = cores or len(os.sched_getaffinity(0))
    on_cpu = getattr(scorer, "device", "").startswith("cpu")
    usual = min(_MOST_DECODERS_ON_CPU, cores // 2) if on_cpu else cores - 2
    return Pace(
        decoders=settings.worker.decoders or max(1, usual),
        loops=settings.worker.loops or _usual_loops(scorer, on_cpu=on_cpu),
        together=1 if on_cpu else settings.model.batch,
        side=getattr(scorer, "sampled_side", None),
    )


def _usual_loops(scorer: ImageScorer, *, on_cpu: bool) -> int:
    if not on_cpu:
        return _LOOPS_ON_GPU
    return _LOOPS_APART if getattr(scorer, "apart", False) else 1
