"""How long what is left to do will take, going by what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE, _HOUR = 60, 3600


class Pace:
    """Seconds per unit of cost, measured from when it was made.

    Args:
        clock: seconds that never go back (`time.monotonic`).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._begun, self._done = clock, clock(), 0.0

    def did(self, cost: float) -> None:
        """So much more is done."""
        self._done += cost

    def left(self, cost: float) -> float:
        """Seconds that so much more will take; infinite before anything is done."""
        return (self._clock() - self._begun) / self._done * cost if self._done else float("inf")


def left_in_words(seconds: float) -> str:
    """Time left for the person who waits: in seconds, from two minutes on in minutes, from two hours on in hours."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s left"
    return f"{seconds / _MINUTE:.0f} min left" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h left"
