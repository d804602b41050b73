"""Reading ahead: the next files are read while the last ones are looked at."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Read = TypeVar("Read")


class ReadAhead:
    """Threads that read for whoever asks; several may ask at once. The work is done in decoder processes.

    The threads end with whoever holds this.
    """

    def __init__(self, hands: int) -> None:
        """`hands`: how many files are read at the same time."""
        self._hands = hands
        self._pool = ThreadPoolExecutor(hands, thread_name_prefix="reads")

    def groups(self, reads: Iterable[Callable[[], Read]], together: int) -> Generator[list[Read]]:
        """What the reads give, in their order, `together` at a time and fewer at the end.

        While one group is looked at the next is read, and nothing beyond: what is in memory is bounded, and who is slow
        slows down whoever reads.

        Raises:
            Exception: what a read raised, in its turn; the others are called off.
        """
        left, waiting = iter(reads), deque[Future[Read]]()
        group: list[Read] = []
        try:
            waiting.extend(self._begun(islice(left, together + self._hands)))
            while waiting:
                group.append(waiting.popleft().result())
                waiting.extend(self._begun(islice(left, 1)))
                if len(group) == together or not waiting:
                    yield group
                    group = []
        finally:
            for one in waiting:
                one.cancel()

    def _begun(self, reads: Iterable[Callable[[], Read]]) -> list[Future[Read]]:
        """In the context of who asks, so that what is logged says of which study."""
        return [self._pool.submit(copy_context().run, read) for read in reads]
