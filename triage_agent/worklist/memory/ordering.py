"""Orders, in memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.orders import MergedPatient, Message, Narrowing, Order, OrderRecord, PatientUpdate
from triage_agent.domain.states import CONCLUDED
from triage_agent.domain.study import InstanceHeader, ReceivedInstance
from triage_agent.domain.vocabulary import AuditAction, Event, Status
from triage_agent.worklist import order_trail
from triage_agent.worklist.circumstances import circumstances
from triage_agent.worklist.memory.base import Rows
from triage_agent.worklist.memory.rows import StudyEntry
from triage_agent.worklist.merge_rules import REISSUED, Merge, Survivor, merged_again, order_now, survivor_of
from triage_agent.worklist.order_rules import (
    as_shown,
    asked_at_once,
    asked_by,
    best_first,
    first_record,
    is_listed,
    is_of,
    is_within,
    known_order,
    with_changes,
    with_patient,
    without_order,
)


class Ordering(Rows):
    """The port `Orders`."""

    def keep_orders(self, orders: Sequence[Order], message: Message) -> Sequence[OrderRecord]:
        """See `Orders.keep_orders`."""
        with self._lock:
            return [self._keep_order(order, message) for order in orders]

    def update_patient(self, update: PatientUpdate, message: Message) -> int:
        """See `Orders.update_patient`."""
        return len(self._write_patient([update.patient_id], update, message, AuditAction.PATIENT_UPDATED))

    def merge_patient(
        self, prior_patient_ids: Sequence[str], into: PatientUpdate, message: Message, *, reissue: bool = False
    ) -> Sequence[str]:
        """See `Orders.merge_patient`."""
        with self._lock:
            for number in {*prior_patient_ids, into.patient_id} & {*prior_patient_ids, *self._merges}:
                self._merges[number] = Merge(into=into, message=message)
            uids = self._write_patient(prior_patient_ids, into, message, AuditAction.PATIENT_MERGED)
            for study in (self._studies[uid] for uid in uids):
                study.merged = merged_again(study.merged, prior_patient_ids, into)
                if study.item.status is Status.SCORING or (reissue and self._can_be_told_again(study)):
                    self._advance(study, Event.REISSUED, message.sender, message.received_at)
                    study.next_check_at, study.asked = message.received_at, 0
                    study.item = replace(study.item, status_reason=REISSUED)
            for order in [each for each in self._orders.values() if each.patient_id == into.patient_id]:
                if not order.study_here:
                    self._join(order, order, message)
            return uids

    def merged_of(self, study_instance_uid: str) -> MergedPatient | None:
        """See `Orders.merged_of`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            return study.merged if study else None

    def _survivor_for(self, study: StudyEntry | None, header: InstanceHeader) -> Survivor | None:
        known = study.merged if study else None
        told = header.patient_id in known.prior_ids if known else False
        if told or (study is not None and header.patient_id == (study.item.patient_id or "")):
            return None
        return survivor_of(header.patient_id, self._merges.get)

    def _note_survivor(self, received: ReceivedInstance, survivor: Survivor | None) -> None:
        study = self._studies[received.header.study_instance_uid]
        if survivor is not None and study.item.patient_id == survivor.merged.into.patient_id:
            study.merged = merged_again(study.merged, survivor.merged.prior_ids, survivor.merged.into)
            self._audit.append(order_trail.patient_found_merged(received, survivor.message))

    def _can_be_told_again(self, study: StudyEntry) -> bool:
        images, status = self._images_of(study.uid), study.item.status
        told = any(entry.study_instance_uid == study.uid for entry in self._outbox.values())
        there = bool(images) and all(image.original_deleted_at is None for image in images)
        return status in CONCLUDED and there and (told or status is not Status.OUT_OF_SCOPE)

    def orders(self, *, limit: int = 100) -> Sequence[OrderRecord]:
        """See `Orders.orders`."""
        with self._lock:
            last_first = sorted(self._orders.values(), key=lambda each: (each.changed_at, each.order_id), reverse=True)
            return last_first[:limit]

    def scheduled(
        self, narrowing: Narrowing, since: datetime, fits: Callable[[OrderRecord], bool], most: int
    ) -> Sequence[OrderRecord]:
        """See `Orders.scheduled`."""
        with self._lock:
            shown = [record for record in self._listed(since) if is_within(record, narrowing) and fits(record)]
            return best_first(shown, most)

    def _listed(self, since: datetime) -> Iterator[OrderRecord]:
        for order in self._orders.values():
            study = self._studies.get(order.study_here)
            if study is None and is_listed(order, since):
                yield order
            elif study is not None and study.item.received_at >= since:
                yield as_shown(order, study.item)
        with_order = {order.study_here for order in self._orders.values()}
        for uid, study in self._studies.items():
            if uid not in with_order and study.item.received_at >= since:
                yield without_order(study.item)

    def _meet_orders(self, study: StudyEntry | None, header: InstanceHeader) -> Sequence[OrderRecord]:
        if study is not None and (study.item.accession_number or not header.accession_number):
            return ()
        return self._orders_about(header.study_instance_uid, header.accession_number, header.patient_id)

    def _link_orders(self, orders: Sequence[OrderRecord], received: ReceivedInstance) -> None:
        for order in orders:
            if not order.study_here:
                self._orders[order.order_id] = replace(order, study_here=received.header.study_instance_uid)
            self._audit.append(order_trail.order_matched(order, received))

    def _orders_of(self, study: StudyEntry) -> Sequence[OrderRecord]:
        return self._orders_about(study.uid, study.item.accession_number or "", study.item.patient_id or "")

    def _known_of(self, study: StudyEntry) -> Circumstances:
        return circumstances(
            self._orders_of(study),
            at_arrival=study.item.priority_at_arrival,
            birth_date=study.patient_birth_date,
            stated_age=study.patient_age,
            received_at=study.item.received_at,
        )

    def _orders_about(self, uid: str, accession_number: str, patient_id: str) -> Sequence[OrderRecord]:
        return [order for order in self._orders.values() if is_of(order, uid, accession_number, patient_id)]

    def _keep_order(self, order: Order, message: Message) -> OrderRecord:
        known = known_order(self._sharing_a_number(order), order)
        record = first_record(order, 0, message) if known is None else with_changes(known, order, message)
        record = order_now(record, survivor_of(record.patient_id, self._merges.get))
        return self._join(known, record, message, order)

    def _join(
        self, known: OrderRecord | None, record: OrderRecord, message: Message, said: Order | None = None
    ) -> OrderRecord:
        study = self._study_of(record)
        record = replace(record, study_here=study.uid if study else record.study_here)
        if record != known:
            record = self._write_order(record, message, new=known is None)
        if study is not None:
            self._raise_by_order(study, asked_at_once(record, said) if said else record, message)
        return record

    def _write_order(self, record: OrderRecord, message: Message, *, new: bool) -> OrderRecord:
        number = next(self._order_ids) if new else record.order_id
        record = replace(
            record,
            order_id=number,
            control_id=message.control_id,
            sender=message.sender,
            changed_at=message.received_at,
        )
        self._orders[number] = record
        self._audit.append(order_trail.order_received(record, message, new=new))
        return record

    def _sharing_a_number(self, order: Order) -> Sequence[OrderRecord]:
        names = ("filler_order_number", "placer_order_number", "accession_number")
        by = [name for name in names if getattr(order, name)] or ["study_instance_uid"]
        return [each for each in self._orders.values() if any(getattr(each, n) == getattr(order, n) for n in by)]

    def _study_of(self, order: OrderRecord) -> StudyEntry | None:
        studies = sorted(self._studies.values(), key=lambda each: each.item.received_at)
        found = {
            each.uid: each
            for each in studies
            if is_of(order, each.uid, each.item.accession_number or "", each.item.patient_id or "")
        }
        best = [found[uid] for uid in (order.study_instance_uid, order.study_here, *found) if uid in found]
        return best[0] if best else None

    def _raise_by_order(self, study: StudyEntry, order: OrderRecord, message: Message) -> None:
        before = study.item.priority
        wanted = asked_by([order])
        if wanted.rank > before.rank:
            study.item = replace(study.item, priority=wanted)
            self._audit.append(order_trail.priority_ordered(study.uid, before, wanted, message))

    def _write_patient(
        self, ids: Sequence[str], patient: PatientUpdate, message: Message, action: AuditAction
    ) -> Sequence[str]:
        with self._lock:
            for known in [each for each in self._orders.values() if each.patient_id in ids]:
                if (record := with_patient(known, patient)) != known:
                    self._write_order(record, message, new=False)
            theirs = sorted(uid for uid, each in self._studies.items() if each.item.patient_id in ids)
            return [uid for uid in theirs if self._rename(self._studies[uid], patient, message, action)]

    def _rename(self, study: StudyEntry, patient: PatientUpdate, message: Message, action: AuditAction) -> bool:
        name = study.item.patient_name if patient.patient_name is None else patient.patient_name or None
        renamed = replace(study.item, patient_id=patient.patient_id, patient_name=name)
        if renamed == study.item:
            return False
        study.item = renamed
        self._audit.append(order_trail.patient_changed(action, study.uid, message))
        return True
