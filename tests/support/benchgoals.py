"""The goals of the benchmarks: what is wanted, what was measured, and whether that is it."""

from collections.abc import Callable
from dataclasses import dataclass

from support.benchreading import MISSING, Bench, number, table


@dataclass(frozen=True)
class Goal:
    """`figure` reads the measured value, `wanted` the bound for it (most, or least where `least`)."""

    what: str
    figure: Callable[[Bench], float | None]
    wanted: Callable[[Bench], float | None]
    least: bool = False
    digits: int = 2
    unit: str = ""

    def row(self, bench):
        """What, wanted, measured, and the verdict in a word, or the gap."""
        measured, wanted = self.figure(bench), self.wanted(bench)
        sign = "at least" if self.least else "at most"
        bound = MISSING if wanted is None else f"{sign} {number(wanted, self.digits, self.unit)}"
        return self.what, bound, number(measured, self.digits, self.unit), self.verdict(bench)

    def verdict(self, bench):
        """`met`, the gap as a factor, or that it was not measured."""
        measured, wanted = self.figure(bench), self.wanted(bench)
        if measured is None or wanted is None:
            return MISSING
        if (measured >= wanted) if self.least else (measured <= wanted):
            return "met"
        gap = wanted / measured if self.least else measured / wanted
        return f"missed by a factor of {gap:.2f}"


def fixed(value):
    """A bound that no measurement moves."""
    return lambda _bench: value


def at(name, *path):
    """A figure as it stands in a file."""
    return lambda bench: bench.at(name, *path)


def goals_table(bench, goals):
    """All of them."""
    return table(("goal", "wanted", "measured", "verdict"), [goal.row(bench) for goal in goals])
