"""What a scorer whose model is in other processes needs of an agent: a look at `/readyz`, and an end."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, runtime_checkable

from triage_agent.domain.ports import ImageScorer


@runtime_checkable
class Pooled(Protocol):
    """A scorer that asks others; `part` is how `/readyz` calls them."""

    part: str

    def require(self) -> None:
        """Whether it could be asked now."""

    def stop(self) -> None:
        """Have what waits for an answer end soon."""

    def close(self) -> None:
        """Take leave of who was asked."""


def watched(
    scorer: ImageScorer, checks: dict[str, Callable[[], None]], early: ExitStack, late: ExitStack
) -> ImageScorer:
    """The same scorer; where it is a pooled one, `/readyz` asks for it, and it ends with the agent.

    It is told to stop with `early`, when the loops are, and is closed with `late`, when they have ended.
    """
    if isinstance(scorer, Pooled):
        checks[scorer.part] = scorer.require
        early.callback(scorer.stop)
        late.callback(scorer.close)
    return scorer
