"""The tables of the audit log's chain: its seals, where it ends, and how far its readers are."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.worklist.tables import Base
from triage_agent.worklist.types import FittedText


class SealRow(Base):
    """One link; rows are only ever added, and a trigger sees to it.

    No reference to `audit_events`: that a record is gone must be found out, not made impossible to write down.
    """

    __tablename__ = "audit_seals"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    record_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    floor: Mapped[int] = mapped_column(BigInteger)
    sealed_at: Mapped[datetime]
    head: Mapped[str] = mapped_column(String(64))


class HeadRow(Base):
    """Where the chain ends: one row, locked by whoever seals. What `SqlAuditLog` does with the marks stands there."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)
    head: Mapped[str] = mapped_column(String(64))
    floor: Mapped[int] = mapped_column(BigInteger)
    seen_id: Mapped[int] = mapped_column(BigInteger)
    mark_id: Mapped[int] = mapped_column(BigInteger)
    mark_xid: Mapped[int] = mapped_column(BigInteger)


class CursorRow(Base):
    """How far a reader of the chain is, and which process reads for it."""

    __tablename__ = "audit_cursors"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    lease_owner: Mapped[str | None] = mapped_column(FittedText(200))
    lease_until: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))
