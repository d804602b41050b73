"""The outbox, in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from triage_agent.domain.decision import Artifact, Delivery, Shipment
from triage_agent.domain.vocabulary import DICOM_OBJECTS, ArtifactKind, AuditAction, DeliveryState, Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.chains import OPEN, keep_order
from triage_agent.worklist.limits import delivery_failure, no_route
from triage_agent.worklist.memory.base import Rows
from triage_agent.worklist.memory.rows import Lease, OutboxEntry, StudyEntry
from triage_agent.worklist.supersession import ARRIVED, superseded


class Outbox(Rows):
    """The part of the port that senders use."""

    def _enqueue(
        self, study: StudyEntry, revision: int, shipments: Sequence[Shipment], now: datetime, *, of_decision: bool
    ) -> None:
        for shipment in shipments:
            key = (study.uid, revision, shipment.artifact.uid, shipment.destination)
            known = next((entry for entry in self._outbox.values() if entry.key == key), None)
            if known is not None:
                known.of_decision |= of_decision
                continue
            number = next(self._ids)
            self._outbox[number] = OutboxEntry(number, study.uid, revision, shipment, of_decision, now)

    def add_results(self, study_instance_uid: str, revision: int, shipments: Sequence[Shipment], now: datetime) -> bool:
        """See `Worklist.add_results`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None or study.item.revision != revision:
                return False
            notes = [
                entry
                for entry in self._outbox.values()
                if (entry.study_instance_uid, entry.revision) == (study.uid, revision)
                and entry.shipment.artifact.kind is ArtifactKind.REJECTION
            ]
            if notes or study.item.status not in {Status.DECIDED, Status.DELIVERED}:
                return False
            self._enqueue(study, revision, shipments, now, of_decision=True)
            return True

    def last_artifact(self, study_instance_uid: str, kind: ArtifactKind, before_revision: int) -> Artifact | None:
        """See `Worklist.last_artifact`."""
        with self._lock:
            earlier = [
                entry
                for entry in self._outbox.values()
                if entry.study_instance_uid == study_instance_uid
                and entry.shipment.artifact.kind is kind
                and entry.revision < before_revision
                and entry.withdrawn_at is None
                and (entry.shipment.artifact.body or entry.shipment.artifact.header)
            ]
            last = max(earlier, key=lambda entry: (entry.revision, entry.number), default=None)
            return None if last is None else last.shipment.artifact

    def results_of(
        self, study_instance_uid: str, limit: int, kinds: Collection[ArtifactKind] = DICOM_OBJECTS
    ) -> Sequence[Artifact]:
        """See `Worklist.results_of`."""
        with self._lock:
            entries = [
                entry
                for entry in self._outbox.values()
                if entry.study_instance_uid == study_instance_uid
                and entry.shipment.artifact.kind in kinds
                and entry.withdrawn_at is None
                and entry.shipment.artifact.body
            ]
            first: dict[tuple[int, str], OutboxEntry] = {}
            for entry in entries:  # in the order of their numbers
                first.setdefault((entry.revision, entry.shipment.artifact.uid), entry)
            newest = sorted(first.values(), key=lambda entry: (entry.revision, entry.number), reverse=True)
            return [entry.shipment.artifact for entry in newest[:limit]]

    def claim_deliveries(
        self, owner: str, now: datetime, lease: timedelta, limit: int, destinations: Sequence[str] | None = None
    ) -> Sequence[Delivery]:
        """See `Worklist.claim_deliveries`."""
        with self._lock:
            due = [
                entry
                for entry in self._outbox.values()
                if entry.is_due(now) and (destinations is None or entry.shipment.destination in destinations)
                if not self._has_to_wait(entry)
            ]
            due.sort(key=lambda entry: (*self._studies[entry.study_instance_uid].urgency[:2], entry.number))
            lent = Lease(owner, now + lease)
            return [entry.send(lent, self._studies[entry.study_instance_uid].item.priority) for entry in due[:limit]]

    def _has_to_wait(self, entry: OutboxEntry) -> bool:
        study, destination = entry.study_instance_uid, entry.shipment.destination
        return any(
            (earlier.study_instance_uid, earlier.shipment.destination) == (study, destination)
            and keep_order(earlier.shipment.artifact.kind, entry.shipment.artifact.kind)
            for earlier in self._outbox.values()
            if earlier.number < entry.number and earlier.state in OPEN
        )

    def delivery_sent(self, delivery: Delivery, now: datetime, *, commit: bool = False) -> None:
        """See `Worklist.delivery_sent`."""
        with self._lock:
            entry = self._outbox.get(delivery.delivery_id)
            if entry is None or entry.state in ARRIVED:
                return
            entry.sent(now, commit=commit and not self._is_withdrawn(entry))
            self._audit.append(trail.delivery_moved(AuditAction.DELIVERY_SENT, delivery, now))
            self._settle(self._studies[delivery.study_instance_uid], now)

    def delivery_failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, now: datetime, *, tried: bool = True
    ) -> None:
        """See `Worklist.delivery_failed`."""
        with self._lock:
            entry = self._outbox.get(delivery.delivery_id)
            if entry is None or (entry.state, entry.attempts) != (DeliveryState.SENDING, delivery.attempt):
                return
            is_first = entry.last_error is None or delivery.attempt == 1
            entry.failed(error, retry_at)
            if retry_at is None:
                self._audit.append(trail.delivery_moved(AuditAction.DELIVERY_DEAD, delivery, now, tried=tried))
            elif is_first:
                self._audit.append(trail.delivery_moved(AuditAction.DELIVERY_FAILED, delivery, now))
            self._settle(self._studies[delivery.study_instance_uid], now)

    def make_due(self, destination: str, now: datetime) -> int:
        """See `Worklist.make_due`."""
        with self._lock:
            waiting = [
                entry
                for entry in self._outbox.values()
                if entry.shipment.destination == destination
                and entry.state is DeliveryState.PENDING
                and entry.next_attempt_at is not None
                and entry.next_attempt_at > now
            ]
            for entry in waiting:
                entry.next_attempt_at = now
            return len(waiting)

    def trouble_at(self, destination: str) -> str | None:
        """See `Worklist.trouble_at`."""
        with self._lock:
            failed = [
                (entry.next_attempt_at, entry.number, entry.last_error)
                for entry in self._outbox.values()
                if entry.shipment.destination == destination
                and entry.state in OPEN
                and entry.last_error is not None
                and entry.next_attempt_at is not None
            ]
            return max(failed)[2] if failed else None

    def bury_unrouted(self, destinations: Collection[str], now: datetime) -> int:
        """See `Worklist.bury_unrouted`."""
        with self._lock:
            waiting = [
                entry
                for entry in self._outbox.values()
                if entry.state in OPEN and entry.shipment.destination not in destinations
            ]
            for entry in sorted(waiting, key=lambda entry: (entry.study_instance_uid, entry.number)):
                entry.failed(no_route(entry.shipment.destination), None)
                self._audit.append(
                    trail.delivery_unrouted(
                        entry.study_instance_uid,
                        kind=entry.shipment.artifact.kind,
                        destination=entry.shipment.destination,
                        uid=entry.shipment.artifact.uid,
                        attempt=entry.attempts,
                        revision=entry.revision,
                        at=now,
                    )
                )
            for uid in dict.fromkeys(entry.study_instance_uid for entry in waiting):
                self._settle(self._studies[uid], now)
            return len(waiting)

    def _is_withdrawn(self, entry: OutboxEntry) -> bool:
        return any(
            other.shipment.artifact.kind is ArtifactKind.REJECTION
            and (other.study_instance_uid, other.shipment.destination)
            == (entry.study_instance_uid, entry.shipment.destination)
            and other.number > entry.number
            for other in self._outbox.values()
        )

    def _superseded(self, study: StudyEntry) -> frozenset[int]:
        entries = [entry for entry in self._outbox.values() if entry.study_instance_uid == study.uid]
        return superseded(entry.place(study.item.priority) for entry in entries)

    def _settle(self, study: StudyEntry, now: datetime) -> None:
        if study.item.status not in {Status.DECIDED, Status.DELIVERED}:
            return
        past = self._superseded(study)
        entries = [
            entry
            for entry in self._outbox.values()
            if entry.key[:2] == (study.uid, study.item.revision)
            and entry.number not in past
            and not entry.shipment.artifact.kind.is_evidence  # a map costs itself alone
        ]
        dead = next((entry for entry in entries if entry.state is DeliveryState.DEAD), None)
        reason = study.reason_of_decision or None
        if dead is not None:
            reason = delivery_failure(dead.shipment.artifact.kind, dead.shipment.destination, dead.last_error or "")
        study.item = replace(study.item, status_reason=reason)
        told = study.routed or any(entry.place(study.item.priority).tells for entry in entries)
        if told and all(entry.state in ARRIVED for entry in entries) and study.item.status is Status.DECIDED:
            self._advance(study, Event.DELIVERED, trail.AGENT, now)
            study.item = replace(study.item, delivered_at=now)
