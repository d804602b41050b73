"""What people, metrics and health checks ask; nothing here changes anything."""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.decision import DeliveryRecord
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import StudyDetail
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import DeliveryState, Priority, Status
from triage_agent.worklist.chains import OPEN
from triage_agent.worklist.limits import conflicts_told
from triage_agent.worklist.order_rules import reasons_of
from triage_agent.worklist.ordering import orders_of
from triage_agent.worklist.outbox import place_of
from triage_agent.worklist.retrievals import record_of
from triage_agent.worklist.rows import instances_of, item_of, status_is
from triage_agent.worklist.shadow import last_shadow
from triage_agent.worklist.supersession import superseded, superseded_error
from triage_agent.worklist.tables import ArtifactRow, AuditRow, OutboxRow, StudyRow

_MAY_WRITE = """
SELECT current_setting('transaction_read_only'), bool_and(has_table_privilege(name, 'INSERT'))
FROM unnest(ARRAY['studies', 'instances', 'audit_events']) AS name
"""


def items(session: Session, status: Status | None, priority: Priority | None, limit: int) -> Sequence[WorklistItem]:
    """See `Worklist.items`; the indexes `ix_studies_list` and `ix_studies_status` have this order."""
    statement = (
        select(StudyRow)
        .order_by(
            StudyRow.priority.desc(),
            StudyRow.probability.desc().nulls_last(),
            StudyRow.received_at,
            StudyRow.study_instance_uid,
        )
        .limit(limit)
    )
    if status is not None:
        statement = statement.where(status_is(status))
    if priority is not None:
        statement = statement.where(StudyRow.priority == priority)
    return [item_of(study) for study in session.scalars(statement)]


def study(session: Session, study_instance_uid: str) -> StudyDetail | None:
    """See `Worklist.study`."""
    row = session.get(StudyRow, study_instance_uid)
    if row is None:
        return None
    audit = _audit(session, study_instance_uid)
    return StudyDetail(
        item=item_of(row),
        reasons=(*row.reasons, *conflicts_told(audit), *reasons_of(orders_of(session, row))),
        instances=instances_of(session, study_instance_uid),
        deliveries=_deliveries(session, row),
        audit=audit,
        shadow=last_shadow(session, study_instance_uid),
        retrieval=record_of(session, study_instance_uid),
    )


def studies_called(session: Session, name: str) -> Sequence[str]:
    """See `Worklist.studies_called`."""
    uid = StudyRow.study_instance_uid
    by_uid = session.scalars(select(uid).where(uid == name)).all()
    return by_uid or sorted(session.scalars(select(uid).where(StudyRow.accession_number == name)))


def trouble_at(session: Session, destination: str) -> str | None:
    """See `Worklist.trouble_at`."""
    statement = (
        select(OutboxRow.last_error)
        .where(
            OutboxRow.destination == destination,
            OutboxRow.state.in_(OPEN),
            OutboxRow.last_error.is_not(None),
        )
        .order_by(OutboxRow.next_attempt_at.desc(), OutboxRow.id.desc())
        .limit(1)
    )
    return session.scalar(statement)


def counts(session: Session) -> dict[str, dict[str, int]]:
    """See `Worklist.counts`; every word is there, also with none."""
    numbers = {
        "status": _zeroes(Status),
        "priority": _zeroes(Priority),
        "outbox": _zeroes(DeliveryState),
    }
    of_studies = select(StudyRow.status, StudyRow.priority, func.count()).group_by(StudyRow.status, StudyRow.priority)
    for status, priority, number in session.execute(of_studies):
        numbers["status"][status] += number
        numbers["priority"][priority] += number
    for state, number in session.execute(select(OutboxRow.state, func.count()).group_by(OutboxRow.state)):
        numbers["outbox"][state] = number
    return numbers


def prove_writable(session: Session) -> None:
    """Write something that changes nothing, down to the disk: a lock, a full or read-only disk shows only then.

    On Postgres nothing is written, since the role of a running agent may not change the one table that suits: there the
    server is asked whether it would be.

    Raises:
        WorklistUnavailableError: it cannot be written to.
    """
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("UPDATE alembic_version SET version_num = version_num"))
        return
    read_only, granted = session.execute(text(_MAY_WRITE)).one()
    if read_only == "on":
        raise WorklistUnavailableError("the database server only reads", remedy="name the primary in [database] url")
    if not granted:
        raise WorklistUnavailableError(
            "the role in [database] url may not write to the worklist", remedy="see deploy/postgres/grants.sql"
        )


def _zeroes(words: type[StrEnum]) -> dict[str, int]:
    return {word.value: 0 for word in words}


def _deliveries(session: Session, study: StudyRow) -> tuple[DeliveryRecord, ...]:
    statement = (
        select(OutboxRow, ArtifactRow.kind, ArtifactRow.uid, ArtifactRow.summary)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.study_instance_uid == study.study_instance_uid)
        .order_by(OutboxRow.id)
    )
    rows = session.execute(statement).all()
    past = superseded(place_of(row, kind, study.priority) for row, kind, _, _ in rows)
    return tuple(
        DeliveryRecord(
            delivery_id=row.id,
            study_instance_uid=row.study_instance_uid,
            revision=row.revision,
            kind=kind,
            destination=row.destination,
            uid=uid,
            summary=summary,
            state=row.state,
            attempts=row.attempts,
            next_attempt_at=row.next_attempt_at,
            sent_at=row.sent_at,
            committed_at=row.committed_at,
            last_error=superseded_error(row.last_error) if row.id in past else row.last_error,
        )
        for row, kind, uid, summary in rows
    )


def _audit(session: Session, study_instance_uid: str) -> tuple[AuditEvent, ...]:
    statement = select(AuditRow).where(AuditRow.study_instance_uid == study_instance_uid).order_by(AuditRow.id)
    return tuple(
        AuditEvent(
            at=row.at,
            action=row.action,
            actor=row.actor,
            study_instance_uid=row.study_instance_uid,
            detail=row.detail,
        )
        for row in session.scalars(statement)
    )
