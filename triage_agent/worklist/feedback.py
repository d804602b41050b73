"""What readers say of results, in the worklist's database; each word and its audit event are one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.feedback import Feedback, LabelledStudy, Said, Verdict, standing
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.feedback_rows import FeedbackRow
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import InstanceRow, StudyRow
from triage_agent.worklist.transactions import Database

_COLUMNS = tuple(FeedbackRow.__table__.columns)  # quicker to read than whole rows: thousands are
_AT_A_TIME = 500  # studies of one question: SQLite takes no more than some thousands of values


class SqlFeedback:
    """The `FeedbackBook` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, study_instance_uid: str, reader: str, verdict: Verdict, note: str, now: datetime) -> bool:
        """See `FeedbackBook.give`."""
        return self._database.write(lambda session: _give(session, study_instance_uid, reader, verdict, note, now))

    def of_study(self, study_instance_uid: str, limit: int) -> Sequence[Feedback]:
        """See `FeedbackBook.of_study`."""
        theirs = (
            select(*_COLUMNS)
            .where(FeedbackRow.study_instance_uid == study_instance_uid)
            .order_by(FeedbackRow.id.desc())
            .limit(limit)
        )
        return self._database.read(lambda session: [_word(row) for row in session.execute(theirs)])

    def given(self, since: datetime | None, until: datetime | None, limit: int) -> Sequence[Feedback]:
        """See `FeedbackBook.given`."""
        return self._database.read(lambda session: _given(session, since, until, limit))

    def labelled(self, since: datetime | None, until: datetime | None, limit: int) -> Sequence[LabelledStudy]:
        """See `FeedbackBook.labelled`."""
        return self._database.read(lambda session: _labelled(session, standing(_given(session, since, until, limit))))


def _give(session: Session, uid: str, reader: str, verdict: Verdict, note: str, now: datetime) -> bool:
    study = locked_study(session, uid)
    if study is None:
        return False
    values = {
        "study_instance_uid": uid,
        "revision": study.revision,
        "reader": reader,
        "verdict": verdict,
        "note": note,
        "at": now,
        "finding": study.finding,
        "probability": study.probability,
        "region": study.anatomy,
        "bundle": study.bundle,
        "rule": study.rule,
    }
    session.execute(insert(FeedbackRow).values(values))
    detail = {"verdict": verdict.value, "revision": study.revision, "note": bool(note)}  # its words may name somebody
    append_audit(
        session,
        AuditEvent(at=now, action=AuditAction.FEEDBACK_GIVEN, actor=reader, study_instance_uid=uid, detail=detail),
    )
    return True


def _given(session: Session, since: datetime | None, until: datetime | None, limit: int) -> list[Feedback]:
    statement = select(*_COLUMNS).order_by(FeedbackRow.at.desc(), FeedbackRow.id.desc()).limit(limit)
    if since is not None:
        statement = statement.where(FeedbackRow.at >= since)
    if until is not None:
        statement = statement.where(FeedbackRow.at < until)
    return [_word(row) for row in session.execute(statement)]


def _labelled(session: Session, words: Sequence[Feedback]) -> list[LabelledStudy]:
    uids = list({word.study_instance_uid for word in words})
    patients: dict[str, str | None] = {}
    paths: dict[str, list[str]] = {}
    for first in range(0, len(uids), _AT_A_TIME):
        some = uids[first : first + _AT_A_TIME]
        whose = select(StudyRow.study_instance_uid, StudyRow.patient_id).where(StudyRow.study_instance_uid.in_(some))
        patients.update((uid, patient) for uid, patient in session.execute(whose))
        files = (
            select(InstanceRow.study_instance_uid, InstanceRow.path)
            .where(InstanceRow.study_instance_uid.in_(some), InstanceRow.original_deleted_at.is_(None))
            .order_by(InstanceRow.received_at, InstanceRow.sop_instance_uid)
        )
        for uid, path in session.execute(files):
            paths.setdefault(uid, []).append(path)
    return [
        LabelledStudy(
            feedback=word,
            patient_id=patients.get(word.study_instance_uid),
            paths=tuple(paths.get(word.study_instance_uid, ())),
        )
        for word in words
    ]


def _word(row: Any) -> Feedback:
    said = Said(
        revision=row.revision,
        finding=row.finding,
        probability=row.probability,
        region=row.region,
        bundle=row.bundle,
        rule=row.rule,
    )
    return Feedback(
        number=row.id,
        study_instance_uid=row.study_instance_uid,
        reader=row.reader,
        verdict=row.verdict,
        note=row.note,
        at=row.at,
        said=said,
    )
