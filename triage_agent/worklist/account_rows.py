"""The tables of accounts, their sessions, and the links by which a first password is chosen."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.domain.accounts import Source
from triage_agent.domain.sessions import LONGEST_ADDRESS, LONGEST_BROWSER
from triage_agent.worklist.tables import Base
from triage_agent.worklist.types import words

_NAME = 64
_DIGEST = 64


class AccountRow(Base):
    """An account; the agent deletes none, so that the audit trail's names keep their meaning."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(_NAME), primary_key=True)
    roles: Mapped[list[str]]
    source: Mapped[Source] = mapped_column(words(Source))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    must_change: Mapped[bool] = mapped_column(Boolean)
    totp_secret: Mapped[str | None] = mapped_column(String(200))
    totp_step: Mapped[int | None]  # the last that was taken: a code is good once
    failures: Mapped[int]
    locked_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]
    subject: Mapped[str | None] = mapped_column(String(_DIGEST))  # of an identity provider's issuer and sub


class SessionRow(Base):
    """A session, known by the digest of its cookie."""

    __tablename__ = "web_sessions"

    digest: Mapped[str] = mapped_column(String(_DIGEST), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    csrf: Mapped[str] = mapped_column(String(_DIGEST))
    strong: Mapped[bool] = mapped_column(Boolean)
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    address: Mapped[str | None] = mapped_column(String(LONGEST_ADDRESS))
    browser: Mapped[str | None] = mapped_column(String(LONGEST_BROWSER))


class LinkRow(Base):
    """A link that is good once, known by the digest of its secret part."""

    __tablename__ = "account_links"

    digest: Mapped[str] = mapped_column(String(_DIGEST), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    made_at: Mapped[datetime]
    until: Mapped[datetime]
    used_at: Mapped[datetime | None]


class RecoveryRow(Base):
    """A recovery code, known by its digest; good once."""

    __tablename__ = "recovery_codes"

    digest: Mapped[str] = mapped_column(String(_DIGEST), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    made_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


Index("ix_web_sessions_account", SessionRow.account)  # ending all of an account
Index("ix_account_links_account", LinkRow.account)
Index("ix_recovery_codes_account", RecoveryRow.account)
Index("ix_accounts_subject", AccountRow.subject, unique=True)
