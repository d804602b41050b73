"""What a modality worklist shows: orders with their studies, and studies without one."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from triage_agent.domain.orders import Narrowing, OrderRecord, OrderStatus
from triage_agent.worklist.order_row import OrderRow
from triage_agent.worklist.order_rules import as_shown, best_first, day_of, is_within, without_order
from triage_agent.worklist.rows import item_of
from triage_agent.worklist.tables import StudyRow

_MOST_ROWS = 20_000  # looked at for one question, of each kind: about a second
_AT_A_TIME = 500


def scheduled(
    session: Session, narrowing: Narrowing, since: datetime, fits: Callable[[OrderRecord], bool], most: int
) -> Sequence[OrderRecord]:
    """See `Orders.scheduled`."""
    everything = (
        _waited_for(session, narrowing, since),
        _with_orders(session, narrowing, since),
        _without_orders(session, narrowing, since),
    )
    found = (record for each in everything for record in each if is_within(record, narrowing) and fits(record))
    return best_first(found, most)


def _waited_for(session: Session, narrowing: Narrowing, since: datetime) -> Iterator[OrderRecord]:
    """Orders of which no study has come."""
    statement = (
        select(OrderRow)
        .where(
            OrderRow.study_here.is_(None),
            OrderRow.status == OrderStatus.SCHEDULED,
            or_(OrderRow.changed_at >= since, OrderRow.scheduled_date >= day_of(since)),
            *_looked_up(OrderRow, narrowing),
        )
        .order_by(OrderRow.changed_at.desc())
        .limit(_MOST_ROWS)
        .execution_options(yield_per=_AT_A_TIME)
    )
    for order in session.scalars(statement):
        yield order.record()


def _with_orders(session: Session, narrowing: Narrowing, since: datetime) -> Iterator[OrderRecord]:
    """Studies by their orders, of which there may be several."""
    statement = (
        select(OrderRow, StudyRow)
        .join(StudyRow, StudyRow.study_instance_uid == OrderRow.study_here)
        .where(StudyRow.received_at >= since, *_looked_up_of_both(narrowing))
        .order_by(StudyRow.priority.desc(), StudyRow.received_at.desc())
        .limit(_MOST_ROWS)
        .execution_options(yield_per=_AT_A_TIME)
    )
    for order, study in session.execute(statement):
        yield as_shown(order.record(), item_of(study))


def _without_orders(session: Session, narrowing: Narrowing, since: datetime) -> Iterator[OrderRecord]:
    statement = (
        select(StudyRow)
        .where(
            StudyRow.received_at >= since,
            ~exists().where(OrderRow.study_here == StudyRow.study_instance_uid),
            *_looked_up(StudyRow, narrowing),
        )
        .order_by(StudyRow.priority.desc(), StudyRow.received_at.desc())
        .limit(_MOST_ROWS)
        .execution_options(yield_per=_AT_A_TIME)
    )
    for study in session.scalars(statement):
        yield without_order(item_of(study))


def _looked_up_of_both(narrowing: Narrowing) -> Iterator[ColumnElement[bool]]:
    """The same for a study with its order: what its images do not say is shown from the order."""
    if wanted := narrowing.accession_number:
        yield or_(StudyRow.accession_number == wanted, OrderRow.accession_number == wanted)
    if narrowing.study_instance_uids:
        yield StudyRow.study_instance_uid.in_(narrowing.study_instance_uids)
    if wanted := narrowing.patient_id:
        yield or_(StudyRow.patient_id == wanted, OrderRow.patient_id == wanted)


def _looked_up(table: type[OrderRow | StudyRow], narrowing: Narrowing) -> Iterator[ColumnElement[bool]]:
    """What a row must be like, as far as indexes know; `is_within` looks at what is shown."""
    if narrowing.accession_number:
        yield table.accession_number == narrowing.accession_number
    if narrowing.study_instance_uids:
        yield table.study_instance_uid.in_(narrowing.study_instance_uids)
    if narrowing.patient_id:
        yield table.patient_id == narrowing.patient_id
