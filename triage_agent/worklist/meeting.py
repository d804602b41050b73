"""In which order images, orders and news of patients lock what they touch: all turns first, then rows.

Turns are taken by names of studies, orders and patients (`turns`). Whoever took one when it held a row already would
wait in a circle with somebody who does it the other way round. So what a transaction will need turns for is looked up
before, without locks; what changes in that instant is found when it is looked at again, under them.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from triage_agent.domain.orders import Order
from triage_agent.domain.study import InstanceHeader
from triage_agent.worklist.merge_rules import LONGEST_CHAIN, merge_of_json
from triage_agent.worklist.merges import MergeRow
from triage_agent.worklist.order_row import OrderRow
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.turns import take_turns, takes_turns


def before_an_image(session: Session, header: InstanceHeader) -> None:
    """Take the turns for an image that may meet orders, or whose patient may have been merged; few images do.

    One of a study that is here, of the same patient, with nothing new to be found by, waits for nobody's turn.
    """
    if not takes_turns(session):
        return
    columns = select(StudyRow.patient_id, StudyRow.accession_number, StudyRow.merged)
    study = session.execute(columns.where(StudyRow.study_instance_uid == header.study_instance_uid)).one_or_none()
    patients = {header.patient_id}
    if study is not None:
        known = merge_of_json(study.merged)
        is_known = header.patient_id in {"", study.patient_id, *(known.prior_ids if known else ())}
        if is_known and (study.accession_number or not header.accession_number):
            return
        patients.add(study.patient_id or "")
    take_turns(session, (header.study_instance_uid, header.accession_number, *_become(session, patients)))


def before_orders(session: Session, orders: Sequence[Order]) -> None:
    """Take the turns for orders of a message: by all that they say and all that is known of those that they mean."""
    if not takes_turns(session):
        return
    names = {name for order in orders for name in order.names}
    patients = {order.patient_id or "" for order in orders}
    numbers = (OrderRow.filler_order_number, OrderRow.placer_order_number, OrderRow.accession_number)
    columns = (*numbers, OrderRow.study_instance_uid)
    by: list[ColumnElement[bool]] = [column.in_(sorted(names)) for column in columns]
    asked = select(*columns, OrderRow.study_here, OrderRow.patient_id).where(or_(*by))
    for *known, patient in session.execute(asked):
        names.update(name for name in known if name)
        patients.add(patient or "")
    take_turns(session, (*names, *_become(session, patients)))


def before_patients(session: Session, patient_ids: Iterable[str]) -> None:
    """Take the turns for a merge or an update, and for whom these patients have become by merges before."""
    if takes_turns(session):
        take_turns(session, _become(session, set(patient_ids)))


def _become(session: Session, patient_ids: set[str]) -> set[str]:
    """These Patient IDs, and those that they have become, merge by merge."""
    found, new = set(patient_ids), patient_ids - {""}
    for _ in range(LONGEST_CHAIN):
        if not new:
            break
        asked = select(MergeRow.survivor).where(MergeRow.prior_patient_id.in_(sorted(new)))
        new = {str(survivor["patient_id"]) for survivor in session.scalars(asked)} - found
        found |= new
    return found
