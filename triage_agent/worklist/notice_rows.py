"""The tables of notices: which channel wants to be told of what, what each is told, and which routes fail."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from triage_agent.domain.notice import NoticeKind, NoticeState
from triage_agent.worklist.tables import _SURROGATE, Base
from triage_agent.worklist.types import FittedText, words


class WishRow(Base):
    """A channel wants to be told of a kind; what it does not want any more stays, since the agent deletes nothing."""

    __tablename__ = "notice_wishes"

    channel: Mapped[str] = mapped_column(FittedText(64), primary_key=True)
    kind: Mapped[NoticeKind] = mapped_column(words(NoticeKind), primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean)


class NoticeRow(Base):
    """One notice to one channel; with others of the same `message` it is sent at once."""

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("channel", "key", name="uq_notices_key"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    channel: Mapped[str] = mapped_column(FittedText(64))
    key: Mapped[str] = mapped_column(FittedText(300))
    kind: Mapped[NoticeKind] = mapped_column(words(NoticeKind))
    study_instance_uid: Mapped[str | None] = mapped_column(String(64))
    destination: Mapped[str | None] = mapped_column(FittedText(200))
    failing_since: Mapped[datetime | None]
    state: Mapped[NoticeState] = mapped_column(words(NoticeState))
    created_at: Mapped[datetime]
    message: Mapped[int | None] = mapped_column(BigInteger)  # the number of its first notice; null until it is gathered
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]  # of the message; while it is being sent, when another may try
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))


class RouteRow(Base):
    """A destination, and since when nothing was taken there though something was tried; null while all is well."""

    __tablename__ = "notice_routes"

    destination: Mapped[str] = mapped_column(FittedText(200), primary_key=True)
    failing_since: Mapped[datetime | None]


_WAITING, _ENDED = text("state = 'waiting'"), text("ended_at IS NOT NULL")
Index(  # waiting(), claim()
    "ix_notices_waiting",
    NoticeRow.state,
    NoticeRow.channel,
    NoticeRow.message,
    NoticeRow.id,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
Index("ix_notices_ended", NoticeRow.channel, NoticeRow.ended_at, sqlite_where=_ENDED, postgresql_where=_ENDED)  # sent
