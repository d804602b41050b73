"""Accounts of those whom an identity provider vouches for: made and updated as they sign in."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.accounts import Role, Source
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.account_rows import AccountRow, SessionRow
from triage_agent.worklist.rows import append_audit

_PROVIDER = "identity-provider"  # who acts, in the audit trail


def vouch(session: Session, name: str, subject: str, roles: Collection[Role], now: datetime) -> str | None:
    """See `Accounts.vouch`."""
    words = sorted(role.value for role in roles)
    known = session.scalar(select(AccountRow).where(AccountRow.subject == subject))
    if known is not None:
        _give(session, known, words, now)
        return known.name if words else None
    if not words or session.get(AccountRow, name) is not None:
        return None
    values = {
        "name": name,
        "roles": words,
        "source": Source.OIDC,
        "subject": subject,
        "must_change": False,
        "failures": 0,
        "created_at": now,
    }
    session.execute(insert(AccountRow).values(values))
    _audit(session, name, now, change="made", roles=words)
    return name


def _give(session: Session, known: AccountRow, words: list[str], now: datetime) -> None:
    if sorted(known.roles) == words:
        return
    name = known.name
    session.execute(update(AccountRow).where(AccountRow.name == name).values(roles=words))
    if not words:
        open_ones = update(SessionRow).where(SessionRow.account == name, SessionRow.ended_at.is_(None))
        session.execute(open_ones.values(ended_at=now))
    _audit(session, name, now, change="roles", roles=words)


def _audit(session: Session, name: str, now: datetime, **detail: object) -> None:
    event = AuditEvent(at=now, action=AuditAction.ACCOUNT_CHANGED, actor=_PROVIDER, detail={"account": name, **detail})
    append_audit(session, event)
