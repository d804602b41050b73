"""What a scorer whose model is elsewhere needs of an agent: a look at `/readyz`, and an end."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, runtime_checkable

from triage_agent.domain.ports import ImageScorer


@runtime_checkable
class Pooled(Protocol):
    """A scorer that asks others."""

    def require(self) -> None:
        """Whether it could be asked now."""

    def stop(self) -> None:
        """Have what waits for an answer end soon."""

    def close(self) -> None:
        """Take leave of who was asked."""


@runtime_checkable
class Apart(Protocol):
    """A scorer with a process of its own, which ends with it."""

    apart: bool

    def close(self) -> None:
        """End it."""


def ended(scorer: ImageScorer, late: ExitStack) -> None:
    """Have a process of its own, where it has one, end with `late`."""
    if isinstance(scorer, Apart):
        late.callback(scorer.close)


def watched(
    scorer: ImageScorer, checks: dict[str, Callable[[], None]], early: ExitStack, late: ExitStack
) -> ImageScorer:
    """The same scorer; where it is a pooled one, `/readyz` asks for it, and it ends with the agent.

    It is told to stop with `early`, when the loops are, and is closed with `late`, when they have ended.
    """
    if isinstance(scorer, Pooled):
        checks["ray"] = scorer.require
        early.callback(scorer.stop)
        late.callback(scorer.close)
    ended(scorer, late)
    return scorer
