"""Who is told what of a workitem: subscriptions, and reports, kept with what caused them until they are sent."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Select, bindparam, func, insert, select, true, update
from sqlalchemy.orm import Session

from triage_agent.domain.commitment import AnswerState
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.domain.workitem import (
    FILTERED,
    GLOBAL,
    PRIORITIES,
    Attributes,
    Readiness,
    ReportType,
    StepReport,
    StepState,
    Verdict,
)
from triage_agent.worklist.rows import word_is
from triage_agent.worklist.statements import put
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.transactions import changed
from triage_agent.worklist.workitem_rows import ReportRow, SubscriptionRow, WorkitemRow

_PRIORITY, _STATE, _READINESS, _PATIENT_ID = "00741200", "00741000", "00404041", "00100020"
_PROGRESS, _DESCRIPTION = "00741002", "00741006"


def readiness_of(study: StudyRow | None) -> Readiness:
    """Whether what is to be read is all here."""
    return Readiness.INCOMPLETE if study is not None and study.status is Status.RECEIVING else Readiness.READY


def priority_of(item: WorkitemRow, study: StudyRow | None) -> Priority:
    """The study's; of a workitem that a peer posted, what that said."""
    return study.priority if study is not None else item.told_priority or Priority.ROUTINE


def state_report(item: WorkitemRow, study: StudyRow | None, state: StepState | None = None) -> dict[str, object]:
    """What a UPS State Report says; subscribers take more attributes than they need (PS3.4 CC.2.4.2)."""
    return {
        _STATE: element("CS", state or item.state),
        _READINESS: element("CS", readiness_of(study)),
        _PRIORITY: element("CS", PRIORITIES[priority_of(item, study)]),
    }


def progress_report(before: Priority, after: Priority) -> dict[str, object]:
    """What a UPS Progress Report says of a raise: no event of the standard is about a priority (PS3.4 CC.2.4.1)."""
    said = f"priority {PRIORITIES[after]}, was {PRIORITIES[before]}"
    return {
        _PROGRESS: {"vr": "SQ", "Value": [{_DESCRIPTION: element("ST", said)}]},
        _PRIORITY: element("CS", PRIORITIES[after]),
    }


def element(vr: str, *values: str) -> dict[str, object]:
    """An element of DICOM JSON."""
    return {"vr": vr, "Value": [str(value) for value in values]}


def put_down(
    session: Session,
    item: WorkitemRow,
    study: StudyRow | None,
    reports: Iterable[tuple[ReportType, Attributes]],
    now: datetime,
) -> int:
    """Queue reports for everybody who wants to hear of a workitem; returns how many want to."""
    reports = list(reports)
    told = _subscribers(session, item, study) if reports else []
    for subscriber in told:
        for kind, information in reports:
            queue(session, subscriber, item.uid, kind, information, now)
    return len(told)


def queue(
    session: Session, subscriber: str, uid: str, kind: ReportType, information: Attributes, now: datetime
) -> None:
    """Queue one report for one subscriber."""
    values = {
        "subscriber": subscriber,
        "workitem_uid": uid,
        "type": int(kind),
        "information": dict(information),
        "state": AnswerState.WAITING,
        "created_at": now,
        "attempts": 0,
        "next_attempt_at": now,
    }
    put(session, ReportRow, values)


_SUBSCRIPTIONS = select(SubscriptionRow).where(SubscriptionRow.target.in_(bindparam("targets", expanding=True)))


def _subscribers(session: Session, item: WorkitemRow, study: StudyRow | None) -> list[str]:
    """Who has the state "subscribed" for it (PS3.4 table CC.2.3-2): what was said last of it or of all counts."""
    rows = session.scalars(_SUBSCRIPTIONS, {"targets": [item.uid, GLOBAL, FILTERED]})
    own: dict[str, SubscriptionRow] = {}
    general: dict[str, SubscriptionRow] = {}
    for row in rows:
        if row.target == item.uid:
            own[row.subscriber] = row
        elif row.ended_at is None and _covers(row, item, study):
            general[row.subscriber] = row
    told = {name for name, row in own.items() if row.ended_at is None}
    for name, row in general.items():
        ended = own[name].ended_at if name in own else None
        if ended is None or ended <= row.subscribed_at:
            told.add(name)
    return sorted(told)


def _covers(row: SubscriptionRow, item: WorkitemRow, study: StudyRow | None) -> bool:
    if row.suspended_at is not None and item.created_at > row.suspended_at:
        return False
    return row.target == GLOBAL or _fits(row.keys, item, study)


def _fits(keys: Mapping[str, object], item: WorkitemRow, study: StudyRow | None) -> bool:
    """Whether the workitem has, now, what a filtered subscription asks for; a filter by priority follows each raise."""
    facts = {
        _PRIORITY: PRIORITIES[priority_of(item, study)],
        _STATE: item.state.value,
        _PATIENT_ID: (study.patient_id or "") if study is not None else "",
    }
    for tag, wanted in keys.items():
        values = wanted.get("Value", ()) if isinstance(wanted, dict) else ()
        if values and facts.get(tag) not in values:
            return False
    return True


def subscribe(
    session: Session, subscriber: str, target: str, keys: Attributes, now: datetime, *, lock: bool
) -> Verdict:
    """See `Workitems.subscribe`; nothing is ever deleted, so that every lock holds."""
    item = None
    if target not in {GLOBAL, FILTERED}:
        item = session.get(WorkitemRow, target)
        if item is None:
            return Verdict.UNKNOWN_WORKITEM
    values: dict[str, object] = {
        "keys": dict(keys),
        "deletion_lock": lock,
        "subscribed_at": now,
        "suspended_at": None,
        "ended_at": None,
    }
    same = (SubscriptionRow.subscriber == subscriber, SubscriptionRow.target == target)
    again = update(SubscriptionRow).where(*same).values(values).execution_options(synchronize_session=False)
    if not changed(session, again):
        session.execute(insert(SubscriptionRow).values(subscriber=subscriber, target=target, **values))
    if item is not None:
        study = session.get(StudyRow, item.study_instance_uid) if item.study_instance_uid else None
        queue(session, subscriber, target, ReportType.STATE, state_report(item, study), now)
    elif lock:
        _tell_of_all(session, subscriber, target, keys, now)
    return Verdict.DONE


def _tell_of_all(session: Session, subscriber: str, target: str, keys: Attributes, now: datetime) -> None:
    """The state of every workitem that is still to be done (PS3.4 section CC.2.4.3, with a deletion lock)."""
    open_ones = (
        select(WorkitemRow, StudyRow)
        .outerjoin(StudyRow, StudyRow.study_instance_uid == WorkitemRow.study_instance_uid)
        .where(WorkitemRow.state.in_([StepState.SCHEDULED, StepState.IN_PROGRESS]))
        .order_by(WorkitemRow.created_at, WorkitemRow.uid)
        .execution_options(yield_per=500)
    )
    for item, study in session.execute(open_ones):
        if target == GLOBAL or _fits(keys, item, study):
            queue(session, subscriber, item.uid, ReportType.STATE, state_report(item, study), now)


def unsubscribe(session: Session, subscriber: str, target: str, now: datetime) -> Verdict:
    """See `Workitems.unsubscribe`."""
    if target not in {GLOBAL, FILTERED}:
        if session.get(WorkitemRow, target) is None:
            return Verdict.UNKNOWN_WORKITEM
        ended = {"ended_at": now}
        same = (SubscriptionRow.subscriber == subscriber, SubscriptionRow.target == target)
        statement = update(SubscriptionRow).where(*same).values(ended).execution_options(synchronize_session=False)
        if not changed(session, statement):  # told by a subscription to all: of this one no more
            values = {"keys": {}, "deletion_lock": False, "subscribed_at": now, **ended}
            session.execute(insert(SubscriptionRow).values(subscriber=subscriber, target=target, **values))
        _drop(session, [subscriber], now, ReportRow.workitem_uid == target)
        return Verdict.DONE
    which = [SubscriptionRow.subscriber == subscriber, SubscriptionRow.ended_at.is_(None)]
    if target == FILTERED:
        which.append(SubscriptionRow.target == FILTERED)
    statement = update(SubscriptionRow).where(*which).values(ended_at=now)
    session.execute(statement.execution_options(synchronize_session=False))
    if target == GLOBAL:
        _drop(session, [subscriber], now, true())
    return Verdict.DONE


def drop_old(session: Session, subscribers: Collection[str], before: datetime, now: datetime) -> int:
    """See `Workitems.drop_reports`."""
    return _drop(session, subscribers, now, ReportRow.created_at < before, "nobody listened")


def _drop(
    session: Session,
    subscribers: Collection[str],
    now: datetime,
    which: ColumnElement[bool],
    why: str = "unsubscribed",
) -> int:
    """What was to be told is not told any more."""
    waiting = word_is(ReportRow.state, AnswerState.WAITING)
    statement = (
        update(ReportRow)
        .where(waiting, ReportRow.subscriber.in_(sorted(subscribers)), which)
        .values(state=AnswerState.DEAD, information={}, next_attempt_at=None, ended_at=now, last_error=why)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement)


def suspend(session: Session, subscriber: str, now: datetime) -> Verdict:
    """See `Workitems.suspend`."""
    statement = (
        update(SubscriptionRow)
        .where(
            SubscriptionRow.subscriber == subscriber,
            SubscriptionRow.target.in_([GLOBAL, FILTERED]),
            SubscriptionRow.ended_at.is_(None),
        )
        .values(suspended_at=now)
        .execution_options(synchronize_session=False)
    )
    session.execute(statement)
    return Verdict.DONE


def first_due(
    session: Session, now: datetime, away: Collection[str], among: Collection[str] | None = None
) -> ReportRow | None:
    """The report that the subscriber whose turn it is has to be told first."""
    asked: dict[str, object] = {"now": now, "away": sorted(away)}
    if among is not None:
        asked["among"] = sorted(among)
    return session.scalars(_first_due(everybody=among is None), asked).one_or_none()


@cache
def _first_due(*, everybody: bool) -> Select[ReportRow]:
    row = ReportRow
    firsts = select(func.min(row.id)).where(word_is(row.state, AnswerState.WAITING)).group_by(row.subscriber)
    due = select(row).where(
        row.id.in_(firsts),
        row.next_attempt_at <= bindparam("now", type_=row.next_attempt_at.type),
        row.subscriber.not_in(bindparam("away", expanding=True)),
    )
    if not everybody:
        due = due.where(row.subscriber.in_(bindparam("among", expanding=True)))
    return due.order_by(row.next_attempt_at, row.id).limit(1)


def claim(
    session: Session,
    now: datetime,
    until: datetime,
    away: Collection[str],
    limit: int,
    among: Collection[str] | None = None,
) -> Sequence[StepReport]:
    """See `Workitems.claim_reports`: a subscriber's first report is claimed for all that follow it."""
    waiting = word_is(ReportRow.state, AnswerState.WAITING)
    first = first_due(session, now, away, among)
    if first is None:
        return []
    taken = (
        update(ReportRow)
        .where(ReportRow.id == first.id, ReportRow.attempts == first.attempts, waiting)
        .values(attempts=first.attempts + 1, next_attempt_at=until)
        .execution_options(synchronize_session=False)
    )
    if changed(session, taken) != 1:
        return []
    mine = select(ReportRow).where(waiting, ReportRow.subscriber == first.subscriber).order_by(ReportRow.id)
    rows = session.scalars(mine.limit(limit).execution_options(populate_existing=True)).all()
    for row in rows:  # those behind the first, too: told one by one, the next would be due for another process
        row.next_attempt_at = until
    return [
        StepReport(
            report_id=row.id,
            subscriber=row.subscriber,
            workitem_uid=row.workitem_uid,
            type=ReportType(row.type),
            information=row.information,
            attempt=max(1, row.attempts),
        )
        for row in rows
    ]


def write(session: Session, report: StepReport, **values: object) -> bool:
    """Change a report that waits; False where it was dropped meanwhile."""
    statement = (
        update(ReportRow)
        .where(ReportRow.id == report.report_id, ReportRow.state == AnswerState.WAITING)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement) == 1
