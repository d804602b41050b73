"""Notices begin in the transaction of what they tell of: nothing that was told is rolled back, nothing is forgotten."""

from datetime import datetime

from sqlalchemy import bindparam, exists, insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.notice import NoticeKind, NoticeState, occasion_of
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.notice_rows import NoticeRow, RouteRow, WishRow
from triage_agent.worklist.transactions import changed

_FAILURES = frozenset({AuditAction.DELIVERY_FAILED, AuditAction.DELIVERY_DEAD})
_COLUMNS = (
    "channel",
    "key",
    "kind",
    "study_instance_uid",
    "destination",
    "failing_since",
    "state",
    "created_at",
    "attempts",
)


def queue_notices(session: Session, event: AuditEvent) -> None:
    """Queue what an audit event gives rise to, for each channel that wants it; note a route's first failure."""
    if (occasion := occasion_of(event)) is not None:
        put_down(session, occasion.kind, occasion.key, event.at, study_instance_uid=event.study_instance_uid)
    # Only what the destination itself did: a reason says that it was not even tried, or did not commit.
    if event.action in _FAILURES and "reason" not in event.detail:
        first = (
            update(RouteRow)
            .where(RouteRow.destination == str(event.detail.get("destination", "")), RouteRow.failing_since.is_(None))
            .values(failing_since=event.at)
            .execution_options(synchronize_session=False)
        )
        session.execute(first)


def put_down(
    session: Session,
    kind: NoticeKind,
    key: str,
    at: datetime,
    *,
    wanted_as: NoticeKind | None = None,
    channel: str | None = None,
    study_instance_uid: str | None = None,
    destination: str | None = None,
    failing_since: datetime | None = None,
) -> int:
    """Queue a notice for every channel that wants its kind (or `wanted_as`) and has none by that key.

    With `channel`, for that one only. Returns for how many.
    """
    values = (key, kind, study_instance_uid, destination, failing_since, NoticeState.WAITING, at, 0)
    columns = [
        bindparam(None, value, type_=NoticeRow.__table__.c[name].type)
        for name, value in zip(_COLUMNS[1:], values, strict=True)
    ]
    known = exists().where(NoticeRow.channel == WishRow.channel, NoticeRow.key == key)
    wishes = select(WishRow.channel, *columns).where(WishRow.kind == (wanted_as or kind), WishRow.active, ~known)
    if channel is not None:
        wishes = wishes.where(WishRow.channel == channel)
    return changed(session, insert(NoticeRow).from_select(_COLUMNS, wishes))
