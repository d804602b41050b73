"""What the parts of the in-memory worklist share: its rows, its lock, and the one writer of a study's status."""

import itertools
import threading
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.orders import OrderRecord
from triage_agent.domain.states import next_status, opens_revision
from triage_agent.domain.vocabulary import Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.memory.retrieval_entry import RetrievalEntry
from triage_agent.worklist.memory.rows import Image, Lease, OutboxEntry, StudyEntry
from triage_agent.worklist.merge_rules import Merge


class Rows:
    """Every row there is; `lock` is held by whoever looks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._studies: dict[str, StudyEntry] = {}
        self._images: dict[str, Image] = {}
        self._outbox: dict[int, OutboxEntry] = {}
        self._retrievals: dict[str, RetrievalEntry] = {}
        self._orders: dict[int, OrderRecord] = {}
        self._merges: dict[str, Merge] = {}  # by the Patient ID that was given up
        self._audit: list[AuditEvent] = []
        self._ids = itertools.count(1)
        self._order_ids = itertools.count(1)

    def _advance(self, study: StudyEntry, event: Event, actor: str, at: datetime) -> None:
        before = study.item.status
        after = next_status(before, event)
        afresh = opens_revision(before, event)
        study.item = replace(study.item, status=after, revision=study.item.revision + afresh)
        if afresh or event is Event.IMAGE_RECEIVED:
            study.attempts = 0
        if after is not Status.SCORING:
            study.lease = Lease()
        if after is not before:
            self._audit.append(
                trail.status_changed(
                    study.uid,
                    before=before,
                    after=after,
                    event=event,
                    revision=study.item.revision,
                    actor=actor,
                    at=at,
                )
            )

    def _images_of(self, study_instance_uid: str) -> list[Image]:
        images = [image for image in self._images.values() if image.study_instance_uid == study_instance_uid]
        return sorted(images, key=lambda image: image.age)
