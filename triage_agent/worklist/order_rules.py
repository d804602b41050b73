"""Which order a message means, which study an order is of, and what follows: for both worklists. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime

from triage_agent.domain.orders import Message, Narrowing, Order, OrderRecord, OrderStatus, PatientUpdate
from triage_agent.domain.study import ReceivedInstance, WorklistItem
from triage_agent.domain.vocabulary import Priority

TEXTS = tuple(field.name for field in fields(Order) if field.name not in {"priority", "status"})
"""The fields of an order that are text."""

_OF_PATIENT = tuple(field.name for field in fields(PatientUpdate))


def known_order(candidates: Iterable[OrderRecord], new: Order) -> OrderRecord | None:
    """The order that a message means among those that share a number with it.

    The filler's number decides, then the placer's, then the accession number, under which several procedures may be
    done: there neither of the other numbers may contradict.
    """
    known = sorted(candidates, key=lambda each: each.order_id)
    for name in ("filler_order_number", "placer_order_number", "accession_number"):
        for each in known:
            if getattr(new, name) and getattr(each, name) == getattr(new, name) and not _contradict(each, new, name):
                return each
    return None


def _contradict(known: OrderRecord, new: Order, by: str) -> bool:
    others = {
        "filler_order_number": (),
        "placer_order_number": ("filler_order_number",),
        "accession_number": ("filler_order_number", "placer_order_number", "requested_procedure_id"),
    }[by]
    return any(getattr(known, one) and getattr(new, one) and getattr(known, one) != getattr(new, one) for one in others)


def first_record(new: Order, order_id: int, message: Message) -> OrderRecord:
    """An order that was not known."""
    at = message.received_at
    return with_changes(OrderRecord(order_id=order_id, received_at=at, changed_at=at), new, message)


def with_changes(known: OrderRecord, new: Order, message: Message) -> OrderRecord:
    """The order after a message: what it does not say stays."""
    said = {name: value for name in TEXTS if (value := getattr(new, name)) is not None}
    if _is_older(message, known.written_at, known):
        said = {name: value for name, value in said.items() if not getattr(known, name)}
        changes = replace(known, **said)
    else:
        written_at = message.written_at or (known.written_at if message.sender == known.sender else None)
        changes = replace(known, **said, status=new.status or known.status, written_at=written_at)
    if new.priority is None or _is_older(message, known.priority_written_at, known):
        return changes
    return replace(changes, priority=new.priority, priority_written_at=message.written_at)


def _is_older(message: Message, than: datetime | None, known: OrderRecord) -> bool:
    """Whether one sender made a message before another that came already; two senders' clocks are not compared."""
    if message.written_at is None or than is None or message.sender != known.sender:
        return False
    return message.written_at < than


def with_patient(known: OrderRecord, update: PatientUpdate) -> OrderRecord:
    """The order after news about its patient; where the patient is matters only while it is not concluded."""
    said = {name: value for name in _OF_PATIENT if (value := getattr(update, name)) is not None}
    if known.status is not OrderStatus.SCHEDULED:
        said = {name: value for name, value in said.items() if name not in {"patient_class", "patient_location"}}
    return replace(known, **said)


def is_of(order: OrderRecord, study_instance_uid: str, accession_number: str, patient_id: str) -> bool:
    """Whether an order is a study's: by the UID that it states, else by accession number, unless patients differ."""
    if order.study_instance_uid:
        if order.study_instance_uid == study_instance_uid:
            return True
        if order.study_here not in {"", study_instance_uid}:
            return False
    same = bool(accession_number) and order.accession_number == accession_number
    return same and not (order.patient_id and patient_id and order.patient_id != patient_id)


def asked_at_once(record: OrderRecord, order: Order) -> OrderRecord:
    """The order as it asks of a study that is here: also by a message that came late, since a priority only rises."""
    return replace(record, priority=record.priority.raised_to(order.priority or record.priority))


def asked_by(orders: Iterable[OrderRecord]) -> Priority:
    """The highest priority that a study's orders ask for; a cancelled order asks for none."""
    highest = Priority.ROUTINE
    for order in orders:
        if order.status is not OrderStatus.CANCELLED:
            highest = highest.raised_to(order.priority)
    return highest


def with_orders(received: ReceivedInstance, orders: Sequence[OrderRecord]) -> ReceivedInstance:
    """The instance as if its header asked for what its orders ask for."""
    wanted = received.header.requested_priority.raised_to(asked_by(orders))
    return replace(received, header=replace(received.header, requested_priority=wanted))


def reasons_of(orders: Sequence[OrderRecord]) -> tuple[str, ...]:
    """What a study says of its orders, in sentences without patient data."""
    said = []
    for order in orders:
        if order.status is OrderStatus.CANCELLED:
            said.append(f"{_order_of(order)} was cancelled.")
        elif order.priority is not Priority.ROUTINE:
            said.append(f"{_order_of(order)} asks for {order.priority.value}.")
    return tuple(said)


def _order_of(order: OrderRecord) -> str:
    return f"Its order (message {order.control_id} of {order.sender})"


def as_shown(order: OrderRecord, item: WorklistItem | None) -> OrderRecord:
    """An order on a modality worklist, with what its study has; a name never stands beside another one's number."""
    if item is None:
        return order
    return replace(
        order,
        priority=order.priority.raised_to(item.priority),
        study_instance_uid=item.study_instance_uid,
        accession_number=item.accession_number or order.accession_number,
        patient_id=item.patient_id or order.patient_id,
        patient_name=(item.patient_name if item.patient_id else order.patient_name or item.patient_name) or "",
        modality=order.modality or item.modality or "",
    )


def without_order(item: WorklistItem) -> OrderRecord:
    """A study that came without an order, as its headers have it."""
    record = OrderRecord(
        order_id=0, study_here=item.study_instance_uid, received_at=item.received_at, changed_at=item.received_at
    )
    return as_shown(record, item)


def is_listed(order: OrderRecord, since: datetime) -> bool:
    """Whether an order without a study is still waited for."""
    recent = order.changed_at >= since or order.scheduled_date >= day_of(since)
    return order.status is OrderStatus.SCHEDULED and recent


def day_of(at: datetime) -> str:
    """YYYYMMDD of the site's own day."""
    return f"{at.astimezone():%Y%m%d}"


def is_within(record: OrderRecord, narrowing: Narrowing) -> bool:
    """Whether a row of the worklist is among those that are looked up."""
    day = record.scheduled_date
    uids = narrowing.study_instance_uids
    return (
        narrowing.accession_number in {"", record.accession_number}
        and narrowing.patient_id in {"", record.patient_id}
        and (not uids or record.study_instance_uid in uids)
        and not (day and narrowing.scheduled_from and day < narrowing.scheduled_from)
        and not (day and narrowing.scheduled_to and day > narrowing.scheduled_to)
    )


def best_first(records: Iterable[OrderRecord], most: int) -> list[OrderRecord]:
    """By priority, then age."""
    ordered = sorted(records, key=lambda each: (-each.priority.rank, each.received_at, each.order_id, each.study_here))
    return ordered[:most]
