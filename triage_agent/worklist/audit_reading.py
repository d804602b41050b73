"""Reads the audit trail for who reviews it; pages go by the number of the record, which costs the same on each."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent, AuditQuestion, AuditRecord
from triage_agent.worklist.tables import AuditRow
from triage_agent.worklist.transactions import Database


class SqlAuditTrail:
    """The `AuditTrail` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(self, question: AuditQuestion) -> Sequence[AuditRecord]:
        """See `AuditTrail.records`."""
        return self._database.read(lambda session: _records(session, question))


def _records(session: Session, question: AuditQuestion) -> list[AuditRecord]:
    statement = select(AuditRow).order_by(AuditRow.id.desc()).limit(question.limit)
    if question.before is not None:
        statement = statement.where(AuditRow.id < question.before)
    if question.study_instance_uid:
        statement = statement.where(AuditRow.study_instance_uid == question.study_instance_uid)
    if question.actor:
        statement = statement.where(AuditRow.actor == question.actor)
    if question.action is not None:
        statement = statement.where(AuditRow.action == question.action)
    if question.since is not None:
        statement = statement.where(AuditRow.at >= question.since)
    if question.until is not None:
        statement = statement.where(AuditRow.at < question.until)
    return [AuditRecord(number=row.id, event=_event(row)) for row in session.scalars(statement)]


def _event(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        at=row.at,
        action=row.action,
        actor=row.actor,
        study_instance_uid=row.study_instance_uid,
        detail=row.detail,
    )
