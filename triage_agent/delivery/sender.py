"""The loop that empties the outbox of one destination after the other, or of one in its own thread.

An attempt is recorded (by the claim), then made, then marked: a crash between the two sends the same object once more,
which is harmless (promise 5).
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

import structlog

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.decision import Delivery
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock, Transport, Worklist
from triage_agent.domain.vocabulary import Family
from triage_agent.ops.journey import NOWHERE, Journey

log = structlog.get_logger(__name__)

_LONGEST_RUN = 32  # deliveries, so that whoever runs the loop can stop it between runs


class Sent(StrEnum):
    """What became of one attempt."""

    SENT = "sent"
    RETRY = "retry"  # tried again later
    DEAD = "dead"  # refused for good, or out of attempts


@dataclass(frozen=True, slots=True)
class _Away:
    """A destination that could not be reached so often in a row, since when, and when to look for it again."""

    failures: int
    since: datetime
    until: datetime


class Sender:
    """Sends what is due. Destinations share nothing: run each in its own thread, and a dead one blocks no other."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        transports: Mapping[str, Transport],
        clock: Clock,
        rng: Random,
        owner: str,
        lease: timedelta,
        retry: RetryPolicy | None = None,
        commits: Collection[str] = (),
        shows_regions: bool = True,
        observed: Callable[[Delivery, Sent], None] | None = None,
        journey: Journey = NOWHERE,
    ) -> None:
        """`transports` are by destination; `lease` must be longer than the slowest send takes.

        `commits` are destinations that are asked to commit to what they take. Without `shows_regions` evidence that was
        queued while the site showed any is dead when its turn comes (promise 6). `observed` is told of each
        attempt and its outcome, the metrics' side of it, `journey` of its steps.
        """
        self._worklist = worklist
        self._transports = dict(transports)
        self._clock = clock
        self._rng = rng
        self._owner = owner
        self._lease = lease
        self._retry = retry or RetryPolicy()
        self._commits = frozenset(commits)
        self._shows_regions = shows_regions
        self._observed = observed
        self._journey = journey
        self._away: dict[str, _Away] = {}  # by destination; each is served by one thread

    @property
    def destinations(self) -> tuple[str, ...]:
        """The destinations that this sender has a transport for."""
        return tuple(self._transports)

    def run_once(self, destination: str | None = None) -> int:
        """Send what is due to `destination`, or to each in turn; returns how many were delivered.

        A run for a destination ends when nothing is due, after some dozens of deliveries, or when an attempt fails in a
        way that a retry may mend: the destination is probably away, and the others in its queue keep their attempts.
        One that could not be reached is left alone for longer and longer, whatever else becomes due for it. Zero
        therefore means: wait before the next run.

        Raises:
            WorklistUnavailableError: the database is away; what was sent and could not be marked is sent again.
        """
        names = self.destinations if destination is None else (destination,)
        return sum(self._drain(name) for name in names)

    def close(self) -> None:
        """End the connections that transports keep open."""
        for transport in self._transports.values():
            transport.close()

    def _drain(self, destination: str) -> int:
        away = self._away.get(destination)
        if away is not None and away.since <= self._clock() < away.until:  # before that: the clock was set back
            return 0
        delivered = 0
        for _ in range(_LONGEST_RUN):
            claimed = self._worklist.claim_deliveries(
                self._owner, self._clock(), self._lease, 1, destinations=[destination]
            )
            if not claimed:
                break
            outcome = self._deliver(claimed[0])
            if outcome is Sent.RETRY:
                break
            delivered += outcome is Sent.SENT
        return delivered

    def _deliver(self, delivery: Delivery) -> Sent:
        started = time.perf_counter()
        withheld = failure = self._withheld(delivery)
        if withheld is None:
            failure = self._told_attempt(delivery)
            self._note_whether_away(delivery.destination, failure)
        if failure is None:
            # Storage commitment is about stored objects: a workitem's answer would name another UID.
            commits = delivery.destination in self._commits and delivery.artifact.kind.family is Family.DICOM_OBJECT
            with self._journey.step("acknowledged", [delivery.study_instance_uid], destination=delivery.destination):
                self._worklist.delivery_sent(delivery, self._clock(), commit=commits)
            outcome = Sent.SENT
        else:
            outcome = self._keep_failure(delivery, failure, tried=withheld is None)
        if self._observed is not None:
            self._observed(delivery, outcome)
        line = log.bind(
            study_instance_uid=delivery.study_instance_uid,
            kind=delivery.artifact.kind.value,
            destination=delivery.destination,
            attempt=delivery.attempt,
            outcome=outcome.value,
            seconds=round(time.perf_counter() - started, 3),
        )
        if failure is None:
            line.info("delivery")
        else:
            line.warning("delivery", error=str(failure))
        return outcome

    def _note_whether_away(self, destination: str, failure: DeliveryError | None) -> None:
        if failure is None or not failure.away:
            if self._away.pop(destination, None) is not None:  # whatever it said, it is there
                self._worklist.make_due(destination, self._clock())
            return
        failures = self._away[destination].failures + 1 if destination in self._away else 1
        now = self._clock()
        pause = max(self._retry.pause(failures), self._wished(failure))
        self._away[destination] = _Away(failures, now, now + pause)

    def _wished(self, failure: DeliveryError) -> timedelta:
        """How long the destination asked to be left alone, as far as that is ever done."""
        return min(failure.retry_after or timedelta(0), self._retry.longest)

    def _withheld(self, delivery: Delivery) -> DeliveryError | None:
        """Why it is not sent, by promises 3 and 6 or for want of a way; None where it is."""
        if delivery.is_outdone:
            return _outdone()
        if delivery.artifact.kind.is_evidence and not self._shows_regions:
            return DeliveryError("not sent: the site shows no regions", permanent=True, remedy="[results] evidence")
        kind = delivery.artifact.kind
        if kind not in self._transports[delivery.destination].kinds:
            return DeliveryError(
                f"{delivery.destination} cannot be sent {kind.value}", permanent=True, remedy="correct the route"
            )
        return None

    def _told_attempt(self, delivery: Delivery) -> DeliveryError | None:
        """See `_attempt`; a step of the study's journey."""
        with self._journey.step(
            "deliver",
            [delivery.study_instance_uid],
            destination=delivery.destination,
            kind=delivery.artifact.kind.value,
            attempt=delivery.attempt,
        ) as details:
            failure = self._attempt(delivery)
            details["taken"] = int(failure is None)
        return failure

    def _attempt(self, delivery: Delivery) -> DeliveryError | None:
        """The reason why it was not taken; None when it was."""
        try:
            self._transports[delivery.destination].send(delivery.artifact)
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001 - only the type: a message may quote what was sent
            return DeliveryError(f"unexpected {type(error).__name__}", permanent=False)
        return None

    def _keep_failure(self, delivery: Delivery, failure: DeliveryError, *, tried: bool) -> Sent:
        now = self._clock()
        retry_at = None if failure.permanent else self._retry.next_attempt(delivery.attempt, now, self._rng)
        if retry_at is not None:
            retry_at = max(retry_at, now + self._wished(failure))
        self._worklist.delivery_failed(delivery, str(failure), retry_at, now, tried=tried)
        return Sent.DEAD if retry_at is None else Sent.RETRY


def _outdone() -> DeliveryError:
    return DeliveryError("not sent: it asks for less than the priority that the study has by now", permanent=True)
