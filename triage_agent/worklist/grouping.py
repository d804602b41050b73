"""Group commit: what many threads want to write at the same time goes into one transaction, with one sync of the log.

SQLite has one writer. While one transaction commits, the work of the threads that wait gathers; whoever has the turn
next does all of it, and each thread returns when its own is committed. Without company it is a transaction like any
other.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy.orm import Session

from triage_agent.domain.errors import WorklistUnavailableError

Result = TypeVar("Result")
Work = Callable[[Session], Any]

MOST = 32  # of one transaction: each of them waits for all
_NOT_DONE = object()


class Together(Protocol):
    """Does several works in one transaction."""

    def __call__(self, works: Sequence[Work], seconds: float, /) -> Sequence[Any]:
        """What each gave, after the commit; waits so many seconds for a lock. Raises, and then none of them is done."""


@dataclass(eq=False, slots=True)
class _Wanted:
    """What one thread wants, and what it gave, or why it was not done."""

    work: Work
    result: Any = _NOT_DONE
    error: WorklistUnavailableError | None = None


class Company:
    """Brings threads together that write; safe to use from many.

    Args:
        turn: whose block is entered by one thread at a time, with the seconds that are left of its patience; it may
            refuse, by `WorklistUnavailableError`.
        together: does several works in one transaction.
        alone: does one in a transaction of its own, and tries again where that may help.
        hopeless: whether an error would meet every work again, whoever does it.
    """

    def __init__(
        self,
        *,
        turn: Callable[[], AbstractContextManager[float]],
        together: Together,
        alone: Callable[[Work], Any],
        hopeless: Callable[[WorklistUnavailableError], bool],
    ) -> None:
        self._turn = turn
        self._together = together
        self._alone = alone
        self._hopeless = hopeless
        self._waiting: deque[_Wanted] = deque()
        self._lock = threading.Lock()

    def write(self, work: Callable[[Session], Result]) -> Result:
        """`work`, which returns no rows, in a transaction with what others want; returns after its commit.

        Where one of them fails, each is done by itself, so that nobody fails for another's.

        Raises:
            WorklistUnavailableError: the database is away, locked, full or read-only.
        """
        mine = _Wanted(work)
        with self._lock:
            self._waiting.append(mine)
        try:
            with self._turn() as seconds:
                while taken := self._taken_with(mine):
                    self._do(taken, seconds)
        except WorklistUnavailableError:
            if mine.result is _NOT_DONE:
                raise
        finally:
            self._forget(mine)
        if mine.error is not None:
            raise WorklistUnavailableError(mine.error.message, remedy=mine.error.remedy) from mine.error
        if mine.result is _NOT_DONE:
            mine.result = self._alone(work)
        return cast("Result", mine.result)

    def _taken_with(self, mine: _Wanted) -> Sequence[_Wanted]:
        """Those that have waited the longest, as long as this one is among those that wait; none where it is not."""
        with self._lock:
            if mine not in self._waiting:
                return ()
            return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]

    def _do(self, taken: Sequence[_Wanted], seconds: float) -> None:
        """Each result to its place; most failures leave all to be done alone, each by its own thread."""
        try:
            results = self._together([one.work for one in taken], seconds)
        except WorklistUnavailableError as error:
            if self._hopeless(error):
                for one in taken:
                    one.error = error
        except Exception:  # noqa: BLE001 - it is raised again in the thread whose it is, when that does it alone
            return
        else:
            for one, result in zip(taken, results, strict=True):
                one.result = result

    def _forget(self, mine: _Wanted) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
