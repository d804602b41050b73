"""What waits, and since when: whether anybody is at work shows here, without asking anybody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from triage_agent.domain.vocabulary import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Results that wait for one destination; `since` is when the oldest was made."""

    number: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Studies of one priority that wait for a worker; `since` is since when the longest of them does."""

    number: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits at one time.

    Attributes:
        waiting: studies that a worker should take up: ready ones, and those whose look at completeness is overdue.
        since: since when the longest of them does: its last image, or the time of that look; None where none waits.
        held: studies that a worker has, whose lease has not run out.
        pending: what waits to be sent, by destination; those of which nothing waits are left out.
        retrievals: studies that are to be fetched from a PACS, or being fetched.
        by_priority: the studies that wait; priorities of which none does are left out.
        dead: how many results are not tried any more, by destination.
    """

    waiting: int
    since: datetime | None
    held: int
    pending: Mapping[str, Pending]
    retrievals: int
    by_priority: Mapping[Priority, Waiting] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)

    def waits_for(self, now: datetime) -> timedelta:
        """How long the longest has waited; zero where none does."""
        return max(timedelta(0), now - self.since) if self.since else timedelta(0)


class Backlogs(Protocol):
    """The part of the worklist that metrics, the log and `check` ask."""

    def backlog(self, now: datetime) -> Backlog:
        """What waits at this moment."""
