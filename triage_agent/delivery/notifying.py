"""The loops that tell people: one a channel, and one that sees which routes have failed for too long.

What is to be told is in the database from the transaction on that caused it, so that a restart forgets nothing. An
attempt is recorded, then made, then marked: a crash between the last two sends the same message again, by the same id.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

import structlog

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.notice import ChannelRules, Message, NoticeKind, Notices, Pace, pace
from triage_agent.domain.ports import Clock

log = structlog.get_logger(__name__)

_SPARE_SECONDS = 30.0  # beyond what an attempt may take, before another process makes the next


class Outlet(Protocol):
    """A way to people."""

    @property
    def seconds(self) -> float:
        """How long `send` takes at most."""

    def send(self, message: Message, at: datetime) -> None:
        """Returns when it was taken; raises DeliveryError."""

    def check(self) -> str:
        """Whether a message would be taken, without sending one; raises DeliveryError."""

    def close(self) -> None:
        """Hang up."""


class Notifier:
    """Tells one channel, a message at a time."""

    def __init__(
        self,
        *,
        notices: Notices,
        rules: ChannelRules,
        outlet: Outlet,
        clock: Clock,
        rng: Random,
        retry: RetryPolicy,
        observed: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """`observed` is told `sent`, `retry` or `dead`, once an attempt."""
        self._notices = notices
        self._rules = rules
        self._outlet = outlet
        self._clock = clock
        self._rng = rng
        self._retry = retry
        self._observed = observed
        self._left_alone_until = datetime.min.replace(tzinfo=UTC)

    def step(self) -> bool:
        """Send the message that is due; False if there was none, or it was not taken.

        Raises:
            WorklistUnavailableError: the database is away; what was sent and could not be marked is sent again.
        """
        now = self._clock()
        if self._is_left_alone(now):
            return False
        hushed, channel = self._rules.hushed(now), self._rules.name
        tried = self._notices.due(channel, hushed, now)
        # What was never tried goes first, then what waits and is in no message yet, then what was not taken before.
        if tried != 0 and not self._gathered(hushed, now) and tried is None:
            return False
        until = now + timedelta(seconds=self._outlet.seconds + _SPARE_SECONDS)
        message = self._notices.claim(channel, hushed, now, until)
        return message is not None and self._told(message)

    def _is_left_alone(self, now: datetime) -> bool:
        """Whether the other side asked for time, which is meant for all messages; a clock may be set back meanwhile."""
        return timedelta(0) < self._left_alone_until - now <= self._retry.longest

    def _gathered(self, hushed: frozenset[NoticeKind], now: datetime) -> bool:
        """Whether there is a new message to send."""
        waiting = self._notices.waiting(self._rules.name, hushed, now)
        if waiting is None or (how := pace(waiting, self._rules)) is Pace.NONE:
            return False
        return self._notices.gather(self._rules.name, hushed, waiting, how, now)

    def _told(self, message: Message) -> bool:
        line = log.bind(channel=message.channel, message=message.uid, notices=message.count, attempt=message.attempt)
        failure = self._attempt(message)
        now = self._clock()
        if failure is None:
            self._notices.sent(message, now)
            self._observed("sent")
            line.info("notice_sent")
            return True
        retry_at = None if failure.permanent else self._retry.next_attempt(message.attempt, now, self._rng)
        if retry_at is not None and failure.retry_after is not None:
            self._left_alone_until = now + min(failure.retry_after, self._retry.longest)
            retry_at = max(retry_at, self._left_alone_until)
        self._notices.failed(message, str(failure), retry_at, now)
        self._observed("dead" if retry_at is None else "retry")
        if retry_at is None:
            line.error("notice_dead", error=str(failure))
        else:
            line.warning("notice_failed", error=str(failure))
        return retry_at is None  # the next one may fare better; one that is tried again goes behind it

    def _attempt(self, message: Message) -> DeliveryError | None:
        try:
            self._outlet.send(message, self._clock())
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001 - only the type: a message may quote what was sent
            return DeliveryError(f"unexpected {type(error).__name__}", permanent=False)
        return None


class RouteWatch:
    """Sees which routes have failed for as long as a channel waits, and that they work again."""

    def __init__(
        self,
        *,
        notices: Notices,
        channels: Sequence[ChannelRules],
        destinations: Sequence[str],
        trouble_at: Callable[[str], str | None],
        clock: Clock,
    ) -> None:
        """`trouble_at` tells of what waits for a destination and was refused (`Worklist.trouble_at`)."""
        self._notices = notices
        self._channels = [channel for channel in channels if NoticeKind.ROUTE_FAILING in channel.kinds]
        self._destinations = tuple(destinations)
        self._trouble_at = trouble_at
        self._clock = clock

    def step(self) -> bool:
        """Look once; there is never more to do at once."""
        for destination in self._destinations:
            now = self._clock()
            since = self._notices.look_at_route(
                destination, troubled=self._trouble_at(destination) is not None, now=now
            )
            if since is None:
                continue
            for channel in self._channels:
                if now - since >= channel.after:
                    self._notices.tell_failing(channel.name, destination, since, now)
        return False
