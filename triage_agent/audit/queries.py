"""Who searched for what, without a record a search: worklists are polled every few seconds, all day.

The first search of somebody's hour is a record before it is answered; those that follow are counted, and become one
record when the hour is over or the agent ends. A crash loses a count of part of an hour, never that somebody searched.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.ports import Clock
from triage_agent.domain.vocabulary import AuditAction, Searched

_HOUR = timedelta(hours=1)
_MOST = 1024  # searchers that are counted at the same time; beyond it the one that began first is recorded


class _Who(NamedTuple):
    caller: str
    address: str
    searched: Searched


@dataclass(slots=True)
class _Hour:
    """Searches since the one that was recorded when it came."""

    began: datetime
    more: int = 0

    def covers(self, now: datetime) -> bool:
        """Not where the clock was set back to before it."""
        return self.began <= now < self.began + _HOUR


class QueryLog:
    """Records searches; safe to call from many threads."""

    def __init__(self, record: Callable[[AuditEvent], None], clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._hours: dict[_Who, _Hour] = {}

    def asked(self, searched: Searched, caller: str, address: str) -> None:
        """Somebody searches; when this returns, that is recorded, or counted beside what was.

        Raises:
            WorklistUnavailableError: it cannot be recorded, so that nothing may be shown.
        """
        who, now = _Who(caller, address, searched), self._clock()
        with self._lock:
            hour = self._hours.get(who)
            if hour is not None and hour.covers(now):
                hour.more += 1
                return
            self._end(who, now)
            self._tell(who, now, queries=1)
            self._hours[who] = _Hour(now)
            if len(self._hours) > _MOST:
                self._end(next(iter(self._hours)), now)

    def step(self) -> bool:
        """Record the count of one hour that is over; False if there was none."""
        now = self._clock()
        with self._lock:
            over = next((who for who, hour in self._hours.items() if not hour.covers(now)), None)
            if over is None:
                return False
            self._end(over, now)
            return True

    def close(self) -> None:
        """Record every count: the agent ends."""
        with self._lock:
            for who in list(self._hours):
                self._end(who, self._clock())

    def _end(self, who: _Who, now: datetime) -> None:
        """Record what was counted, if anything was; forgotten only once it is recorded."""
        hour = self._hours.get(who)
        if hour is not None and hour.more:
            self._tell(who, now, queries=hour.more, since=hour.began.isoformat())
        self._hours.pop(who, None)

    def _tell(self, who: _Who, now: datetime, **counted: object) -> None:
        detail: dict[str, object] = {"searched": who.searched.value, **counted}
        if who.address:
            detail["address"] = who.address
        self._record(AuditEvent(at=now, action=AuditAction.QUERIED, actor=who.caller, detail=detail))
