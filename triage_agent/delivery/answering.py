"""The loop that answers peers' requests for storage commitment (PS3.4 section J.3.3).

What counts as kept is looked at when the answer is made: registered in the worklist, and its file in the spool as it
was written. The request is in the database until the peer has taken the answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

import structlog

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.commitment import (
    CommitmentReport,
    Commitments,
    FailureReason,
    KeptInstance,
    OpenRequest,
    Reference,
)
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock

log = structlog.get_logger(__name__)

_AT_ONCE = 500  # references looked up together
_READ_WHOLE = 1 << 30  # bytes of a request's files that are read to compare digests; beyond them lengths must do
SEND_SECONDS = 120.0  # longer than an answer takes on both ways: so long a peer may keep us waiting


class Tell(Protocol):
    """A way to a peer."""

    def __call__(self, peer: str, report: CommitmentReport) -> None:
        """Returns when the peer has taken the report; raises DeliveryError."""


class IsKept(Protocol):
    """Looks at a file."""

    def __call__(self, instance: KeptInstance, *, read_whole: bool) -> bool:
        """Whether it is as it was."""


@dataclass(slots=True)
class _Away:
    failures: int
    since: datetime
    until: datetime


class Answerer:
    """Answers one request after the other; a peer that is away holds up its own only."""

    def __init__(
        self,
        *,
        worklist: Commitments,
        is_kept: IsKept,
        tell: Tell,
        clock: Clock,
        rng: Random,
        lease: timedelta,
        retry: RetryPolicy,
        observed: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """`observed` is told `committed`, `failed`, `retry` or `dead`, once an attempt."""
        self._worklist = worklist
        self._is_kept = is_kept
        self._tell = tell
        self._clock = clock
        self._rng = rng
        self._lease = lease
        self._retry = retry
        self._observed = observed
        self._away: dict[str, _Away] = {}

    def step(self) -> bool:
        """Answer the request that is due longest; False if there was none.

        Raises:
            WorklistUnavailableError: the database is away; what was answered and could not be marked is answered again.
        """
        now = self._clock()
        # Before `since` the clock was set back.
        away = [peer for peer, state in self._away.items() if state.since <= now < state.until]
        claimed = self._worklist.claim_commitment_request(now, now + self._lease, away)
        if claimed is None:
            return False
        report = self._report(claimed)
        self._worklist.hold_commitment_request(claimed, self._clock() + timedelta(seconds=SEND_SECONDS))
        line = log.bind(
            peer=claimed.request.peer,
            transaction_uid=claimed.request.transaction_uid,
            instances=len(claimed.request.references),
            failures=len(report.failed),
            attempt=claimed.attempt,
        )
        try:
            self._tell(claimed.request.peer, report)
        except DeliveryError as error:
            line.warning("commitment_unanswered", error=str(error))
            self._keep_failure(claimed, error)
            return True
        self._away.pop(claimed.request.peer, None)
        self._worklist.commitment_answered(claimed, len(report.failed), self._clock())
        self._observed("failed" if report.failed else "committed")
        line.info("commitment_answered")
        return True

    def _keep_failure(self, claimed: OpenRequest, error: DeliveryError) -> None:
        now, peer = self._clock(), claimed.request.peer
        if error.away:
            failures = self._away[peer].failures + 1 if peer in self._away else 1
            self._away[peer] = _Away(failures, now, now + self._retry.pause(failures))
        else:
            self._away.pop(peer, None)
        retry_at = None if error.permanent else self._retry.next_attempt(claimed.attempt, now, self._rng)
        self._worklist.commitment_unanswered(claimed, str(error), retry_at, now)
        self._observed("dead" if retry_at is None else "retry")

    def _report(self, claimed: OpenRequest) -> CommitmentReport:
        """What is kept of what was asked for; the request stays held however long the looking takes."""
        references = claimed.request.references
        committed: list[Reference] = []
        failed: list[tuple[Reference, int]] = []
        hold_again, unread = self._clock() + self._lease / 4, _READ_WHOLE
        for start in range(0, len(references), _AT_ONCE):
            some = references[start : start + _AT_ONCE]
            known = self._worklist.kept_instances([reference.sop_instance_uid for reference in some])
            for reference in some:
                reason = self._failure(reference, known, unread)
                if reason is None:
                    committed.append(reference)
                    unread -= known[reference.sop_instance_uid].size
                else:
                    failed.append((reference, reason))
                if self._clock() >= hold_again:
                    hold_again = self._clock() + self._lease / 4
                    self._worklist.hold_commitment_request(claimed, self._clock() + self._lease)
        return CommitmentReport(
            transaction_uid=claimed.request.transaction_uid, committed=tuple(committed), failed=tuple(failed)
        )

    def _failure(self, reference: Reference, known: Mapping[str, KeptInstance], unread: int) -> int | None:
        """Its Failure Reason (PS3.3 section C.14.1.1); None where we keep it."""
        instance = known.get(reference.sop_instance_uid)
        if instance is None:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        if instance.sop_class_uid != reference.sop_class_uid:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        if not self._is_kept(instance, read_whole=instance.size <= unread):
            return FailureReason.PROCESSING_FAILURE
        return None
