"""How urgent the work in hand is, told to whoever queues it further down, without an argument on the way."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from triage_agent.domain.vocabulary import Priority

_RANK: ContextVar[int] = ContextVar("urgency", default=Priority.ROUTINE.rank)


@contextmanager
def asking_for(priorities: Iterable[Priority]) -> Iterator[None]:
    """In the block scores are asked for on behalf of studies of these priorities.

    The highest counts for all of them: who waits for one answer of a batch waits for its last.
    """
    token = _RANK.set(max((priority.rank for priority in priorities), default=Priority.ROUTINE.rank))
    try:
        yield
    finally:
        _RANK.reset(token)


def urgency() -> int:
    """The rank of what is asked for now, `Priority.rank`; routine where nobody says."""
    return _RANK.get()
