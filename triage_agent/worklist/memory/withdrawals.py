"""Rejection notes, in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime

from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Family
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.worklist import trail
from triage_agent.worklist.memory.outbox import Outbox
from triage_agent.worklist.memory.rows import OutboxEntry


class Withdrawals(Outbox):
    """The part of the port that takes results back."""

    def objects_of(self, study_instance_uid: str) -> Sequence[Shipment]:
        """See `Withdrawals.objects_of`."""
        with self._lock:
            return [
                entry.shipment
                for entry in self._outbox.values()
                if entry.study_instance_uid == study_instance_uid
                and entry.state is not DeliveryState.DEAD
                and entry.withdrawn_at is None
                and entry.shipment.artifact.kind.family is Family.DICOM_OBJECT
            ]

    def withdraw(
        self,
        study_instance_uid: str,
        notes: Sequence[Shipment],
        objects: Sequence[Shipment],
        *,
        reason: RejectionReason,
        actor: str,
        now: datetime,
    ) -> int:
        """See `Withdrawals.withdraw`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None:
                return 0
            before = len(self._outbox)
            self._enqueue(study, study.item.revision, notes, now, of_decision=True)
            queued = len(self._outbox) - before
            if queued:
                to = {note.destination for note in notes}
                for entry in self._entries(study.uid):
                    if entry.shipment.destination in to and entry.state is DeliveryState.SENT:
                        entry.commit_at = entry.transaction_uid = None
                self._mark(study.uid, {one.artifact.uid for one in objects}, now)
                self._audit.append(trail.results_withdrawn(study.uid, notes, reason, actor, now))
            return queued

    def _mark(self, study_instance_uid: str, uids: Collection[str], now: datetime) -> None:
        entries = self._entries(study_instance_uid)
        somewhere = {entry.shipment.artifact.uid for entry in entries if entry.state is not DeliveryState.DEAD}
        for entry in entries:
            artifact = entry.shipment.artifact
            is_object = artifact.kind.family is Family.DICOM_OBJECT and artifact.kind is not ArtifactKind.REJECTION
            if is_object and (artifact.uid in uids or artifact.uid not in somewhere):
                entry.withdrawn_at = entry.withdrawn_at or now

    def _entries(self, study_instance_uid: str) -> list[OutboxEntry]:
        return [entry for entry in self._outbox.values() if entry.study_instance_uid == study_instance_uid]

    def withdrawn_of(self, study_instance_uid: str, limit: int) -> Sequence[Artifact]:
        """See `Withdrawals.withdrawn_of`."""
        with self._lock:
            first: dict[tuple[int, str], OutboxEntry] = {}
            for entry in self._entries(study_instance_uid):  # in the order of their numbers
                if entry.withdrawn_at is not None:
                    first.setdefault((entry.revision, entry.shipment.artifact.uid), entry)
            newest = sorted(first.values(), key=lambda entry: (entry.revision, entry.number), reverse=True)
            return [entry.shipment.artifact for entry in newest[:limit]]
