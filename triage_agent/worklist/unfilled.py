"""What processes of an older version leave open in the outbox, while a site's processes are upgraded one after another.

They know nothing of the columns that say what a row is of and where it stands in the queue. Whoever sends fills them.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, Select, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.rows import word_is
from triage_agent.worklist.tables import ArtifactRow, OutboxRow, StudyRow

_AT_ONCE = 500

_Value = TypeVar("_Value")


@cache
def _open_ones(which: tuple[ColumnElement[bool], ...]) -> Select[int]:
    """Read off the queue's index, in which the rows without a priority stand together."""
    return (
        select(OutboxRow.id)
        .where(word_is(OutboxRow.state, DeliveryState.PENDING), OutboxRow.priority.is_(None), *which)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )


def fill(session: Session, which: tuple[ColumnElement[bool], ...], asked: Mapping[str, object]) -> None:
    """Fill what waits and is not filled, some rows at a time.

    `which` narrows them to a sender's destinations, and is one of a few; `asked` are its parameters.
    """
    if numbers := session.scalars(_open_ones(which), asked).all():
        values = {
            "kind": select(ArtifactRow.kind).where(ArtifactRow.id == OutboxRow.artifact_id).scalar_subquery(),
            "priority": _of_study(StudyRow.priority),
            "study_received_at": _of_study(StudyRow.received_at),
        }
        filled = update(OutboxRow).where(OutboxRow.id.in_(numbers)).values(values)
        session.execute(filled.execution_options(synchronize_session=False))


def _of_study(column: InstrumentedAttribute[_Value]) -> ScalarSelect[_Value]:
    of_row = StudyRow.study_instance_uid == OutboxRow.study_instance_uid
    return select(column).where(of_row).scalar_subquery()
