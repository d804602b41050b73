"""Between rows and the domain's values, and the one writer of a study's status."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import BindParameter, ColumnElement, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.states import next_status, opens_revision
from triage_agent.domain.study import Assessment, StoredInstance, WorklistItem
from triage_agent.domain.vocabulary import Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.limits import shown_reason
from triage_agent.worklist.notice_queue import queue_notices
from triage_agent.worklist.statements import OF, is_asked, put, update_where
from triage_agent.worklist.tables import AuditRow, InstanceRow, StudyRow
from triage_agent.worklist.transactions import changed

_Word = TypeVar("_Word", bound=StrEnum)
_MOVE = update_where(StudyRow, study_instance_uid=OF, status="was", revision="was_revision")
_STUDY = (
    select(StudyRow)
    .where(is_asked(StudyRow.study_instance_uid))
    .with_for_update(key_share=True)  # inserts of its images and outbox rows may go on elsewhere
    .execution_options(populate_existing=True)
)
_INSTANCES = (
    select(InstanceRow)
    .where(is_asked(InstanceRow.study_instance_uid))
    .order_by(InstanceRow.received_at, InstanceRow.sop_instance_uid)
)


def advance(
    session: Session,
    study: StudyRow,
    event: Event,
    *,
    actor: str,
    at: datetime,
    columns: Mapping[str, object],
    unless_moved: Sequence[ColumnElement[bool]] = (),
) -> bool:
    """Apply `event` to a study: the only place where a status is written (promise 4).

    Compare-and-set on the status and revision that `study` was read with, and on `unless_moved`. With an image and with
    a new revision attempts start over: whoever is interrupted by an image has not failed. Only SCORING has a lease.
    `columns`, plain values by name, and the audit event are written along.

    Returns:
        False, and nothing written, when the study is not as it was read any more.

    Raises:
        IllegalTransitionError: the table has no such move.
    """
    status = next_status(study.status, event)
    afresh = opens_revision(study.status, event)
    revision = study.revision + afresh
    if afresh or event is Event.IMAGE_RECEIVED:
        columns = {"attempts": 0, **columns}
    if event is Event.IMAGE_RECEIVED:  # there is more to read
        columns = {"read_at": None, "read_by": None, **columns}
    if status is not Status.SCORING:
        columns = {"lease_owner": None, "lease_until": None, **columns}
    as_read = {OF: study.study_instance_uid, "was": study.status, "was_revision": study.revision}
    statement = _MOVE.where(*unless_moved) if unless_moved else _MOVE
    if changed(session, statement, {**as_read, "status": status, "revision": revision, **columns}) != 1:
        return False
    if status is not study.status:
        event_of_change = trail.status_changed(
            study.study_instance_uid,
            before=study.status,
            after=status,
            event=event,
            revision=revision,
            actor=actor,
            at=at,
        )
        append_audit(session, event_of_change)
    return True


def append_audit(session: Session, *events: AuditEvent) -> None:
    """Add audit events in the caller's transaction, and what people are told because of them."""
    for event in events:
        values = {
            "at": event.at,
            "action": event.action,
            "actor": event.actor,
            "study_instance_uid": event.study_instance_uid,
            "detail": dict(event.detail),
        }
        put(session, AuditRow, values)
        queue_notices(session, event)


def locked_study(session: Session, study_instance_uid: str) -> StudyRow | None:
    """The study as it is now, held until the transaction ends; always the first row a writer locks."""
    return session.scalars(_STUDY, {OF: study_instance_uid}).one_or_none()


def word_is(column: InstrumentedAttribute[_Word], word: _Word) -> ColumnElement[bool]:
    """`column = '...'` with the word, which is ours, spelled out: so the planner sees that a partial index serves."""
    return column == literal_column(f"'{word.value}'", column.type)


def status_is(status: Status) -> ColumnElement[bool]:
    """The study's."""
    return word_is(StudyRow.status, status)


def lease_is_free(
    column: InstrumentedAttribute[datetime | None], now: datetime | BindParameter[datetime]
) -> ColumnElement[bool]:
    """Nobody holds it, or whoever held it let the lease run out."""
    return column.is_(None) | (column <= now)


def instances_of(session: Session, study_instance_uid: str) -> tuple[StoredInstance, ...]:
    """A study's instances, oldest first."""
    return tuple(stored(row) for row in session.scalars(_INSTANCES, {OF: study_instance_uid}))


def stored(row: InstanceRow) -> StoredInstance:
    """An instance's row as the domain's value."""
    assessment = None
    if row.outcome is not None:
        assessment = Assessment(
            sop_instance_uid=row.sop_instance_uid,
            outcome=row.outcome,
            probability=row.probability,
            reason=row.reason or "",
            anatomy=row.anatomy,
            seen_anatomy=row.seen_anatomy,
            anatomy_from_image=bool(row.anatomy_from_image),
            bundle_digest=row.bundle_digest or "",
            shadow_probability=row.shadow_probability,
            shadow_digest=row.shadow_digest or "",
        )
    return StoredInstance(
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        path=row.path,
        received_at=row.received_at,
        assessment=assessment,
        original_deleted_at=row.original_deleted_at,
    )


def item_of(row: StudyRow) -> WorklistItem:
    """A study's row as the list shows it."""
    return WorklistItem(
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        patient_id=row.patient_id,
        patient_name=row.patient_name,
        anatomy=row.anatomy,
        modality=row.modality,
        status=row.status,
        status_reason=shown_reason(row.status_reason, row.conflict),
        revision=row.revision,
        priority=row.priority,
        priority_at_arrival=row.priority_at_arrival,
        finding=row.finding,
        probability=row.probability,
        acr_category=row.acr_category,
        rule=row.rule,
        bundle=row.bundle,
        instances=row.instances,
        received_at=row.received_at,
        flagged_at=row.flagged_at,
        decided_at=row.decided_at,
        delivered_at=row.delivered_at,
    )
