"""The table of studies that are fetched from a PACS; a study stands here before its first image has come."""

from datetime import datetime

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.domain.retrieval import RetrievalRecord, RetrievalState
from triage_agent.worklist.tables import Base
from triage_agent.worklist.types import FittedText, words


class RetrievalRow(Base):
    """The last retrieval of one study: who asked for it, who is at it, and what is still missing."""

    __tablename__ = "retrievals"

    study_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    peer: Mapped[str] = mapped_column(FittedText(200))
    state: Mapped[RetrievalState] = mapped_column(words(RetrievalState))
    requested_by: Mapped[str] = mapped_column(FittedText(200))
    requested_at: Mapped[datetime]
    revision: Mapped[int]  # of the study, when the agent asked by itself last; 0 where it never did
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime]
    lease_owner: Mapped[str | None] = mapped_column(FittedText(200))
    lease_until: Mapped[datetime | None]
    expected: Mapped[int | None]
    missing: Mapped[list[str]]
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))

    def record(self) -> RetrievalRecord:
        """As the domain sees it."""
        return RetrievalRecord(
            study_instance_uid=self.study_instance_uid,
            peer=self.peer,
            state=self.state,
            requested_by=self.requested_by,
            requested_at=self.requested_at,
            revision=self.revision,
            attempts=self.attempts,
            expected=self.expected,
            missing=tuple(self.missing),
            last_error=self.last_error,
        )


_WAITING, _HELD = text("state = 'waiting'"), text("lease_owner IS NOT NULL")
Index(
    "ix_retrievals_due",  # claim_retrieval()
    RetrievalRow.state,
    RetrievalRow.next_attempt_at,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
Index(  # renew_leases(), give_back()
    "ix_retrievals_lease_owner", RetrievalRow.lease_owner, sqlite_where=_HELD, postgresql_where=_HELD
)
