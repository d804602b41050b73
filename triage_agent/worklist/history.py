"""Decisions as they were made; nothing here changes anything."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.decision import ModelIdentity, UncertaintyBand
from triage_agent.domain.history import DecidedRevision, DecidedStudy
from triage_agent.domain.states import CONCLUDED
from triage_agent.domain.vocabulary import AuditAction, Priority
from triage_agent.worklist.circumstances import circumstances_of
from triage_agent.worklist.rows import instances_of
from triage_agent.worklist.tables import ArtifactRow, AuditRow, DecisionRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import Database

_ASKED = frozenset({"requested", "order"})  # the "rules" of what a header or an order raised


class SqlHistories:
    """The port `Histories` on a database."""

    _database: Database

    def studies_decided_since(self, since: datetime) -> Sequence[str]:
        """See `Histories.studies_decided_since`; the index `ix_decisions_decided` has the range."""
        last = func.max(DecisionRow.decided_at)
        statement = (
            select(DecisionRow.study_instance_uid)
            .where(DecisionRow.decided_at >= since)
            .group_by(DecisionRow.study_instance_uid)
            .order_by(last, DecisionRow.study_instance_uid)
        )
        return self._database.read(lambda session: list(session.scalars(statement)))

    def decided_study(self, study_instance_uid: str) -> DecidedStudy | None:
        """See `Histories.decided_study`."""
        return self._database.read(lambda session: _decided_study(session, study_instance_uid))


def _decided_study(session: Session, uid: str) -> DecidedStudy | None:
    study = session.get(StudyRow, uid)
    rows = session.scalars(
        select(DecisionRow).where(DecisionRow.study_instance_uid == uid).order_by(DecisionRow.revision)
    ).all()
    if study is None or not rows:
        return None
    raised = _records(uid, AuditAction.PRIORITY_RAISED)
    decided = [record.detail for record in session.scalars(_records(uid, AuditAction.DECISION_MADE))]
    routes = {detail["revision"]: tuple(detail["routes"]) for detail in decided if "routes" in detail}
    queued = _queued(session, uid)
    return DecidedStudy(
        study_instance_uid=uid,
        accession_number=study.accession_number,
        asked=asked(study.received_at, study.priority_at_arrival, session.scalars(raised)),
        known_now=circumstances_of(session, study),
        lost=study.conflict,
        in_work=study.status not in CONCLUDED,
        instances=instances_of(session, uid),
        revisions=tuple(
            _revision(
                row,
                routes.get(row.revision),
                frozenset(destination for destination, at in queued if at < row.decided_at),
            )
            for row in rows
        ),
    )


def _records(uid: str, action: AuditAction) -> Select[AuditRow]:
    return select(AuditRow).where(AuditRow.study_instance_uid == uid, AuditRow.action == action).order_by(AuditRow.id)


def _queued(session: Session, uid: str) -> list[tuple[str, datetime]]:
    """Who was to be told something of a study, and when it was queued."""
    statement = (
        select(OutboxRow.destination, ArtifactRow.created_at)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.study_instance_uid == uid)
    )
    return [(destination, at) for destination, at in session.execute(statement)]


def asked(
    received_at: datetime, at_arrival: Priority, raised: Iterable[AuditRow | AuditEvent]
) -> tuple[tuple[datetime, Priority], ...]:
    """What headers and orders asked for, and since when; what a model raised is not among it."""
    found = [(one.at, Priority(str(one.detail["to"]))) for one in raised if one.detail.get("rule") in _ASKED]
    return ((received_at, at_arrival), *found)


def _revision(row: DecisionRow, routes: tuple[str, ...] | None, told: frozenset[str]) -> DecidedRevision:
    return DecidedRevision(
        revision=row.revision,
        event=row.event,
        finding=row.finding,
        probability=row.probability,
        priority=row.priority,
        acr_category=row.acr_category,
        rule=row.rule,
        status_reason=row.status_reason,
        model=_model(row.model),
        decided_at=row.decided_at,
        known=Circumstances.of_json(row.known) if row.known else None,
        routes=routes,
        told=told,
    )


def _model(value: Mapping[str, Any]) -> ModelIdentity:
    """As `asdict` wrote it; an older version's has fewer fields."""
    bands = {region: UncertaintyBand(**band) for region, band in (value.get("bands") or {}).items()}
    return ModelIdentity(**{**value, "anatomies": tuple(value["anatomies"]), "bands": bands})
