"""Simulated reading rooms: the same studies with and without triage; what is known of their waits, and how surely."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage_agent.capacity.events import simulated_waits
from triage_agent.capacity.room import Cell, ReadingRoom
from triage_agent.domain.errors import ConfigurationError

REPLICATIONS = 20  # runs that share nothing
CONFIDENCE = 0.95
_STUDENT_T = 2.0930240544  # its 97.5 % quantile, for that many runs (19 degrees of freedom)
PERCENTILES = (50, 90, 95, 99)

_SETTLING = 5  # relaxation times that a run has to forget that its room was empty
_ENOUGH = 20  # relaxation times that a run has to be watched
_FEWEST = 200_000
_MOST_UNASKED = 2_000_000  # a minute's work or so; who asks may have more
MOST_STUDIES = 10_000_000

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, and the interval that holds the true one in 95 of 100 such simulations; None where nothing tells it."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a group waited.

    Attributes:
        mean: minutes.
        percentiles: by their number: so many of 100 studies waited at most so long. Minutes.
    """

    mean: Estimate
    percentiles: dict[int, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A group's waits without and with triage, and how much less it waits with it. The same studies in both."""

    studies: int
    without: Observed
    triaged: Observed
    saved: Estimate


@dataclass(frozen=True, slots=True)
class _Run:
    """One run's studies, after it has settled: each one's kind and its waits."""

    kinds: NDArray[np.intp]
    without: _Floats
    triaged: _Floats


@dataclass(frozen=True, slots=True)
class Simulation:
    """What was simulated.

    Attributes:
        studies: how many were counted, over all runs.
        settled: the runs were long enough for this load; otherwise means and intervals may be off.
    """

    cells: tuple[Cell, ...]
    studies: int
    settled: bool
    runs: tuple[_Run, ...]

    def group(self, cells: Sequence[Cell]) -> Comparison | None:
        """What was seen of studies of these kinds; None where none came."""
        wanted = np.array([cell in cells for cell in self.cells])
        without, triaged = [], []
        for run in self.runs:
            here = wanted[run.kinds]
            without.append(run.without[here])
            triaged.append(run.triaged[here])
        studies = sum(len(waits) for waits in without)
        if not studies:
            return None
        saved = [before - after for before, after in zip(without, triaged, strict=True)]
        return Comparison(studies, _observed(without), _observed(triaged), _estimate(saved))


def simulate(room: ReadingRoom, *, seed: int, studies: int | None = None) -> Simulation:
    """Let rooms run, each once without and once with triage of the same studies.

    Args:
        room: what is simulated.
        seed: 0 or more; the same seed, the same result.
        studies: how many to count over all runs; None is as many as the load asks for, 200 000 to two million.

    Raises:
        ConfigurationError: too few or too many studies.
    """
    relaxation = _relaxation(room)
    if studies is None:
        studies = min(max(_FEWEST, math.ceil(REPLICATIONS * _ENOUGH * relaxation)), _MOST_UNASKED)
    if not REPLICATIONS <= studies <= MOST_STUDIES:
        raise ConfigurationError(f"{studies} studies to simulate", remedy=f"give {REPLICATIONS} to {MOST_STUDIES}")
    counted = math.ceil(studies / REPLICATIONS)
    settled = counted >= _ENOUGH * relaxation
    first = math.ceil(_SETTLING * relaxation) if settled else counted // 2
    cells = room.mix.cells
    seeds = np.random.SeedSequence(seed).spawn(REPLICATIONS)
    runs = tuple(_run(room, cells, np.random.default_rng(one), first, counted) for one in seeds)
    return Simulation(cells, counted * REPLICATIONS, settled, runs)


def _relaxation(room: ReadingRoom) -> float:
    """Studies that come until a room has about forgotten how it was.

    The relaxation time of M/M/1 (J. W. Cohen, The Single Server Queue, 1969), longer where reading times vary more, and
    the time that all readers need to be busy at all.
    """
    cells, spread = room.mix.cells, room.mix.spread
    second = sum(cell.share * cell.read_minutes**2 for cell in cells) * (1 + spread**2)
    varied = second / room.mix.mean_read**2 / 2
    return max(1.0, varied) * room.load / (1 - math.sqrt(room.load)) ** 2 + room.readers * room.load


def _run(room: ReadingRoom, cells: tuple[Cell, ...], random: np.random.Generator, first: int, counted: int) -> _Run:
    number = first + counted
    kinds = random.choice(len(cells), size=number, p=_shares(cells))
    arrivals = np.cumsum(random.exponential(1 / room.per_minute, number)).tolist()
    reads = (np.array([cell.read_minutes for cell in cells])[kinds] * _spread(random, room.mix.spread, number)).tolist()

    def waits(ranks: Iterator[int]) -> _Floats:
        of_kind = np.array(list(ranks))[kinds].tolist()
        told = simulated_waits(arrivals, reads, of_kind, readers=room.readers, preemptive=room.preemptive)
        return np.round(told[first:], 9)  # who does not wait waits 0, whatever the rounding of the clock

    return _Run(kinds[first:], waits(cell.rank_without for cell in cells), waits(cell.rank for cell in cells))


def _shares(cells: tuple[Cell, ...]) -> _Floats:
    shares: _Floats = np.array([cell.share for cell in cells])
    return shares / float(shares.sum())  # they add up to 1 to the last bits, which `choice` asks for


def _spread(random: np.random.Generator, spread: float, number: int) -> _Floats:
    """Factors of mean 1 with that coefficient of variation: gamma distributed, which is exponential at 1."""
    if spread == 0:
        return np.ones(number)
    shape = 1 / spread**2
    return random.gamma(shape, 1 / shape, number)


def _observed(waits: Sequence[_Floats]) -> Observed:
    told = np.percentile(np.concatenate(waits), PERCENTILES)
    return Observed(_estimate(waits), dict(zip(PERCENTILES, told.tolist(), strict=True)))


def _estimate(values: Sequence[_Floats]) -> Estimate:
    """From each run's mean, since studies of one run depend on each other; no interval where a run has none of them."""
    means = np.array([one.mean() for one in values if len(one)])
    value = float(means.mean())
    if len(means) < REPLICATIONS:
        return Estimate(value, None, None)
    half = _STUDENT_T * float(means.std(ddof=1)) / math.sqrt(len(means))
    return Estimate(value, value - half, value + half)
