"""What hangs on each study of `million`: its images, its decision, a result that was delivered, records of it all."""

from sqlalchemy import func, insert, literal, select, text, update
from support.story import DX, MODEL

from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Finding, Outcome
from triage_agent.worklist.audit_tables import HeadRow
from triage_agent.worklist.tables import ArtifactRow, AuditRow, DecisionRow, InstanceRow, OutboxRow, StudyRow

IMAGES = 2  # a study
RECORDS = (AuditAction.INSTANCE_RECEIVED, AuditAction.STATUS_CHANGED, AuditAction.DECISION_MADE)
BODY = b"\0" * 500  # of a result: retention takes most of it in time
_SYNTAX = "1.2.840.10008.1.2.1"


def deepen(database):
    """Add it, for every study that is there; the chain of the audit log is as if all records were sealed."""
    for work in (*(_instances(number) for number in range(1, IMAGES + 1)), _decisions(), _artifacts(), _outbox()):
        database.write(lambda session, work=work: session.execute(work))
    for action in RECORDS:
        database.write(lambda session, action=action: session.execute(_records(action)))
    database.write(_sealed)
    database.write(_statistics)


def _filled(row, from_what, **values):
    """An insert of one row for each of `from_what`; a value is a column, or what the row's column is to hold."""
    columns = [
        value.label(name) if hasattr(value, "label") else literal(value, getattr(row, name).type).label(name)
        for name, value in values.items()
    ]
    return insert(row).from_select(list(values), select(*columns).select_from(from_what), include_defaults=False)


def _instances(number):
    study = StudyRow
    return _filled(
        InstanceRow,
        study,
        sop_instance_uid=study.study_instance_uid + f".{number}",
        study_instance_uid=study.study_instance_uid,
        revision=1,
        series_instance_uid=study.study_instance_uid + ".9",
        sop_class_uid=DX,
        transfer_syntax_uid=_SYNTAX,
        path=study.study_instance_uid + f"/{number}.dcm",
        sha256="a" * 64,
        size=10_000_000,
        source="PACS",
        received_at=study.received_at,
        attempts=1,
        outcome=Outcome.SCORED,
        probability=func.coalesce(study.probability, 0.2),
        reason="",
        anatomy=study.anatomy,
        bundle_digest=MODEL.digest,
        assessed_at=study.received_at,
    )


def _decisions():
    study = StudyRow
    return _filled(
        DecisionRow,
        study,
        study_instance_uid=study.study_instance_uid,
        revision=1,
        event=Event.DECIDED,
        finding=Finding.NORMAL,
        probability=func.coalesce(study.probability, 0.2),
        priority=study.priority,
        rule="none",
        reasons=["the mean of 2 images is 0.20"],
        status_reason="",
        anatomy=study.anatomy,
        model={"name": MODEL.name, "version": MODEL.version, "digest": MODEL.digest},
        decided_by="host:1:aaaa/worker",
        decided_at=study.received_at,
        routed=True,
    )


def _artifacts():
    study = StudyRow
    return _filled(
        ArtifactRow,
        study,
        study_instance_uid=study.study_instance_uid,
        revision=1,
        kind=ArtifactKind.SR,
        uid=study.study_instance_uid + ".7",
        body=BODY,
        summary="normal",
        created_at=study.received_at,
    )


def _outbox():
    study, artifact = StudyRow, ArtifactRow
    return _filled(
        OutboxRow,
        artifact.__table__.join(study.__table__, study.study_instance_uid == artifact.study_instance_uid),
        artifact_id=artifact.id,
        study_instance_uid=artifact.study_instance_uid,
        revision=1,
        destination="pacs",
        of_decision=True,
        state=DeliveryState.SENT,
        attempts=1,
        sent_at=artifact.created_at,
        commit_asks=0,
        commit_resends=0,
        kind=ArtifactKind.SR,
        priority=study.priority,
        study_received_at=study.received_at,
    )


def _records(action):
    study = StudyRow
    return _filled(
        AuditRow,
        study,
        at=study.received_at,
        action=action,
        actor="PACS",
        study_instance_uid=study.study_instance_uid,
        detail={"revision": 1},
    )


def _statistics(session):
    """As an agent's database has them: Postgres gathers some by itself, a SQLite file has none."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("ANALYZE"))
        return
    session.execute(text("DELETE FROM sqlite_stat1"))
    session.execute(text("ANALYZE sqlite_schema"))  # forget those that were read


def _sealed(session):
    last = session.scalar(select(func.max(AuditRow.id))) or 0
    end = {"position": last, "head": "0" * 64, "floor": last, "seen_id": last, "mark_id": last, "mark_xid": 0}
    session.execute(update(HeadRow).where(HeadRow.id == 1).values(**end))
