"""Which results of a study have to reach a destination in the order in which they were queued.

Those of one kind, since the later takes the place of the earlier: a decision's message of its flag's, a revision's
object of the one that it names as its predecessor. And a rejection note and all objects: one that came behind its
withdrawal would stay, one that is made after it would be withdrawn with the others. Other kinds say nothing of each
other, and what a destination does not take for the moment, or ever, holds up none of them.
"""

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlalchemy.orm import aliased

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Family
from triage_agent.worklist.tables import OutboxRow

OPEN = (DeliveryState.PENDING, DeliveryState.SENDING)
_OBJECTS = tuple(kind for kind in ArtifactKind if kind.family is Family.DICOM_OBJECT)


def keep_order(one: ArtifactKind, other: ArtifactKind) -> bool:
    """Whether the later of two results waits for the earlier."""
    if ArtifactKind.REJECTION in {one, other}:
        return one in _OBJECTS and other in _OBJECTS
    return one is other


def has_to_wait() -> ColumnElement[bool]:
    """Whether an earlier row of the same study, destination and chain as an outbox row is open; see `keep_order`."""
    earlier, note = aliased(OutboxRow), ArtifactKind.REJECTION
    return exists().where(
        earlier.study_instance_uid == OutboxRow.study_instance_uid,
        earlier.destination == OutboxRow.destination,
        earlier.id < OutboxRow.id,
        earlier.state.in_(OPEN),
        or_(
            or_(earlier.kind.is_(None), OutboxRow.kind.is_(None)),  # of an older process (`unfilled`): it may be any
            earlier.kind == OutboxRow.kind,
            and_(earlier.kind == note, OutboxRow.kind.in_(_OBJECTS)),
            and_(OutboxRow.kind == note, earlier.kind.in_(_OBJECTS)),
        ),
    )
