"""Workitems in the database: what is asked for by C-FIND and N-GET, and what peers do to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.commitment import AnswerState
from triage_agent.domain.ports import Worklist
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Priority
from triage_agent.domain.workitem import (
    DETECTION,
    PRIORITIES,
    Attributes,
    Instance,
    ReadingTask,
    ReportType,
    StepReport,
    StepState,
    Verdict,
    Workitem,
    WorkitemQuery,
    first_item,
    judge_change,
    judge_update,
    meets_final_state,
    text_at,
)
from triage_agent.worklist import workitem_changes as changes
from triage_agent.worklist import workitem_reports as reports
from triage_agent.worklist.repository import SqlWorklist
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import ArtifactRow, InstanceRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import Database
from triage_agent.worklist.workitem_rows import WorkitemRow

_AT_ONCE = 200  # workitems a query
_REPORTS = [ArtifactKind.SR, ArtifactKind.SR_COMPREHENSIVE, ArtifactKind.SR_ENHANCED, ArtifactKind.SR_TEXT]
_PRIORITY, _PROGRESS, _WORK, _CODE_VALUE = "00741200", "00741002", "00404018", "00080100"
_CANCELED_AT, _REASON_CODES, _REASON, _REQUESTING = "00404052", "0074100E", "00741238", "00741236"
# DCM 110513: PS3.16 CID 9300, "Discontinued for unspecified reason".
_UNSPECIFIED: Mapping[str, object] = {
    "00080100": {"vr": "SH", "Value": ["110513"]},
    "00080102": {"vr": "SH", "Value": ["DCM"]},
    "00080104": {"vr": "LO", "Value": ["Discontinued for unspecified reason"]},
}


def matching(session: Session, query: WorkitemQuery, limit: int) -> Sequence[str]:
    """See `Workitems.matching`."""
    priority = func.coalesce(StudyRow.priority, WorkitemRow.told_priority)
    statement: Select[Any] = (
        select(WorkitemRow.uid)
        .outerjoin(StudyRow, StudyRow.study_instance_uid == WorkitemRow.study_instance_uid)
        .order_by(priority.desc(), WorkitemRow.created_at, WorkitemRow.uid)
        .limit(limit)
    )
    if query.uids is not None:
        statement = statement.where(WorkitemRow.uid.in_(query.uids))
    if query.states is not None:
        statement = statement.where(WorkitemRow.state.in_(query.states))
    if query.priorities is not None:
        statement = statement.where(priority.in_(query.priorities))
    if query.study_instance_uids is not None:
        statement = statement.where(WorkitemRow.study_instance_uid.in_(query.study_instance_uids))
    if query.patient_id is not None:
        statement = statement.where(StudyRow.patient_id == query.patient_id)
    return [str(uid) for uid in session.scalars(statement)]


def workitems(session: Session, uids: Sequence[str], *, objects: bool) -> Sequence[Workitem]:
    """See `Workitems.workitems`."""
    found: dict[str, Workitem] = {}
    for start in range(0, len(uids), _AT_ONCE):
        statement = (
            select(WorkitemRow, StudyRow)
            .outerjoin(StudyRow, StudyRow.study_instance_uid == WorkitemRow.study_instance_uid)
            .where(WorkitemRow.uid.in_(uids[start : start + _AT_ONCE]))
        )
        rows: list[tuple[WorkitemRow, StudyRow | None]] = [(item, study) for item, study in session.execute(statement)]
        for item, study in rows:
            task = None if study is None else _task(study)
            if task is not None and objects:
                uid = task.study_instance_uid
                task = replace(task, inputs=_inputs(session, uid), outputs=_outputs(session, uid))
            found[item.uid] = _workitem(item, task)
    return [found[uid] for uid in uids if uid in found]


def _workitem(item: WorkitemRow, task: ReadingTask | None) -> Workitem:
    return Workitem(
        uid=item.uid,
        state=item.state,
        created_at=item.created_at,
        modified_at=item.modified_at,
        performer=item.performer or "",
        posted_by=item.posted_by or "",
        study=task,
        attributes=item.attributes,
    )


def to_perform(session: Session, performer: str, limit: int) -> Sequence[Workitem]:
    """See `Workitems.to_perform`."""
    ours = and_(WorkitemRow.state == StepState.IN_PROGRESS, WorkitemRow.performer == performer)
    statement = (
        select(WorkitemRow)
        .where(WorkitemRow.code == DETECTION, or_(WorkitemRow.state == StepState.SCHEDULED, ours))
        .order_by(WorkitemRow.told_priority.desc(), WorkitemRow.created_at, WorkitemRow.uid)
        .limit(limit)
    )
    return [_workitem(item, None) for item in session.scalars(statement)]


def _task(study: StudyRow) -> ReadingTask:
    return ReadingTask(
        study_instance_uid=study.study_instance_uid,
        priority=study.priority,
        priority_at_arrival=study.priority_at_arrival,
        readiness=reports.readiness_of(study),
        patient_id=study.patient_id or "",
        patient_name=study.patient_name or "",
        accession_number=study.accession_number or "",
        modality=study.modality or "",
        anatomy=study.anatomy or "",
        finding=study.finding,
        probability=study.probability,
        rule=study.rule or "",
        bundle=study.bundle or "",
    )


def _inputs(session: Session, study_instance_uid: str) -> tuple[Instance, ...]:
    statement = (
        select(InstanceRow.series_instance_uid, InstanceRow.sop_class_uid, InstanceRow.sop_instance_uid)
        .where(InstanceRow.study_instance_uid == study_instance_uid)
        .order_by(InstanceRow.series_instance_uid, InstanceRow.received_at, InstanceRow.sop_instance_uid)
    )
    return tuple(
        Instance(series_instance_uid=series, sop_class_uid=kind, sop_instance_uid=uid)
        for series, kind, uid in session.execute(statement)
    )


def _outputs(session: Session, study_instance_uid: str) -> tuple[tuple[str, bytes], ...]:
    """Our reports that somebody has; the bytes go with the originals, and with them what could be said of a report."""
    statement = (
        select(OutboxRow.destination, ArtifactRow.body)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(
            OutboxRow.study_instance_uid == study_instance_uid,
            OutboxRow.state.in_([DeliveryState.SENT, DeliveryState.COMMITTED]),
            ArtifactRow.kind.in_(_REPORTS),
            ArtifactRow.withdrawn_at.is_(None),
        )
        .order_by(OutboxRow.id)
    )
    return tuple((destination, body) for destination, body in session.execute(statement) if body)


def create(session: Session, uid: str, attributes: Attributes, peer: str, now: datetime) -> Verdict:
    """See `Workitems.create`."""
    if session.get(WorkitemRow, uid) is not None:
        return Verdict.DUPLICATE
    item = WorkitemRow(
        uid=uid,
        generation=1,
        latest=True,
        revision=0,
        state=StepState.SCHEDULED,
        posted_by=peer,
        attributes=dict(attributes),
        created_at=now,
        modified_at=now,
        stale=False,
        told_priority=_posted_priority(attributes),
        code=text_at(first_item(attributes, _WORK), _CODE_VALUE) or None,
    )
    session.add(item)
    session.flush()
    _audit(session, item, "posted", peer, now)
    reports.put_down(session, item, None, [(ReportType.STATE, reports.state_report(item, None))], now)
    return Verdict.DONE


def _posted_priority(attributes: Attributes) -> Priority:
    word = text_at(attributes, _PRIORITY)
    return next((ours for ours, theirs in PRIORITIES.items() if theirs == word), Priority.ROUTINE)


def _held(session: Session, uid: str) -> WorkitemRow | None:
    """A workitem as it is now, which nobody else changes until the transaction ends."""
    statement = select(WorkitemRow).where(WorkitemRow.uid == uid).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def _hold_study(session: Session, uid: str) -> None:
    """A workitem's study, before the workitem: in that order a change of a study marks its workitem as stale."""
    study = session.scalar(select(WorkitemRow.study_instance_uid).where(WorkitemRow.uid == uid))
    if study is not None:
        locked_study(session, study)


def _study_of(session: Session, item: WorkitemRow) -> StudyRow | None:
    return session.get(StudyRow, item.study_instance_uid) if item.study_instance_uid else None


def change_state(
    session: Session, uid: str, wanted: StepState, transaction_uid: str, peer: str, now: datetime
) -> Verdict:
    """See `Workitems.change_state`."""
    if wanted is StepState.COMPLETED:
        _hold_study(session, uid)
    item = _held(session, uid)
    if item is None:
        return Verdict.UNKNOWN_WORKITEM
    verdict = judge_change(
        item.state,
        wanted,
        transaction=item.transaction_uid or "",
        given=transaction_uid,
        is_finished=wanted.is_final and meets_final_state(item.attributes, wanted),
    )
    if verdict.changes:
        if wanted is StepState.IN_PROGRESS:
            item.transaction_uid, item.performer = transaction_uid, peer
        _move(session, item, wanted, peer, now)
    return verdict


def _move(session: Session, item: WorkitemRow, wanted: StepState, peer: str, now: datetime) -> None:
    study = _study_of(session, item)
    item.state, item.modified_at = wanted, now
    if wanted.is_final and study is not None:
        item.revision = study.revision  # what comes after this is another workitem's
        if wanted is StepState.COMPLETED:  # it has been read where the workitem is
            study.read_by, study.read_at, study.claimed_by, study.claimed_at = peer, now, None, None
    session.flush()
    _audit(session, item, wanted.value, peer, now)
    reports.put_down(session, item, study, [(ReportType.STATE, reports.state_report(item, study))], now)


def update(
    session: Session, uid: str, transaction_uid: str, attributes: Attributes, peer: str, now: datetime
) -> Verdict:
    """See `Workitems.update`; progress is told (PS3.4 section CC.2.4.3)."""
    item = _held(session, uid)
    if item is None:
        return Verdict.UNKNOWN_WORKITEM
    verdict = judge_update(item.state, transaction=item.transaction_uid or "", given=transaction_uid)
    if not verdict.changes:
        return verdict
    before = item.attributes
    item.attributes, item.modified_at = {**before, **attributes}, now
    if item.posted_by is not None and _PRIORITY in attributes:
        item.told_priority = _posted_priority(attributes)
    session.flush()
    _audit(session, item, "updated", peer, now)
    if _PROGRESS in attributes and attributes[_PROGRESS] != before.get(_PROGRESS):
        told = (ReportType.PROGRESS, {_PROGRESS: attributes[_PROGRESS]})
        reports.put_down(session, item, _study_of(session, item), [told], now)
    return verdict


def request_cancel(session: Session, uid: str, wish: Attributes, peer: str, now: datetime) -> Verdict:
    """See `Workitems.request_cancel` (PS3.4 section CC.2.2.3)."""
    item = _held(session, uid)
    if item is None:
        return Verdict.UNKNOWN_WORKITEM
    if item.state is StepState.CANCELED:
        return Verdict.ALREADY_CANCELED
    if item.state is StepState.COMPLETED:
        return Verdict.ALREADY_DONE
    if item.state is StepState.IN_PROGRESS:
        asked = {**wish, _REQUESTING: reports.element("AE", peer)}
        heard = reports.put_down(session, item, _study_of(session, item), [(ReportType.CANCEL_REQUESTED, asked)], now)
        _audit(session, item, "cancel requested", peer, now)
        return Verdict.DONE if heard else Verdict.PERFORMER_NOT_REACHED
    item.attributes = {**item.attributes, _PROGRESS: {"vr": "SQ", "Value": [_given_up(item.attributes, wish, now)]}}
    _move(session, item, StepState.IN_PROGRESS, peer, now)
    _move(session, item, StepState.CANCELED, peer, now)
    return Verdict.DONE


def _given_up(attributes: Attributes, wish: Attributes, now: datetime) -> dict[str, object]:
    """The progress of what was canceled before anybody began it."""
    said = {tag: wish[tag] for tag in (_REASON, _REASON_CODES) if tag in wish}
    at = now.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
    return {
        **first_item(attributes, _PROGRESS),
        _CANCELED_AT: reports.element("DT", at),
        _REASON_CODES: {"vr": "SQ", "Value": [dict(_UNSPECIFIED)]},
        **said,
    }


def _audit(session: Session, item: WorkitemRow, what: str, peer: str, now: datetime) -> None:
    event = AuditEvent(
        at=now,
        action=AuditAction.WORKITEM_CHANGED,
        actor=peer,
        study_instance_uid=item.study_instance_uid,
        detail={"workitem": item.uid, "to": what},
    )
    append_audit(session, event)


class SqlWorkitems:
    """The `Workitems` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def matching(self, query: WorkitemQuery, limit: int) -> Sequence[str]:
        """See `Workitems.matching`."""
        return self._database.read(lambda session: matching(session, query, limit))

    def workitems(self, uids: Sequence[str], *, objects: bool = False) -> Sequence[Workitem]:
        """See `Workitems.workitems`."""
        return self._database.read(lambda session: workitems(session, uids, objects=objects))

    def create(self, uid: str, attributes: Attributes, peer: str, now: datetime) -> Verdict:
        """See `Workitems.create`."""
        return self._database.write(lambda session: create(session, uid, attributes, peer, now))

    def change_state(self, uid: str, wanted: StepState, transaction_uid: str, peer: str, now: datetime) -> Verdict:
        """See `Workitems.change_state`."""
        return self._database.write(lambda session: change_state(session, uid, wanted, transaction_uid, peer, now))

    def update(self, uid: str, transaction_uid: str, attributes: Attributes, peer: str, now: datetime) -> Verdict:
        """See `Workitems.update`."""
        return self._database.write(lambda session: update(session, uid, transaction_uid, attributes, peer, now))

    def request_cancel(self, uid: str, wish: Attributes, peer: str, now: datetime) -> Verdict:
        """See `Workitems.request_cancel`."""
        return self._database.write(lambda session: request_cancel(session, uid, wish, peer, now))

    def subscribe(self, subscriber: str, target: str, keys: Attributes, now: datetime, *, lock: bool) -> Verdict:
        """See `Workitems.subscribe`."""
        return self._database.write(
            lambda session: reports.subscribe(session, subscriber, target, keys, now, lock=lock)
        )

    def unsubscribe(self, subscriber: str, target: str, now: datetime) -> Verdict:
        """See `Workitems.unsubscribe`."""
        return self._database.write(lambda session: reports.unsubscribe(session, subscriber, target, now))

    def suspend(self, subscriber: str, now: datetime) -> Verdict:
        """See `Workitems.suspend`."""
        return self._database.write(lambda session: reports.suspend(session, subscriber, now))

    def to_perform(self, performer: str, limit: int) -> Sequence[Workitem]:
        """See `Workitems.to_perform`."""
        return self._database.read(lambda session: to_perform(session, performer, limit))

    def tell_changes(self, now: datetime, limit: int) -> int:
        """See `Workitems.tell_changes`."""
        if not self._database.read(changes.any_stale):  # asked all the time: most of the time without the write lock
            return 0
        return self._database.write(lambda session: changes.tell_changes(session, now, limit))

    def claim_reports(
        self, now: datetime, until: datetime, away: Collection[str], limit: int, among: Collection[str] | None = None
    ) -> Sequence[StepReport]:
        """See `Workitems.claim_reports`."""
        if self._database.read(lambda session: reports.first_due(session, now, away, among)) is None:
            return []
        return self._database.write(lambda session: reports.claim(session, now, until, away, limit, among))

    def drop_reports(self, subscribers: Collection[str], before: datetime, now: datetime) -> int:
        """See `Workitems.drop_reports`."""
        return self._database.write(lambda session: reports.drop_old(session, subscribers, before, now))

    def report_sent(self, report: StepReport, now: datetime, refusal: str = "") -> None:
        """See `Workitems.report_sent`."""
        values: dict[str, object] = {
            "state": AnswerState.ANSWERED,
            "information": {},
            "next_attempt_at": None,
            "ended_at": now,
        }
        self._database.write(lambda session: reports.write(session, report, last_error=refusal or None, **values))

    def report_failed(self, report: StepReport, error: str, retry_at: datetime | None) -> None:
        """See `Workitems.report_failed`."""
        values: dict[str, object] = {"next_attempt_at": retry_at, "last_error": error}
        if retry_at is None:
            values |= {"state": AnswerState.DEAD, "information": {}}
        self._database.write(lambda session: reports.write(session, report, **values))


def workitems_of(worklist: Worklist) -> SqlWorkitems | None:
    """The workitems in a worklist's database; None where it has none (a worklist in memory)."""
    return SqlWorkitems(worklist.database) if isinstance(worklist, SqlWorklist) else None
