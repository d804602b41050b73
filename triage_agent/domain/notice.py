"""What people are told by e-mail and webhook: what gives rise to it, when it may go, and the port that keeps it."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction, Finding, Priority, Status

HOUR = timedelta(hours=1)
SHOWN = 50  # notices of one message that are told of one by one; of the others it says how many they are
MOST_UNSENT = 5
"""Messages of one channel that were tried and not taken; beyond so many it is the channel that fails, not a message."""
_NAMESPACE = uuid.UUID("b9c6f6a2-0f0d-5a53-9d6e-1c7b0c0a2f55")


class NoticeKind(StrEnum):
    """What people are told of."""

    STAT = "stat"  # what the agent found asks for stat
    URGENT = "urgent"
    NEEDS_HUMAN = "needs_human"
    ROUTE_FAILING = "route_failing"
    ROUTE_WORKS = "route_works"  # told to whom was told that it failed
    TEST = "test"  # asked for by a command; never queued


class NoticeState(StrEnum):
    """Where a notice is on its way through one channel."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"  # refused for good, out of attempts, or its channel is gone


class Pace(StrEnum):
    """How many of the notices that wait go in the next message."""

    NONE = "none"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a notice is about; each channel is told once of one key."""

    kind: NoticeKind
    key: str


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day by a site's clock in which only what cannot wait is told; it may pass midnight."""

    begins: time
    ends: time
    zone: ZoneInfo

    def covers(self, at: datetime) -> bool:
        """Whether `at`, aware, lies in them."""
        clock = at.astimezone(self.zone).time()
        if self.begins <= self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRules:
    """When a channel is told of what.

    Attributes:
        kinds: what it wants to be told of.
        excepted: of these also in quiet hours.
        most_per_hour: messages, at most.
        after: how long nothing was taken by a route before that is told.
    """

    name: str
    kinds: frozenset[NoticeKind]
    quiet: QuietHours | None = None
    excepted: frozenset[NoticeKind] = frozenset()
    most_per_hour: int = 20
    after: timedelta = timedelta(minutes=10)

    def hushed(self, now: datetime) -> frozenset[NoticeKind]:
        """What is not told at this moment; whoever hears at once that a route fails hears at once that it works."""
        if self.quiet is None or not self.quiet.covers(now):
            return frozenset()
        return frozenset(kind for kind in NoticeKind if not self._is_excepted(kind))

    def was_held(self, kind: NoticeKind, at: datetime) -> bool:
        """Whether what came up at `at` had to wait for the end of quiet hours."""
        return kind in self.hushed(at)

    def _is_excepted(self, kind: NoticeKind) -> bool:
        return (NoticeKind.ROUTE_FAILING if kind is NoticeKind.ROUTE_WORKS else kind) in self.excepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a channel and no message holds yet.

    Attributes:
        sent: messages of the last hour.
        unsent: messages that are not taken yet.
        count: notices that wait.
        stat: whether a stat finding is among them.
        kind: of the oldest of them, which came up at `since`.
    """

    sent: int
    unsent: int = 0
    count: int
    stat: bool = False
    kind: NoticeKind
    since: datetime


def pace(waiting: Waiting, rules: ChannelRules) -> Pace:
    """One notice a message, as long as each that waits can have one of those that are left of the hour's.

    Else all that waits is summed up; so is what was held back through quiet hours, and what waits behind messages that
    are not taken, whose number is bounded. Beyond the hour's messages only a stat finding is told, with all else.
    """
    left = rules.most_per_hour - waiting.sent
    if waiting.unsent >= MOST_UNSENT or (left <= 0 and not waiting.stat):
        return Pace.NONE
    if waiting.count == 1:
        return Pace.ONE
    crowded = waiting.count > left or waiting.unsent == MOST_UNSENT - 1
    return Pace.ALL if crowded or rules.was_held(waiting.kind, waiting.since) else Pace.ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that is told, with what is known of its study now; no name and no number of a patient is among it.

    Attributes:
        detail: of a route, its name and since when it failed.
    """

    kind: NoticeKind
    at: datetime
    study_instance_uid: str = ""
    accession_number: str = ""
    anatomy: str = ""
    finding: str = ""
    probability: float | None = None
    rule: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent at once: one notice or many, the same ones at each attempt.

    Attributes:
        number: the number of its first notice; names the message in its channel.
        uid: the same at each attempt, so that a receiver knows a message that it has.
        count: how many notices it has, of which `notices` are the first.
        since: when the first of them came up.
    """

    channel: str
    number: int
    uid: str
    attempt: int
    count: int
    since: datetime
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRecord:
    """What became of a channel's notices, for `notify list`."""

    channel: str
    waiting: int
    sent: int
    dead: int
    last_sent_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """A destination of which nothing was taken since then, though something was tried."""

    destination: str
    failing_since: datetime


def message_uid(channel: str, number: int, since: datetime) -> str:
    """The name that a message always has."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join((channel, str(number), since.isoformat()))))


def occasion_of(event: AuditEvent) -> Occasion | None:
    """What an audit event gives rise to telling; None for most.

    A study is told of as stat (or urgent) once, when what was found asks for it: by an image's flag or a decision. What
    an order or a header asks for is no news to who wrote it. A study that needs a human is told of once a revision.
    """
    detail, uid = event.detail, event.study_instance_uid
    if uid is None:
        return None
    if event.action is AuditAction.STATUS_CHANGED and detail.get("to") == Status.NEEDS_HUMAN.value:
        return Occasion(NoticeKind.NEEDS_HUMAN, f"needs_human:{uid}:{detail.get('revision')}")
    kind = {Priority.STAT.value: NoticeKind.STAT, Priority.URGENT.value: NoticeKind.URGENT}.get(_found(event))
    return None if kind is None else Occasion(kind, f"{kind.value}:{uid}")


def _found(event: AuditEvent) -> str:
    """The priority that the agent's own finding asks for; empty where there is none."""
    detail = event.detail
    if event.action is AuditAction.PRIORITY_RAISED and "revision" in detail:  # an order's raise has none
        return str(detail.get("to"))
    positive = {Finding.ABNORMAL.value, Finding.UNCERTAIN.value}
    if event.action is AuditAction.DECISION_MADE and detail.get("finding") in positive:
        return str(detail.get("priority"))
    return ""


class Notices(Protocol):
    """The notices of a worklist's database. Every method raises `WorklistUnavailableError` when that is away."""

    def configure(self, channels: Sequence[ChannelRules], destinations: Collection[str], now: datetime) -> int:
        """From now on these channels are told, of these routes among others.

        What waits for any other channel is dead; returns how many.
        """

    def waiting(self, channel: str, hushed: Collection[NoticeKind], now: datetime) -> Waiting | None:
        """What could go to a channel in a new message; None where there is nothing."""

    def due(self, channel: str, hushed: Collection[NoticeKind], now: datetime) -> int | None:
        """How often the message was tried that `claim` would give; None where none is due.

        One that has nothing but what is hushed now does not count: it holds up nothing that may be told.
        """

    def gather(self, channel: str, hushed: Collection[NoticeKind], seen: Waiting, how: Pace, now: datetime) -> bool:
        """Make one message, due now, of what waits; False if more was begun or sent since that was `seen`.

        ONE is of a stat finding where one waits, else of the oldest.
        """

    def claim(self, channel: str, hushed: Collection[NoticeKind], now: datetime, until: datetime) -> Message | None:
        """The message that is due and was tried the least; counts the attempt before it is made.

        Nobody else has it before `until`. Stat findings come first in it.
        """

    def sent(self, message: Message, now: datetime) -> None:
        """It was taken: its notices are sent, with an audit event."""

    def failed(self, message: Message, error: str, retry_at: datetime | None, now: datetime) -> None:
        """Keep the error; try again at `retry_at`, or never (DEAD, with an audit event) when it is None."""

    def look_at_route(self, destination: str, *, troubled: bool, now: datetime) -> datetime | None:
        """Since when a destination fails, None if it does not; `troubled` says that something waits that was refused.

        It fails from the first attempt on that failed until something is taken. Who was told that it fails is told that
        it works.
        """

    def tell_failing(self, channel: str, destination: str, since: datetime, now: datetime) -> bool:
        """Queue that a destination has failed since then; False if the channel was told, or does not want to be."""

    def records(self) -> Sequence[ChannelRecord]:
        """Each channel that was ever configured, by name."""

    def failing(self) -> Sequence[RouteRecord]:
        """The destinations that fail, by name."""
