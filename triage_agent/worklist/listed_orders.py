"""What the orders of a page's studies say: how urgent they are, and where the patient is."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.orders import OrderRecord
from triage_agent.worklist.circumstances import circumstances
from triage_agent.worklist.order_row import OrderRow
from triage_agent.worklist.tables import StudyRow


def ordered(session: Session, rows: Sequence[StudyRow]) -> Mapping[str, Circumstances]:
    """Of each study, by its UID, in one query."""
    known: dict[str, list[OrderRecord]] = {row.study_instance_uid: [] for row in rows}
    theirs = select(OrderRow).where(OrderRow.study_here.in_(known)).order_by(OrderRow.id)
    for order in session.scalars(theirs):
        known[order.study_here or ""].append(order.record())
    return {
        row.study_instance_uid: circumstances(
            known[row.study_instance_uid],
            at_arrival=row.priority_at_arrival,
            birth_date="",
            stated_age=None,
            received_at=row.received_at,
        )
        for row in rows
    }
