"""Since when a route fails: from the first attempt on that failed until something is taken there."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.notice import NoticeKind, RouteRecord
from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.notice_queue import put_down
from triage_agent.worklist.notice_rows import NoticeRow, RouteRow
from triage_agent.worklist.tables import OutboxRow
from triage_agent.worklist.transactions import changed

_TAKEN = (DeliveryState.SENT, DeliveryState.COMMITTED)


def configure(session: Session, destinations: Collection[str]) -> None:
    """From now on these are looked at; of one that no route names any more nothing is told."""
    known = session.scalars(select(RouteRow).order_by(RouteRow.destination).with_for_update()).all()
    for row in known:
        if row.destination not in destinations:
            row.failing_since = None
    for name in sorted({*destinations} - {row.destination for row in known}):
        session.execute(insert(RouteRow).values(destination=name))


def failing_since(session: Session, destination: str) -> datetime | None:
    """As it was seen last."""
    return session.scalar(select(RouteRow.failing_since).where(RouteRow.destination == destination))


def failing(session: Session) -> Sequence[RouteRecord]:
    """See `Notices.failing`."""
    rows = session.scalars(
        select(RouteRow).where(RouteRow.failing_since.is_not(None)).order_by(RouteRow.destination)
    ).all()
    return [
        RouteRecord(destination=row.destination, failing_since=row.failing_since)
        for row in rows
        if row.failing_since is not None
    ]


def has_news(session: Session, destination: str, troubled: bool, now: datetime) -> bool:
    """Whether `look` would change something."""
    since = failing_since(session, destination)
    return troubled if since is None else since > now or _taken_after(session, destination, since)


def look(session: Session, destination: str, troubled: bool, now: datetime) -> datetime | None:
    """See `Notices.look_at_route`."""
    row = session.scalars(
        select(RouteRow)
        .where(RouteRow.destination == destination)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        return None
    since = row.failing_since
    if since is None:
        row.failing_since = now if troubled else None
    elif _taken_after(session, destination, since):
        row.failing_since = None
        _tell_that_it_works(session, destination, since, now)
    elif since > now:  # the clock was set back
        row.failing_since = now
    return row.failing_since


def _taken_after(session: Session, destination: str, since: datetime) -> bool:
    taken = select(OutboxRow.id).where(
        OutboxRow.destination == destination, OutboxRow.sent_at > since, OutboxRow.state.in_(_TAKEN)
    )
    return session.scalar(taken.limit(1)) is not None


def _key(kind: NoticeKind, destination: str, since: datetime) -> str:
    return f"{kind.value}:{since.isoformat()}:{destination}"


def _tell_that_it_works(session: Session, destination: str, since: datetime, now: datetime) -> None:
    told = select(NoticeRow.channel).where(NoticeRow.key == _key(NoticeKind.ROUTE_FAILING, destination, since))
    for channel in session.scalars(told.order_by(NoticeRow.channel)).all():
        put_down(
            session,
            NoticeKind.ROUTE_WORKS,
            _key(NoticeKind.ROUTE_WORKS, destination, since),
            now,
            wanted_as=NoticeKind.ROUTE_FAILING,
            channel=channel,
            destination=destination,
            failing_since=since,
        )


def was_told(session: Session, channel: str, destination: str, since: datetime) -> bool:
    """Whether a channel has, or will have, a notice that a destination has failed since then."""
    key = _key(NoticeKind.ROUTE_FAILING, destination, since)
    known = select(NoticeRow.id).where(NoticeRow.channel == channel, NoticeRow.key == key)
    return session.scalar(known) is not None


def tell(session: Session, channel: str, destination: str, since: datetime, now: datetime) -> bool:
    """See `Notices.tell_failing`; not where it has come back since it was looked at."""
    still = (
        update(RouteRow)
        .where(RouteRow.destination == destination, RouteRow.failing_since == since)
        .values(failing_since=since)
        .execution_options(synchronize_session=False)
    )
    if changed(session, still) != 1:
        return False
    key = _key(NoticeKind.ROUTE_FAILING, destination, since)
    put = put_down(
        session,
        NoticeKind.ROUTE_FAILING,
        key,
        now,
        channel=channel,
        destination=destination,
        failing_since=since,
    )
    return put > 0
