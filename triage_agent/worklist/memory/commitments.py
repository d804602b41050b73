"""Storage commitment, in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from triage_agent.domain.commitment import (
    AnswerState,
    CommitmentReport,
    CommitmentRequest,
    KeptInstance,
    OpenRequest,
    Reported,
)
from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import AuditAction, DeliveryState
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import trail
from triage_agent.worklist.limits import not_committed, unanswered_commitment
from triage_agent.worklist.memory.outbox import Outbox
from triage_agent.worklist.memory.rows import OutboxEntry


@dataclass(slots=True)
class RequestEntry:
    """A peer's request."""

    number: int
    request: CommitmentRequest
    next_attempt_at: datetime
    requested_at: datetime
    state: AnswerState = AnswerState.WAITING
    attempts: int = 0

    def bring_near(self, now: datetime, longest: LongestWaits) -> bool:
        """Shorten a wait that lies farther ahead than could have been set; whether it did."""
        untried = self.attempts == 0
        if self.state is not AnswerState.WAITING:
            return False
        if self.next_attempt_at <= now + (longest.lease if untried else longest.replying):
            return False
        self.next_attempt_at = now if untried else now + longest.replying
        return True


class Commitments(Outbox):
    """The part of the port that is about storage commitment."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: dict[tuple[str, str], RequestEntry] = {}

    def keep_commitment_request(
        self, request: CommitmentRequest, now: datetime, answer_at: datetime, forget: datetime | None = None
    ) -> bool:
        """See `Commitments.keep_commitment_request`."""
        with self._lock:
            key = (request.peer, request.transaction_uid)
            known = self._requests.get(key)
            number = self._number_of_request(forget) if known is None else known.number
            self._requests[key] = RequestEntry(number, request, answer_at, now)
            is_known = known is not None
            self._audit.append(
                trail.commitment_moved(AuditAction.COMMITMENT_REQUESTED, request, now, repeated=is_known)
            )
            return not is_known

    def _number_of_request(self, forget: datetime | None) -> int:
        """That of the oldest that has ended before then, which is forgotten; else a new one."""
        ended = [
            (entry.requested_at, entry.number, key)
            for key, entry in self._requests.items()
            if forget is not None and entry.state is not AnswerState.WAITING and entry.requested_at < forget
        ]
        if not ended:
            return next(self._ids)
        _, number, key = min(ended)
        del self._requests[key]
        return number

    def claim_commitment_request(
        self, now: datetime, until: datetime, away: Collection[str] = ()
    ) -> OpenRequest | None:
        """See `Commitments.claim_commitment_request`."""
        with self._lock:
            due = [
                entry
                for entry in self._requests.values()
                if entry.state is AnswerState.WAITING
                and entry.next_attempt_at <= now
                and entry.request.peer not in away
            ]
            entry = min(due, key=lambda each: (each.next_attempt_at, each.number), default=None)
            if entry is None:
                return None
            entry.attempts += 1
            entry.next_attempt_at = until
            return OpenRequest(request_id=entry.number, attempt=entry.attempts, request=entry.request)

    def _claimed(self, claimed: OpenRequest) -> RequestEntry | None:
        entry = self._requests.get((claimed.request.peer, claimed.request.transaction_uid))
        if entry is None or (entry.state, entry.attempts) != (AnswerState.WAITING, claimed.attempt):
            return None
        return entry

    def hold_commitment_request(self, claimed: OpenRequest, until: datetime) -> None:
        """See `Commitments.hold_commitment_request`."""
        with self._lock:
            if (entry := self._claimed(claimed)) is not None:
                entry.next_attempt_at = until

    def kept_instances(self, sop_instance_uids: Collection[str]) -> Mapping[str, KeptInstance]:
        """See `Commitments.kept_instances`."""
        with self._lock:
            images = [self._images[uid] for uid in set(sop_instance_uids) & self._images.keys()]
            kept = [image.received for image in images if image.original_deleted_at is None]
            return {
                each.header.sop_instance_uid: KeptInstance(
                    sop_instance_uid=each.header.sop_instance_uid,
                    sop_class_uid=each.header.sop_class_uid,
                    path=each.path,
                    size=each.size,
                    sha256=each.sha256,
                )
                for each in kept
            }

    def commitment_answered(self, claimed: OpenRequest, failures: int, now: datetime) -> None:
        """See `Commitments.commitment_answered`."""
        with self._lock:
            if (entry := self._claimed(claimed)) is None:
                return
            entry.state = AnswerState.ANSWERED
            self._audit.append(
                trail.commitment_moved(
                    AuditAction.COMMITMENT_ANSWERED, claimed.request, now, failures=failures, attempt=claimed.attempt
                )
            )

    def commitment_unanswered(
        self,
        claimed: OpenRequest,
        error: str,  # noqa: ARG002 - nobody reads it
        retry_at: datetime | None,
        now: datetime,
    ) -> None:
        """See `Commitments.commitment_unanswered`."""
        with self._lock:
            if (entry := self._claimed(claimed)) is None:
                return
            if retry_at is not None:
                entry.next_attempt_at = retry_at
                return
            entry.state = AnswerState.DEAD
            self._audit.append(
                trail.commitment_moved(AuditAction.COMMITMENT_DEAD, claimed.request, now, attempt=claimed.attempt)
            )

    def claim_commitments(
        self, destination: str, transaction_uid: str, now: datetime, until: datetime, limit: int, most_asks: int
    ) -> Sequence[Artifact]:
        """See `Commitments.claim_commitments`."""
        with self._lock:
            due = [entry for entry in self._outbox.values() if entry.commits(destination, now)]
            for entry in [each for each in due if each.commit_asks >= most_asks]:
                entry.commit_at, entry.last_error = None, unanswered_commitment(most_asks)
                due.remove(entry)
            due.sort(key=lambda each: (each.commit_at or now, each.number))
            for entry in due[:limit]:
                entry.transaction_uid, entry.commit_at = transaction_uid, until
                entry.commit_asks += 1
            return [entry.shipment.artifact for entry in due[:limit]]

    def _asked_as(self, transaction_uid: str) -> list[OutboxEntry]:
        return [
            entry
            for entry in self._outbox.values()
            if entry.transaction_uid == transaction_uid and entry.state is DeliveryState.SENT
        ]

    def commitments_asked(self, transaction_uid: str, until: datetime) -> None:
        """See `Commitments.commitments_asked`."""
        with self._lock:
            for entry in self._asked_as(transaction_uid):
                entry.commit_at = until

    def commitments_not_asked(self, transaction_uid: str, error: str, again_at: datetime, *, counted: bool) -> None:
        """See `Commitments.commitments_not_asked`."""
        with self._lock:
            for entry in self._asked_as(transaction_uid):
                entry.commit_at, entry.last_error = again_at, error
                entry.commit_asks -= 0 if counted else 1

    def commitment_reported(
        self, destinations: Collection[str], report: CommitmentReport, most_resends: int, now: datetime
    ) -> Reported:
        """See `Commitments.commitment_reported`."""
        reasons = {reference.sop_instance_uid: reason for reference, reason in report.failed}
        kept = {reference.sop_instance_uid for reference in report.committed} - reasons.keys()
        committed = resent = dead = 0
        with self._lock:
            asked = [
                entry
                for entry in self._outbox.values()
                if entry.state is DeliveryState.SENT
                and entry.transaction_uid is not None
                and entry.shipment.destination in destinations
            ]
            for entry in sorted(asked, key=lambda each: (each.shipment.artifact.uid, each.number)):
                uid = entry.shipment.artifact.uid
                if uid in kept:
                    self._commit(entry, now)
                    committed += 1
                elif uid in reasons and entry.transaction_uid == report.transaction_uid:
                    is_last = entry.commit_resends >= most_resends
                    self._fail(entry, reasons[uid], now, is_last=is_last)
                    dead += is_last
                    resent += not is_last
        return Reported(committed=committed, resent=resent, dead=dead)

    def _commit(self, entry: OutboxEntry, now: datetime) -> None:
        entry.committed(now)
        self._audit.append(
            trail.delivery_committed(
                entry.study_instance_uid,
                destination=entry.shipment.destination,
                uid=entry.shipment.artifact.uid,
                revision=entry.revision,
                at=now,
            )
        )

    def _fail(self, entry: OutboxEntry, reason: int, now: datetime, *, is_last: bool) -> None:
        entry.failed(not_committed(reason), None if is_last else now)
        entry.commit_at = entry.transaction_uid = None
        entry.commit_resends += not is_last
        self._audit.append(
            trail.delivery_not_committed(
                entry.study_instance_uid,
                destination=entry.shipment.destination,
                uid=entry.shipment.artifact.uid,
                revision=entry.revision,
                reason=reason,
                dead=is_last,
                at=now,
            )
        )
        self._settle(self._studies[entry.study_instance_uid], now)
