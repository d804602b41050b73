"""Intake and assembly, in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.ports import Registered
from triage_agent.domain.states import opens_revision
from triage_agent.domain.study import AssemblyView, CompletenessRule, ReceivedInstance
from triage_agent.domain.vocabulary import Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.limits import assessment_on_arrival, conflict_with
from triage_agent.worklist.memory.ordering import Ordering
from triage_agent.worklist.memory.retrievals import Fetching
from triage_agent.worklist.memory.rows import Image, StudyEntry
from triage_agent.worklist.merge_rules import now_named
from triage_agent.worklist.order_rules import with_orders


class Intake(Fetching, Ordering):
    """The part of the port that intake and assembly use."""

    def register(self, received: ReceivedInstance, rule: CompletenessRule) -> Registered:
        """See `Worklist.register`."""
        header = received.header
        with self._lock:
            known = self._images.get(header.sop_instance_uid)
            if known is not None:
                found = Registered.DUPLICATE if known.received.sha256 == received.sha256 else Registered.CONFLICT
                self._audit.append(trail.instance_received(received, found, known.study_instance_uid))
                if found is Registered.DUPLICATE and known.original_deleted_at is not None:
                    self._studies[known.study_instance_uid].originals_deleted_at = None
                if found is Registered.CONFLICT and header.study_instance_uid != known.study_instance_uid:
                    self._note_conflict(received, known.study_instance_uid, rule)
                elif found is Registered.CONFLICT:
                    self._raise_as_asked(self._studies[known.study_instance_uid], received)
                return found
            study = self._studies.get(header.study_instance_uid)
            status = study.item.status if study else Status.RECEIVING
            survivor = self._survivor_for(study, header)
            received = now_named(received, survivor)
            orders = self._meet_orders(study, received.header)
            received = with_orders(received, orders)
            self._images[header.sop_instance_uid] = Image(received, assessment_on_arrival(header, status))
            self._audit.append(trail.instance_received(received, Registered.NEW, header.study_instance_uid))
            if study is None:
                self._studies[header.study_instance_uid] = StudyEntry.of(received, rule)
            else:
                self._add_to_study(study, received, rule)
            self._note_survivor(received, survivor)
            self._link_orders(orders, received)
            return Registered.NEW

    def _note_conflict(self, received: ReceivedInstance, kept_in: str, rule: CompletenessRule) -> None:
        uid = received.header.study_instance_uid
        study = self._studies.get(uid)
        conflict = conflict_with(study.conflict if study else None, received.header.sop_instance_uid, kept_in)
        self._audit.append(trail.instance_conflicts(received, kept_in))
        if study is None:
            survivor = self._survivor_for(study, received.header)
            received = now_named(received, survivor)
            orders = self._meet_orders(study, received.header)
            received = with_orders(received, orders)
            self._studies[uid] = StudyEntry.of(received, rule, conflict)
            self._note_survivor(received, survivor)
            self._link_orders(orders, received)
            return
        study.conflict = conflict
        self._advance(study, Event.CONFLICTED, received.source, received.received_at)
        self._raise_as_asked(study, received)

    def _raise_as_asked(self, study: StudyEntry, received: ReceivedInstance) -> None:
        before = study.item.priority
        study.ask_for(received.header.requested_priority)
        if study.item.priority is not before:
            self._audit.append(trail.priority_requested(received, before, study.item.priority))

    def _add_to_study(self, study: StudyEntry, received: ReceivedInstance, rule: CompletenessRule) -> None:
        event = received.header.event
        afresh = opens_revision(study.item.status, event)
        before = study.item.priority
        was_receiving = study.item.status is Status.RECEIVING
        self._advance(study, event, received.source, received.received_at)
        study.add(received)
        if event is Event.IMAGE_RECEIVED:
            study.await_more(received.received_at, rule, afresh=afresh)
            if not was_receiving:
                study.item = replace(study.item, status_reason=None)
        if study.item.priority is not before:
            self._audit.append(trail.priority_requested(received, before, study.item.priority))

    def digest_of(self, sop_instance_uid: str) -> str | None:
        """See `Worklist.digest_of`."""
        with self._lock:
            known = self._images.get(sop_instance_uid)
            return known.received.sha256 if known else None

    def spool_paths(self) -> Iterator[str]:
        """See `Worklist.spool_paths`."""
        with self._lock:
            there = [image.received.path for image in self._images.values() if image.original_deleted_at is None]
            return iter(sorted(there))

    def record_audit(self, event: AuditEvent) -> None:
        """See `Worklist.record_audit`."""
        with self._lock:
            self._audit.append(event)

    def due_for_completion(self, now: datetime, limit: int = 100) -> Sequence[AssemblyView]:
        """See `Worklist.due_for_completion`."""
        with self._lock:
            due = [
                study
                for study in self._studies.values()
                if study.item.status is Status.RECEIVING
                and (study.next_check_at <= now or study.last_received_at > now)
            ]
            due.sort(key=lambda study: (study.next_check_at, study.uid))
            return [self._view(study) for study in due[:limit]]

    def check_later(
        self,
        study_instance_uid: str,
        revision: int,
        at: datetime,
        *,
        asked: bool,
        reason: str | None = None,
        fetching: bool = False,
    ) -> bool:
        """See `Worklist.check_later`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None or (study.item.status, study.item.revision) != (Status.RECEIVING, revision):
                return False
            if fetching and ((retrieval := self._retrievals.get(study_instance_uid)) is None or not retrieval.is_open):
                return False
            study.next_check_at = at
            study.asked += asked
            if reason is not None:
                study.item = replace(study.item, status_reason=reason)
            return True

    def complete(self, view: AssemblyView, reason: str, now: datetime) -> bool:
        """See `Worklist.complete`."""
        with self._lock:
            study = self._studies.get(view.study_instance_uid)
            if study is None or study.item.status is not Status.RECEIVING:
                return False
            now_seen = study.view()
            if (now_seen.revision, now_seen.instances, now_seen.last_received_at) != (
                view.revision,
                view.instances,
                view.last_received_at,
            ):
                return False
            self._advance(study, Event.COMPLETED, trail.AGENT, now)
            study.item = replace(study.item, status_reason=reason)
            return True
