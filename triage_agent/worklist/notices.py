"""The notices that wait, and what becomes of them: a message a channel at a time, the same one at each attempt."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, func, insert, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.notice import (
    HOUR,
    SHOWN,
    ChannelRecord,
    ChannelRules,
    Message,
    Notice,
    NoticeKind,
    NoticeState,
    Pace,
    RouteRecord,
    Waiting,
    message_uid,
)
from triage_agent.domain.ports import Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import notice_routes
from triage_agent.worklist.notice_rows import NoticeRow, WishRow
from triage_agent.worklist.repository import SqlWorklist
from triage_agent.worklist.rows import append_audit, word_is
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.trail import AGENT
from triage_agent.worklist.transactions import Database, changed

_CHANNEL_GONE = "its channel is not configured any more"


def configure(session: Session, channels: Sequence[ChannelRules], destinations: Collection[str], now: datetime) -> int:
    """See `Notices.configure`."""
    wanted = {(channel.name, kind) for channel in channels for kind in channel.kinds}
    known = session.scalars(select(WishRow).order_by(WishRow.channel, WishRow.kind).with_for_update()).all()
    for row in known:
        row.active = (row.channel, row.kind) in wanted
    for name, kind in sorted(wanted - {(row.channel, row.kind) for row in known}):
        session.execute(insert(WishRow).values(channel=name, kind=kind, active=True))
    notice_routes.configure(session, destinations)
    gone = (
        update(NoticeRow)
        .where(_waits(), NoticeRow.channel.not_in([channel.name for channel in channels]))
        .values(state=NoticeState.DEAD, ended_at=now, last_error=_CHANNEL_GONE)
        .execution_options(synchronize_session=False)
    )
    return changed(session, gone)


def _waits() -> ColumnElement[bool]:
    return word_is(NoticeRow.state, NoticeState.WAITING)


def _free(channel: str, hushed: Collection[NoticeKind]) -> ColumnElement[bool]:
    """What waits for a channel, is in no message, and may be told now."""
    return and_(
        _waits(), NoticeRow.channel == channel, NoticeRow.message.is_(None), NoticeRow.kind.not_in(sorted(hushed))
    )


def waiting(session: Session, channel: str, hushed: Collection[NoticeKind], now: datetime) -> Waiting | None:
    """See `Notices.waiting`; a clock that was set back may have left messages of a time to come, which do not count."""
    free = _free(channel, hushed)
    oldest = session.execute(
        select(NoticeRow.kind, NoticeRow.created_at).where(free).order_by(NoticeRow.id).limit(1)
    ).one_or_none()
    if oldest is None:
        return None
    sent = select(func.count(NoticeRow.message.distinct())).where(
        NoticeRow.channel == channel,
        NoticeRow.state == NoticeState.SENT,
        NoticeRow.ended_at > now - HOUR,
        NoticeRow.ended_at <= now,
    )
    unsent = select(func.count(NoticeRow.message.distinct())).where(_open(channel, hushed))
    is_stat = select(NoticeRow.id).where(free, word_is(NoticeRow.kind, NoticeKind.STAT)).limit(1)
    return Waiting(
        sent=session.scalar(sent) or 0,
        unsent=session.scalar(unsent) or 0,
        count=session.scalar(select(func.count()).select_from(NoticeRow).where(free)) or 0,
        stat=session.scalar(is_stat) is not None,
        kind=oldest.kind,
        since=oldest.created_at,
    )


def due(session: Session, channel: str, hushed: Collection[NoticeKind], now: datetime) -> int | None:
    """See `Notices.due`."""
    found = session.execute(_next(channel, hushed, now)).one_or_none()
    return None if found is None else found.attempts


def _open(channel: str, hushed: Collection[NoticeKind]) -> ColumnElement[bool]:
    """What is in a message that is not taken yet, and may be told now."""
    return and_(
        _waits(), NoticeRow.channel == channel, NoticeRow.message.is_not(None), NoticeRow.kind.not_in(sorted(hushed))
    )


def _next(channel: str, hushed: Collection[NoticeKind], now: datetime) -> Select[int | None, int]:
    """The message whose attempt is next: one that failed goes behind those that did not, or less often."""
    is_due = or_(NoticeRow.next_attempt_at.is_(None), NoticeRow.next_attempt_at <= now)
    return (
        select(NoticeRow.message, NoticeRow.attempts)
        .where(_open(channel, hushed), is_due)
        .order_by(NoticeRow.attempts, NoticeRow.message)
        .limit(1)
    )


def _stat_first() -> ColumnElement[int]:
    return case((word_is(NoticeRow.kind, NoticeKind.STAT), 0), else_=1)


def _hold(session: Session, channel: str) -> None:
    """Whoever makes or takes a channel's message takes turns with all others who do."""
    session.execute(select(WishRow.kind).where(WishRow.channel == channel).order_by(WishRow.kind).with_for_update())


def gather(
    session: Session, channel: str, hushed: Collection[NoticeKind], seen: Waiting, how: Pace, now: datetime
) -> bool:
    """See `Notices.gather`."""
    _hold(session, channel)
    found = waiting(session, channel, hushed, now)
    if found is None or found.sent > seen.sent or found.unsent > seen.unsent:
        return False
    free = _free(channel, hushed)
    by = (_stat_first(), NoticeRow.id) if how is Pace.ONE else (NoticeRow.id,)
    first = session.scalar(select(NoticeRow.id).where(free).order_by(*by).limit(1))
    which = NoticeRow.id == first if how is Pace.ONE else free
    made = update(NoticeRow).where(which).values(message=first, next_attempt_at=now)
    return changed(session, made.execution_options(synchronize_session=False)) > 0


def claim(
    session: Session, channel: str, hushed: Collection[NoticeKind], now: datetime, until: datetime
) -> Message | None:
    """See `Notices.claim`."""
    _hold(session, channel)
    found = session.execute(_next(channel, hushed, now)).one_or_none()
    if found is None or found.message is None:
        return None
    mine = and_(_waits(), NoticeRow.channel == channel, NoticeRow.message == found.message)
    taken = update(NoticeRow).where(mine).values(attempts=NoticeRow.attempts + 1, next_attempt_at=until)
    count = changed(session, taken.execution_options(synchronize_session=False))
    statement = (
        select(NoticeRow, StudyRow)
        .outerjoin(StudyRow, StudyRow.study_instance_uid == NoticeRow.study_instance_uid)
        .where(mine)
        .order_by(_stat_first(), NoticeRow.id)
        .limit(SHOWN)
        .execution_options(populate_existing=True)
    )
    rows: list[tuple[NoticeRow, StudyRow | None]] = [(row, study) for row, study in session.execute(statement)]
    since = session.scalars(select(NoticeRow.created_at).where(NoticeRow.id == found.message)).one()
    return Message(
        channel=channel,
        number=found.message,
        uid=message_uid(channel, found.message, since),
        attempt=rows[0][0].attempts,
        count=count,
        since=since,
        notices=tuple(_notice(row, study) for row, study in rows),
    )


def _notice(row: NoticeRow, study: StudyRow | None) -> Notice:
    detail = {"destination": row.destination} if row.destination else {}
    if row.failing_since is not None:
        detail["failing_since"] = row.failing_since.isoformat()
    if study is None:
        return Notice(kind=row.kind, at=row.created_at, study_instance_uid=row.study_instance_uid or "", detail=detail)
    return Notice(
        kind=row.kind,
        at=row.created_at,
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number or "",
        anatomy=study.anatomy or "",
        finding=study.finding.value if study.finding else "",
        probability=study.probability,
        rule=study.rule or "",
        detail=detail,
    )


def end(session: Session, message: Message, error: str | None, retry_at: datetime | None, now: datetime) -> None:
    """See `Notices.sent` and `Notices.failed`; sent is a fact, also when another process took it up meanwhile."""
    _hold(session, message.channel)
    values: dict[str, object] = {"last_error": error, "next_attempt_at": retry_at}
    if retry_at is None:
        values |= {"state": NoticeState.SENT if error is None else NoticeState.DEAD, "ended_at": now}
    which = [_waits(), NoticeRow.channel == message.channel, NoticeRow.message == message.number]
    if error is not None:
        which.append(NoticeRow.attempts == message.attempt)
    ended = update(NoticeRow).where(*which).values(values).execution_options(synchronize_session=False)
    if changed(session, ended) and retry_at is None:
        append_audit(session, _ended(message, error is None, now))


def _ended(message: Message, sent: bool, now: datetime) -> AuditEvent:
    alone = message.notices[0] if message.count == 1 else None
    return AuditEvent(
        at=now,
        action=AuditAction.NOTICE_SENT if sent else AuditAction.NOTICE_DEAD,
        actor=AGENT,
        study_instance_uid=(alone.study_instance_uid or None) if alone else None,
        detail={
            "channel": message.channel,
            "message": message.uid,
            "notices": message.count,
            "kinds": sorted({notice.kind.value for notice in message.notices}),
            "attempt": message.attempt,
        },
    )


def records(session: Session) -> Sequence[ChannelRecord]:
    """See `Notices.records`."""
    counted = select(NoticeRow.channel, NoticeRow.state, func.count()).group_by(NoticeRow.channel, NoticeRow.state)
    counts = {(channel, state): number for channel, state, number in session.execute(counted)}
    names = session.scalars(select(WishRow.channel).distinct().order_by(WishRow.channel)).all()
    return [_record(session, name, counts) for name in names]


def _record(session: Session, name: str, counts: dict[tuple[str, NoticeState], int]) -> ChannelRecord:
    last = select(func.max(NoticeRow.ended_at)).where(NoticeRow.channel == name, NoticeRow.state == NoticeState.SENT)
    trouble = (
        select(NoticeRow.last_error)
        .where(NoticeRow.channel == name, _waits(), NoticeRow.last_error.is_not(None))
        .order_by(NoticeRow.message)
        .limit(1)
    )
    return ChannelRecord(
        channel=name,
        waiting=counts.get((name, NoticeState.WAITING), 0),
        sent=counts.get((name, NoticeState.SENT), 0),
        dead=counts.get((name, NoticeState.DEAD), 0),
        last_sent_at=session.scalar(last),
        last_error=session.scalar(trouble),
    )


class SqlNotices:
    """The `Notices` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def configure(self, channels: Sequence[ChannelRules], destinations: Collection[str], now: datetime) -> int:
        """See `Notices.configure`."""
        return self._database.write(lambda session: configure(session, channels, destinations, now))

    def waiting(self, channel: str, hushed: Collection[NoticeKind], now: datetime) -> Waiting | None:
        """See `Notices.waiting`."""
        return self._database.read(lambda session: waiting(session, channel, hushed, now))

    def due(self, channel: str, hushed: Collection[NoticeKind], now: datetime) -> int | None:
        """See `Notices.due`."""
        return self._database.read(lambda session: due(session, channel, hushed, now))

    def gather(self, channel: str, hushed: Collection[NoticeKind], seen: Waiting, how: Pace, now: datetime) -> bool:
        """See `Notices.gather`."""
        return self._database.write(lambda session: gather(session, channel, hushed, seen, how, now))

    def claim(self, channel: str, hushed: Collection[NoticeKind], now: datetime, until: datetime) -> Message | None:
        """See `Notices.claim`."""
        return self._database.write(lambda session: claim(session, channel, hushed, now, until))

    def sent(self, message: Message, now: datetime) -> None:
        """See `Notices.sent`."""
        self._database.write(lambda session: end(session, message, None, None, now))

    def failed(self, message: Message, error: str, retry_at: datetime | None, now: datetime) -> None:
        """See `Notices.failed`."""
        self._database.write(lambda session: end(session, message, error, retry_at, now))

    def look_at_route(self, destination: str, *, troubled: bool, now: datetime) -> datetime | None:
        """See `Notices.look_at_route`; writes only what has changed."""
        if not self._database.read(lambda session: notice_routes.has_news(session, destination, troubled, now)):
            return self._database.read(lambda session: notice_routes.failing_since(session, destination))
        return self._database.write(lambda session: notice_routes.look(session, destination, troubled, now))

    def tell_failing(self, channel: str, destination: str, since: datetime, now: datetime) -> bool:
        """See `Notices.tell_failing`."""
        if self._database.read(lambda session: notice_routes.was_told(session, channel, destination, since)):
            return False
        return self._database.write(lambda session: notice_routes.tell(session, channel, destination, since, now))

    def records(self) -> Sequence[ChannelRecord]:
        """See `Notices.records`."""
        return self._database.read(records)

    def failing(self) -> Sequence[RouteRecord]:
        """See `Notices.failing`."""
        return self._database.read(notice_routes.failing)


def notices_of(worklist: Worklist) -> SqlNotices | None:
    """The notices in a worklist's database; None where it has none (a worklist in memory)."""
    return SqlNotices(worklist.database) if isinstance(worklist, SqlWorklist) else None
