"""Rejection notes, in memory."""

from collections.abc import Sequence
from datetime import datetime

from triage_agent.domain.decision import Shipment
from triage_agent.domain.vocabulary import DeliveryState, Family
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.worklist import trail
from triage_agent.worklist.memory.outbox import Outbox


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
                and entry.shipment.artifact.kind.family is Family.DICOM_OBJECT
            ]

    def withdraw(
        self, study_instance_uid: str, notes: Sequence[Shipment], reason: RejectionReason, actor: str, now: datetime
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
                for entry in self._outbox.values():
                    is_there = entry.study_instance_uid == study.uid and entry.shipment.destination in to
                    if is_there and entry.state is DeliveryState.SENT:
                        entry.commit_at = entry.transaction_uid = None
                self._audit.append(trail.results_withdrawn(study.uid, notes, reason, actor, now))
            return queued
