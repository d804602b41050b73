"""The reading room event by event: arrivals, interruptions, ends."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush


def simulated_waits(
    arrivals: Sequence[float], reads: Sequence[float], ranks: Sequence[int], *, readers: int, preemptive: bool
) -> list[float]:
    """How long each study waits in a room that is empty at first.

    Within a class, who came first goes first, and goes on first after an interruption. When all read, a more urgent
    arrival interrupts the least urgent study, of equals the latest.

    Args:
        arrivals: when each study comes, ascending. Minutes.
        reads: minutes that each takes to read.
        ranks: the class of each, the most urgent has the least.
        readers: how many read.
        preemptive: whether readers interrupt.

    Returns:
        Minutes from the arrival of each to the end of its reading, less the reading.
    """
    room = _Room(reads, ranks, readers)
    least = max(ranks, default=0)
    for study, now in enumerate(arrivals):
        room.read_until(now)
        room.admit(study, now, interrupt=preemptive and ranks[study] < least)
    room.read_until(float("inf"))
    return [max(0.0, end - came - read) for end, came, read in zip(room.ends, arrivals, reads, strict=True)]


class _Room:
    """Who is read, until when, and who waits.

    Attributes:
        ends: when each study's reading ended; 0 before it has.
    """

    def __init__(self, reads: Sequence[float], ranks: Sequence[int], readers: int) -> None:
        self.ends = [0.0] * len(reads)
        self._left = list(reads)
        self._ranks = ranks
        self._readers = readers
        self._busy: list[tuple[float, int]] = []  # a heap of (end, study)
        self._waiting: list[tuple[int, int]] = []  # a heap of (class, study): studies are numbered as they come

    def read_until(self, now: float) -> None:
        """Every end up to that moment; whoever is free takes the next."""
        while self._busy and self._busy[0][0] <= now:
            end, study = heappop(self._busy)
            self.ends[study] = end
            if self._waiting:
                _, following = heappop(self._waiting)
                heappush(self._busy, (end + self._left[following], following))

    def admit(self, study: int, now: float, *, interrupt: bool) -> None:
        """A study comes, and is read at once, or instead of another, or waits."""
        if len(self._busy) < self._readers:
            heappush(self._busy, (now + self._left[study], study))
        elif not (interrupt and self._interrupted(study, now)):
            heappush(self._waiting, (self._ranks[study], study))

    def _interrupted(self, study: int, now: float) -> bool:
        rank, other, place = max((self._ranks[one], one, place) for place, (_, one) in enumerate(self._busy))
        if rank <= self._ranks[study]:
            return False
        self._left[other] = self._busy[place][0] - now
        self._busy[place] = (now + self._left[study], study)
        heapify(self._busy)
        heappush(self._waiting, (rank, other))
        return True
