"""Orders in the database: kept as a RIS tells of them, and brought together with the studies that they are of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Select, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.orders import MergedPatient, Message, Narrowing, Order, OrderRecord, PatientUpdate
from triage_agent.domain.states import CONCLUDED
from triage_agent.domain.study import InstanceHeader, ReceivedInstance
from triage_agent.domain.vocabulary import AuditAction, Event, Priority, Status
from triage_agent.worklist import order_trail
from triage_agent.worklist.limits import with_keys
from triage_agent.worklist.listing import scheduled
from triage_agent.worklist.meeting import before_orders, before_patients
from triage_agent.worklist.merge_rules import REISSUED, merge_as_json, merge_of_json, merged_again, order_now
from triage_agent.worklist.merges import merged_of, note_merge, survivor
from triage_agent.worklist.order_row import OrderRow, columns_of
from triage_agent.worklist.order_rules import (
    asked_at_once,
    asked_by,
    first_record,
    is_of,
    known_order,
    with_changes,
    with_patient,
)
from triage_agent.worklist.rows import advance, append_audit, locked_study
from triage_agent.worklist.statements import OF, is_asked
from triage_agent.worklist.tables import InstanceRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import Database
from triage_agent.worklist.turns import take_turns


class SqlOrders:
    """The port `Orders` on a database."""

    _database: Database

    def keep_orders(self, orders: Sequence[Order], message: Message) -> Sequence[OrderRecord]:
        """See `Orders.keep_orders`."""
        return self._database.write(lambda session: _keep_all(session, orders, message))

    def update_patient(self, update: PatientUpdate, message: Message) -> int:
        """See `Orders.update_patient`."""
        return self._database.write(lambda session: _update(session, update, message))

    def merge_patient(
        self, prior_patient_ids: Sequence[str], into: PatientUpdate, message: Message, *, reissue: bool = False
    ) -> Sequence[str]:
        """See `Orders.merge_patient`."""
        return self._database.write(lambda session: _merge(session, prior_patient_ids, into, message, reissue=reissue))

    def merged_of(self, study_instance_uid: str) -> MergedPatient | None:
        """See `Orders.merged_of`."""
        return self._database.read(lambda session: merged_of(session, study_instance_uid))

    def orders(self, *, limit: int = 100) -> Sequence[OrderRecord]:
        """See `Orders.orders`."""
        statement = select(OrderRow).order_by(OrderRow.changed_at.desc(), OrderRow.id.desc()).limit(limit)
        return self._database.read(lambda session: [row.record() for row in session.scalars(statement)])

    def scheduled(
        self, narrowing: Narrowing, since: datetime, fits: Callable[[OrderRecord], bool], most: int
    ) -> Sequence[OrderRecord]:
        """See `Orders.scheduled`."""
        return self._database.read(lambda session: scheduled(session, narrowing, since, fits, most))


def meet_orders(session: Session, study: StudyRow | None, header: InstanceHeader) -> Sequence[OrderRecord]:
    """The orders of a study that has just come, or whose accession number has; none for one that was here.

    They are held: a message may mean one of them by a number that the study does not have, and would see no study yet.
    """
    if study is not None and (study.accession_number or not header.accession_number):
        return ()
    uid, accession_number = header.study_instance_uid, header.accession_number
    take_turns(session, (uid, accession_number))
    return _orders_about(session, uid, accession_number, header.patient_id, hold=True)


def link_orders(session: Session, orders: Sequence[OrderRecord], received: ReceivedInstance) -> None:
    """Note that the study of these orders has come."""
    for order in orders:
        if not order.study_here:
            here = {"study_here": received.header.study_instance_uid}
            session.execute(update(OrderRow).where(OrderRow.id == order.order_id).values(here))
        append_audit(session, order_trail.order_matched(order, received))


def orders_of(session: Session, study: StudyRow) -> Sequence[OrderRecord]:
    """A study's orders, oldest first."""
    return _orders_about(session, study.study_instance_uid, study.accession_number or "", study.patient_id or "")


def _orders_about(
    session: Session, uid: str, accession_number: str, patient_id: str, *, hold: bool = False
) -> Sequence[OrderRecord]:
    asked = {OF: uid} if not accession_number else {OF: uid, "number": accession_number}
    statement = _about(numbered=bool(accession_number), hold=hold)
    known = [row.record() for row in session.scalars(statement, asked)]
    return [order for order in known if is_of(order, uid, accession_number, patient_id)]


@cache
def _about(*, numbered: bool, hold: bool) -> Select[OrderRow]:
    by = [is_asked(OrderRow.study_instance_uid), is_asked(OrderRow.study_here)]
    if numbered:
        by.append(is_asked(OrderRow.accession_number, "number"))
    statement = select(OrderRow).where(or_(*by)).order_by(OrderRow.id)
    return statement.with_for_update().execution_options(populate_existing=True) if hold else statement


def _keep_all(session: Session, orders: Sequence[Order], message: Message) -> Sequence[OrderRecord]:
    before_orders(session, orders)
    return [_keep(session, order, message) for order in orders]


def _keep(session: Session, order: Order, message: Message) -> OrderRecord:
    known = known_order(_sharing_a_number(session, order), order)
    record = first_record(order, 0, message) if known is None else with_changes(known, order, message)
    record = order_now(record, survivor(session, record.patient_id))
    return _join(session, known, record, message, order)


def _join(
    session: Session, known: OrderRecord | None, record: OrderRecord, message: Message, said: Order | None = None
) -> OrderRecord:
    """Write what is new of an order, its study with it, and raise that, also to what the message `said`."""
    study = _study_of(session, record)
    record = replace(record, study_here=study.study_instance_uid if study else record.study_here)
    if record != known:
        record = _write(session, record, message, new=known is None)
    if study is not None:
        _raise(session, study, asked_by([asked_at_once(record, said) if said else record]), message)
    return record


def _write(session: Session, record: OrderRecord, message: Message, *, new: bool) -> OrderRecord:
    record = replace(record, control_id=message.control_id, sender=message.sender, changed_at=message.received_at)
    if new:
        number = session.scalar(insert(OrderRow).values(columns_of(record)).returning(OrderRow.id))
        record = replace(record, order_id=number or 0)
    else:
        session.execute(update(OrderRow).where(OrderRow.id == record.order_id).values(columns_of(record)))
    append_audit(session, order_trail.order_received(record, message, new=new))
    return record


def _sharing_a_number(session: Session, order: Order) -> Iterable[OrderRecord]:
    columns = (OrderRow.filler_order_number, OrderRow.placer_order_number, OrderRow.accession_number)
    by: list[ColumnElement[bool]] = [column == number for column in columns if (number := getattr(order, column.key))]
    if not by:
        by = [OrderRow.study_instance_uid == order.study_instance_uid]
    statement = select(OrderRow).where(or_(*by)).order_by(OrderRow.id).with_for_update()
    return [row.record() for row in session.scalars(statement.execution_options(populate_existing=True))]


def _study_of(session: Session, order: OrderRecord) -> StudyRow | None:
    """The order's study, held until the transaction ends; the one that it had before, while there is no better."""
    stated = [uid for uid in (order.study_instance_uid, order.study_here) if uid]
    by: list[ColumnElement[bool]] = [StudyRow.study_instance_uid.in_(stated)]
    if order.accession_number:
        by.append(StudyRow.accession_number == order.accession_number)
    columns = (StudyRow.study_instance_uid, StudyRow.accession_number, StudyRow.patient_id)
    found = [
        uid
        for uid, accession, patient in session.execute(select(*columns).where(or_(*by)).order_by(StudyRow.received_at))
        if is_of(order, uid, accession or "", patient or "")
    ]
    for best in (order.study_instance_uid, order.study_here, *found):
        if best in found:
            return locked_study(session, best)
    return None


def _raise(session: Session, study: StudyRow, wanted: Priority, message: Message) -> None:
    """Raise a study that is held; never lower it (promise 3)."""
    if wanted.rank <= study.priority.rank:
        return
    before = study.priority  # read now: the session brings the row that it holds up to date
    same = StudyRow.study_instance_uid == study.study_instance_uid
    session.execute(update(StudyRow).where(same).values(priority=wanted))
    append_audit(session, order_trail.priority_ordered(study.study_instance_uid, before, wanted, message))


def _write_patient(
    session: Session, ids: Sequence[str], patient: PatientUpdate, message: Message, action: AuditAction
) -> Sequence[str]:
    for known in _orders_for(session, ids):
        if (record := with_patient(known, patient)) != known:
            _write(session, record, message, new=False)
    shown = {"patient_id": patient.patient_id}
    if patient.patient_name is not None:
        shown["patient_name"] = patient.patient_name
    uids = session.scalars(select(StudyRow.study_instance_uid).where(StudyRow.patient_id.in_(ids))).all()
    return [uid for uid in sorted(uids) if _rename(session, uid, shown, message, action)]


def _orders_for(session: Session, ids: Sequence[str]) -> Sequence[OrderRecord]:
    """Orders for patients, held until the transaction ends."""
    theirs = select(OrderRow).where(OrderRow.patient_id.in_(ids)).order_by(OrderRow.id).with_for_update()
    return [row.record() for row in session.scalars(theirs.execution_options(populate_existing=True))]


def _update(session: Session, patient: PatientUpdate, message: Message) -> int:
    before_patients(session, (patient.patient_id,))
    return len(_write_patient(session, [patient.patient_id], patient, message, AuditAction.PATIENT_UPDATED))


def _merge(
    session: Session, ids: Sequence[str], into: PatientUpdate, message: Message, *, reissue: bool
) -> Sequence[str]:
    before_patients(session, (*ids, into.patient_id))
    note_merge(session, ids, into, message)
    uids = _write_patient(session, ids, into, message, AuditAction.PATIENT_MERGED)
    for uid in uids:
        study = locked_study(session, uid)
        if study is not None:
            merged = merge_as_json(merged_again(merge_of_json(study.merged), ids, into))
            session.execute(update(StudyRow).where(StudyRow.study_instance_uid == uid).values(merged=merged))
            if study.status is Status.SCORING or (reissue and _can_be_told_again(session, study)):
                columns = {"status_reason": REISSUED, "next_check_at": message.received_at, "asked": 0}
                advance(session, study, Event.REISSUED, actor=message.sender, at=message.received_at, columns=columns)
    for order in _orders_for(session, [into.patient_id]):
        if not order.study_here:  # it may have stood beside its study as another patient's
            _join(session, order, order, message)
    return uids


def _can_be_told_again(session: Session, study: StudyRow) -> bool:
    """Whether it was told, and all that it was told of is there still; that it needs a human may be by the merge."""
    uid = study.study_instance_uid
    if study.status not in CONCLUDED:
        return False
    if study.status is Status.OUT_OF_SCOPE and not session.scalar(
        select(exists().where(OutboxRow.study_instance_uid == uid))
    ):
        return False
    counted = select(func.count(), func.count(InstanceRow.original_deleted_at))
    all_of_it, gone = session.execute(counted.where(InstanceRow.study_instance_uid == uid)).one()
    return bool(all_of_it) and not gone


def _rename(session: Session, uid: str, shown: dict[str, str], message: Message, action: AuditAction) -> bool:
    study = locked_study(session, uid)
    if study is None or all((getattr(study, name) or "") == value for name, value in shown.items()):
        return False
    values = with_keys({name: value or None for name, value in shown.items()})
    session.execute(update(StudyRow).where(StudyRow.study_instance_uid == uid).values(values))
    append_audit(session, order_trail.patient_changed(action, uid, message))
    return True
