"""Originals past their time, in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.vocabulary import Status
from triage_agent.worklist import trail
from triage_agent.worklist.memory.outbox import Outbox
from triage_agent.worklist.memory.rows import StudyEntry
from triage_agent.worklist.supersession import ARRIVED

_DONE = frozenset({Status.DELIVERED, Status.OUT_OF_SCOPE})


class Retention(Outbox):
    """The part of the port that lets originals go."""

    def originals_past(self, before: datetime, limit: int) -> Sequence[str]:
        """See `Worklist.originals_past`."""
        with self._lock:
            past = [study for study in self._studies.values() if self._is_past(study, before)]
            past.sort(key=lambda study: (study.last_received_at, study.uid))
            return [study.uid for study in past[:limit]]

    def _is_past(self, study: StudyEntry, before: datetime) -> bool:
        if study.item.status not in _DONE or study.originals_deleted_at or study.last_received_at >= before:
            return False
        past = self._superseded(study)
        return all(
            (entry.state in ARRIVED and entry.commit_at is None) or entry.number in past
            for entry in self._outbox.values()
            if entry.study_instance_uid == study.uid
        )

    def forget_originals(self, study_instance_uid: str, before: datetime, now: datetime) -> Sequence[str]:
        """See `Worklist.forget_originals`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None or not self._is_past(study, before):
                return []
            images = self._images_of(study.uid)
            there = [image for image in images if image.original_deleted_at is None]
            for image in there:
                image.original_deleted_at = now
            if there:
                self._audit.append(trail.originals_deleted(study.uid, len(there), now))
            for entry in self._outbox.values():
                if entry.study_instance_uid == study.uid:
                    entry.shipment = replace(entry.shipment, artifact=replace(entry.shipment.artifact, body=b""))
            return sorted(image.received.path for image in images)

    def originals_gone(self, study_instance_uid: str, now: datetime) -> None:
        """See `Worklist.originals_gone`."""
        with self._lock:
            if study_instance_uid in self._studies and all(
                image.original_deleted_at for image in self._images_of(study_instance_uid)
            ):
                self._studies[study_instance_uid].originals_deleted_at = now
