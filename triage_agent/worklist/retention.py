"""Originals that nobody needs any more: their files may go, the record of them stays."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Family, Status
from triage_agent.worklist import trail
from triage_agent.worklist.chains import OPEN
from triage_agent.worklist.rows import append_audit, locked_study, status_is
from triage_agent.worklist.supersession import ARRIVED
from triage_agent.worklist.tables import ArtifactRow, InstanceRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import changed

_DONE = (Status.DELIVERED, Status.OUT_OF_SCOPE)


def originals_past(session: Session, before: datetime, limit: int) -> Sequence[str]:
    """See `Worklist.originals_past`."""
    oldest_first = (StudyRow.last_received_at, StudyRow.study_instance_uid)
    # A query a status: each is read off the index in this order, however many there are.
    found: list[tuple[datetime, str]] = []
    for status in _DONE:
        rows = session.execute(_past(before).where(status_is(status)).order_by(*oldest_first).limit(limit))
        found += [(last_received_at, uid) for last_received_at, uid in rows]
    return [uid for _, uid in sorted(found)[:limit]]


def forget_originals(session: Session, study_instance_uid: str, before: datetime, now: datetime) -> Sequence[str]:
    """See `Worklist.forget_originals`."""
    locked_study(session, study_instance_uid)
    this = _past(before).where(StudyRow.status.in_(_DONE), StudyRow.study_instance_uid == study_instance_uid)
    if session.execute(this).one_or_none() is None:
        return []
    marking = (
        update(InstanceRow)
        .where(InstanceRow.study_instance_uid == study_instance_uid, InstanceRow.original_deleted_at.is_(None))
        .values(original_deleted_at=now)
        .execution_options(synchronize_session=False)
    )
    if marked := changed(session, marking):
        append_audit(session, trail.originals_deleted(study_instance_uid, marked, now))
    emptied = update(ArtifactRow).where(ArtifactRow.study_instance_uid == study_instance_uid).values(body=b"")
    session.execute(emptied.execution_options(synchronize_session=False))
    paths = select(InstanceRow.path).where(InstanceRow.study_instance_uid == study_instance_uid)
    return sorted(session.scalars(paths))


def originals_gone(session: Session, study_instance_uid: str, now: datetime) -> None:
    """See `Worklist.originals_gone`."""
    locked_study(session, study_instance_uid)
    there = exists().where(
        InstanceRow.study_instance_uid == study_instance_uid, InstanceRow.original_deleted_at.is_(None)
    )
    session.execute(
        update(StudyRow)
        .where(StudyRow.study_instance_uid == study_instance_uid, ~there)
        .values(originals_deleted_at=now)
        .execution_options(synchronize_session=False)
    )


def look_again(session: Session, study_instance_uid: str) -> None:
    """One of its files may be there again, since the same instance came once more."""
    session.execute(
        update(StudyRow)
        .where(StudyRow.study_instance_uid == study_instance_uid)
        .values(originals_deleted_at=None)
        .execution_options(synchronize_session=False)
    )


def _past(before: datetime) -> Select[datetime, str]:
    """Studies of whatever status whose originals are past their time."""
    return select(StudyRow.last_received_at, StudyRow.study_instance_uid).where(
        StudyRow.originals_deleted_at.is_(None), StudyRow.last_received_at < before, ~_has_something_to_send()
    )


def _has_something_to_send() -> ColumnElement[bool]:
    """A row of its outbox waits, may be sent again for want of commitment, or is dead and could be put back.

    What could not is `supersession.superseded`, here in SQL.
    """
    newer, of_newer = aliased(OutboxRow), aliased(ArtifactRow)
    is_note = ArtifactRow.kind == ArtifactKind.REJECTION
    is_object = ArtifactRow.kind.in_([kind for kind in ArtifactKind if kind.family is Family.DICOM_OBJECT])
    superseded = exists().where(
        newer.study_instance_uid == OutboxRow.study_instance_uid,
        newer.destination == OutboxRow.destination,
        newer.state.in_(ARRIVED),
        of_newer.id == newer.artifact_id,
        ~is_note,  # another one is about other objects
        or_(of_newer.kind == ArtifactRow.kind, and_(is_object, of_newer.kind == ArtifactKind.REJECTION)),
        or_(
            newer.revision > OutboxRow.revision,
            and_(
                newer.revision == OutboxRow.revision,
                or_(
                    and_(newer.of_decision, ~OutboxRow.of_decision),
                    and_(newer.of_decision == OutboxRow.of_decision, newer.id > OutboxRow.id),
                ),
            ),
        ),
    )
    return exists().where(
        OutboxRow.study_instance_uid == StudyRow.study_instance_uid,
        ArtifactRow.id == OutboxRow.artifact_id,
        or_(
            OutboxRow.state.in_(OPEN),
            OutboxRow.commit_at.is_not(None),
            and_(OutboxRow.state == DeliveryState.DEAD, ~superseded, ~_is_outdone()),
        ),
    )


def _is_outdone() -> ColumnElement[bool]:
    """`limits.is_outdone`, here in SQL."""
    return and_(OutboxRow.raises_to.is_not(None), OutboxRow.raises_to < StudyRow.priority)
