"""Open sessions in the worklist's database: each method of the port is one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.sessions import OpenSession
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.account_rows import SessionRow
from triage_agent.worklist.rows import append_audit
from triage_agent.worklist.transactions import Database, changed


class SqlSessions:
    """The `Sessions` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_of(self, account: str, now: datetime, idle_since: datetime, limit: int) -> Sequence[OpenSession]:
        """See `Sessions.open_of`."""
        theirs = (
            select(SessionRow)
            .where(SessionRow.account == account, *_goes_on(now, idle_since))
            .order_by(SessionRow.seen_at.desc(), SessionRow.digest)
            .limit(limit)
        )
        return self._database.read(lambda session: [_session(row) for row in session.scalars(theirs)])

    def number(self, now: datetime, idle_since: datetime) -> dict[str, int]:
        """See `Sessions.number`."""
        counted = (
            select(SessionRow.account, func.count()).where(*_goes_on(now, idle_since)).group_by(SessionRow.account)
        )
        return self._database.read(lambda session: {row[0]: row[1] for row in session.execute(counted)})

    def end(self, account: str, digests: Sequence[str], actor: str, address: str, now: datetime) -> int:
        """See `Sessions.end`."""
        which = SessionRow.digest.in_(list(digests))
        return self._database.write(lambda session: _end(session, account, which, actor, address, now))

    def end_others(self, account: str, kept: str, actor: str, address: str, now: datetime) -> int:
        """See `Sessions.end_others`."""
        which = SessionRow.digest != kept
        return self._database.write(lambda session: _end(session, account, which, actor, address, now))


def _goes_on(now: datetime, idle_since: datetime) -> list[ColumnElement[bool]]:
    return [SessionRow.ended_at.is_(None), SessionRow.ends_at > now, SessionRow.seen_at > idle_since]


def _session(row: SessionRow) -> OpenSession:
    return OpenSession(
        digest=row.digest,
        began_at=row.began_at,
        seen_at=row.seen_at,
        ends_at=row.ends_at,
        address=row.address or "",
        browser=row.browser or "",
        strong=row.strong,
    )


def _end(session: Session, account: str, which: ColumnElement[bool], actor: str, address: str, now: datetime) -> int:
    ending: Any = update(SessionRow).where(SessionRow.account == account, SessionRow.ended_at.is_(None), which)
    number = changed(session, ending.values(ended_at=now))
    if number:
        detail = {"account": account, "change": "sessions ended", "sessions": number, "address": address}
        append_audit(session, AuditEvent(at=now, action=AuditAction.ACCOUNT_CHANGED, actor=actor, detail=detail))
    return number
