"""Mean waits in closed form: priority queues with one reader or several.

A wait is the time from a study's arrival to the end of its reading, less the reading itself: interruptions count.

One reader: A. Cobham, Operations Research 2 (1954) 70, for a reader who finishes first; R. W. Conway, W. L. Maxwell,
L. W. Miller, Theory of Scheduling (1967), for one who is interrupted and resumes. Several readers: one who is as fast
as all of them together, times what a queue without priorities has more or less at several (J. P. Buzen, A. B. Bondi,
Operations Research 31 (1983) 456). That is exact where all studies take equally long, exponentially distributed, and
an approximation otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from triage_agent.capacity.room import Cell, ReadingRoom

_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Waits:
    """Minutes that each kind of study waits on average.

    Attributes:
        without: in the order of arrival (STAT first).
        triaged: with flagged studies first.
        exact: no approximation was needed.
    """

    without: Mapping[Cell, float]
    triaged: Mapping[Cell, float]
    exact: bool


def expected_waits(room: ReadingRoom) -> Waits:
    """The mean wait of every kind of study in the steady state, with and without triage. Minutes."""
    cells = room.mix.cells
    longest, shortest = max(cell.read_minutes for cell in cells), min(cell.read_minutes for cell in cells)
    return Waits(
        without=_waits(room, cells, lambda cell: cell.rank_without),
        triaged=_waits(room, cells, lambda cell: cell.rank),
        exact=room.readers == 1 or (longest - shortest <= _SAME and abs(room.mix.spread - 1) <= _SAME),
    )


def _waits(room: ReadingRoom, cells: Sequence[Cell], rank: Callable[[Cell], int]) -> dict[Cell, float]:
    """Class after class, the most urgent first."""
    found: dict[Cell, float] = {}
    alone = together = 0.0  # how many wait, in the classes so far: at the one fast reader, at the several
    for waits, load in _at_one_reader(room, cells, rank):
        queue = sum(room.per_minute * cell.share * wait for cell, wait in waits.items())
        alone += queue
        # Who is never interrupted by a class below does not feel its load; else all of the room's counts.
        longer = alone * _several(room.readers, load if room.preemptive else room.load)
        found |= {cell: wait * (longer - together) / queue for cell, wait in waits.items()}
        together = longer
    return found


def _at_one_reader(
    room: ReadingRoom, cells: Sequence[Cell], rank: Callable[[Cell], int]
) -> Iterator[tuple[dict[Cell, float], float]]:
    """Of each class, each kind's mean wait for a reader as fast as all, and the load of it and those before."""
    before, residual = 0.0, sum(_residual(room, cell) for cell in cells)
    ahead = 0.0
    for one in sorted({rank(cell) for cell in cells}):
        inside = [cell for cell in cells if rank(cell) == one]
        load = before + sum(room.per_minute * cell.share * cell.read_minutes / room.readers for cell in inside)
        ahead += sum(_residual(room, cell) for cell in inside)
        start = (ahead if room.preemptive else residual) / ((1 - before) * (1 - load))
        # Once it is begun, more urgent studies come in between for that share of the time.
        between = before / (1 - before) / room.readers if room.preemptive else 0.0
        yield {cell: start + cell.read_minutes * between for cell in inside}, load
        before = load


def _residual(room: ReadingRoom, cell: Cell) -> float:
    """What is left of a study of this kind when another comes, on average over time: rate x E[read^2] / 2."""
    second_moment = (cell.read_minutes / room.readers) ** 2 * (1 + room.mix.spread**2)
    return room.per_minute * cell.share * second_moment / 2


def _several(readers: int, load: float) -> float:
    """How many wait at several readers for each that waits at one who is as fast as all of them.

    Without priorities: the probability that a study has to wait at all (Erlang's C formula), over the load.
    """
    offered = readers * load
    blocked = 1.0
    for number in range(1, readers + 1):  # Erlang's B formula, by its recursion: no factorial overflows
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - load * (1 - blocked)) / load
