"""The tables of workitems (PS3.4 annex CC): their states, who subscribed to them, and what is to be told of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.domain.commitment import AnswerState
from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import StepState
from triage_agent.worklist.tables import _SURROGATE, Base
from triage_agent.worklist.types import FittedText, words

_AE_TITLE = 16  # PS3.5 section 6.2


class WorkitemRow(Base):
    """A workitem; what a study's says of the study is never copied here."""

    __tablename__ = "workitems"
    __table_args__ = (UniqueConstraint("study_instance_uid", "generation", name="uq_workitems_study"),)

    uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_instance_uid: Mapped[str | None] = mapped_column(ForeignKey("studies.study_instance_uid"))
    generation: Mapped[int]  # of the study's workitems: images that come after it was read open the next
    latest: Mapped[bool] = mapped_column(Boolean)
    revision: Mapped[int]  # the study's when this one was made, and when it ended
    state: Mapped[StepState] = mapped_column(words(StepState))
    transaction_uid: Mapped[str | None] = mapped_column(String(64))
    performer: Mapped[str | None] = mapped_column(FittedText(200))
    posted_by: Mapped[str | None] = mapped_column(FittedText(200))
    code: Mapped[str | None] = mapped_column(FittedText(16))  # of the scheduled work, where a peer posted it
    attributes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    modified_at: Mapped[datetime]
    # What was told last; a trigger marks a row as stale when its study changes.
    stale: Mapped[bool] = mapped_column(Boolean)
    told_priority: Mapped[Priority | None]  # of one that a peer posted, its own
    told_readiness: Mapped[str | None] = mapped_column(FittedText(24))


class SubscriptionRow(Base):
    """What one AE wants to be told of; ended ones stay, since the agent deletes nothing."""

    __tablename__ = "workitem_subscriptions"
    __table_args__ = (UniqueConstraint("subscriber", "target", name="uq_workitem_subscriptions_target"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    subscriber: Mapped[str] = mapped_column(FittedText(_AE_TITLE))
    target: Mapped[str] = mapped_column(String(64))  # a workitem's UID, or a well-known one
    keys: Mapped[dict[str, Any]]
    deletion_lock: Mapped[bool] = mapped_column(Boolean)
    subscribed_at: Mapped[datetime]
    suspended_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ReportRow(Base):
    """One report to one subscriber, until it is taken and after."""

    __tablename__ = "workitem_reports"

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    subscriber: Mapped[str] = mapped_column(FittedText(_AE_TITLE))
    workitem_uid: Mapped[str] = mapped_column(String(64))
    type: Mapped[int]
    information: Mapped[dict[str, Any]]
    state: Mapped[AnswerState]
    created_at: Mapped[datetime]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))


_WAITING = text("state = 'waiting'")
Index(  # tell_changes()
    "ix_workitems_stale", WorkitemRow.modified_at, sqlite_where=text("stale = 1"), postgresql_where=text("stale")
)
Index("ix_workitems_state", WorkitemRow.state)  # matching()
Index("ix_workitems_code", WorkitemRow.code, WorkitemRow.state)  # to_perform()
Index("ix_workitem_subscriptions_target", SubscriptionRow.target)  # who is told
Index(  # claim_reports()
    "ix_workitem_reports_due",
    ReportRow.state,
    ReportRow.subscriber,
    ReportRow.id,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
