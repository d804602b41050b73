"""Second factors in the worklist's database: each method of the port is one transaction."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.accounts import Source
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.account_rows import AccountRow, RecoveryRow, SessionRow
from triage_agent.worklist.rows import append_audit
from triage_agent.worklist.transactions import Database, changed


class SqlSecondFactors:
    """The `SecondFactors` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_up(self, name: str, sealed: str, step: int, recovery: Collection[str], now: datetime) -> bool:
        """See `SecondFactors.set_up`."""
        return self._database.write(lambda session: _set_up(session, name, sealed, step, recovery, now))

    def take_step(self, name: str, step: int) -> bool:
        """See `SecondFactors.take_step`."""
        earlier = or_(AccountRow.totp_step.is_(None), AccountRow.totp_step < step)
        take = update(AccountRow).where(AccountRow.name == name, AccountRow.totp_secret.is_not(None), earlier)
        return self._database.write(lambda session: changed(session, take.values(totp_step=step)) == 1)

    def take_recovery(self, name: str, digest: str, now: datetime) -> bool:
        """See `SecondFactors.take_recovery`."""
        return self._database.write(lambda session: _take_recovery(session, name, digest, now))

    def recovery_left(self, name: str) -> int:
        """See `SecondFactors.recovery_left`."""
        unused = select(func.count()).where(RecoveryRow.account == name, RecoveryRow.used_at.is_(None))
        return self._database.read(lambda session: session.scalar(unused) or 0)

    def reset(self, name: str, actor: str, now: datetime) -> bool:
        """See `SecondFactors.reset`."""
        return self._database.write(lambda session: _reset(session, name, actor, now))


def _set_up(session: Session, name: str, sealed: str, step: int, recovery: Collection[str], now: datetime) -> bool:
    without = update(AccountRow).where(
        AccountRow.name == name, AccountRow.source == Source.LOCAL, AccountRow.totp_secret.is_(None)
    )
    if not changed(session, without.values(totp_secret=sealed, totp_step=step)):
        return False
    _use_up(session, name, now)
    rows = [{"digest": digest, "account": name, "made_at": now} for digest in recovery]
    session.execute(insert(RecoveryRow), rows)
    _audit(session, name, name, now, "second factor set up")
    return True


def _take_recovery(session: Session, name: str, digest: str, now: datetime) -> bool:
    unused = update(RecoveryRow).where(
        RecoveryRow.digest == digest, RecoveryRow.account == name, RecoveryRow.used_at.is_(None)
    )
    if not changed(session, unused.values(used_at=now)):
        return False
    _audit(session, name, name, now, "recovery code used")
    return True


def _reset(session: Session, name: str, actor: str, now: datetime) -> bool:
    having = update(AccountRow).where(AccountRow.name == name, AccountRow.totp_secret.is_not(None))
    if not changed(session, having.values(totp_secret=None, totp_step=None)):
        return False
    _use_up(session, name, now)
    open_ones = update(SessionRow).where(SessionRow.account == name, SessionRow.ended_at.is_(None))
    session.execute(open_ones.values(ended_at=now))
    _audit(session, name, actor, now, "second factor reset")
    return True


def _use_up(session: Session, name: str, now: datetime) -> None:
    unused: Any = update(RecoveryRow).where(RecoveryRow.account == name, RecoveryRow.used_at.is_(None))
    session.execute(unused.values(used_at=now))


def _audit(session: Session, name: str, actor: str, now: datetime, change: str) -> None:
    detail: dict[str, object] = {"account": name, "change": change}
    append_audit(session, AuditEvent(at=now, action=AuditAction.ACCOUNT_CHANGED, actor=actor, detail=detail))
