"""What waits, asked of the indexes that loops use."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from triage_agent.domain.backlog import Backlog, Pending
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import DeliveryState, Status
from triage_agent.worklist.retrieval_row import RetrievalRow
from triage_agent.worklist.rows import status_is, word_is
from triage_agent.worklist.tables import ArtifactRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import Database


class SqlBacklogs:
    """The port `Backlogs` on a database."""

    _database: Database

    def backlog(self, now: datetime) -> Backlog:
        """See `Backlogs.backlog`."""
        return self._database.read(lambda session: _backlog(session, now))


def _backlog(session: Session, now: datetime) -> Backlog:
    ready, ready_since = session.execute(
        select(func.count(), func.min(StudyRow.last_received_at)).where(status_is(Status.READY))
    ).one()
    overdue, overdue_since = session.execute(
        select(func.count(), func.min(StudyRow.next_check_at)).where(
            status_is(Status.RECEIVING), StudyRow.next_check_at <= now
        )
    ).one()
    held = select(func.count()).where(status_is(Status.SCORING), StudyRow.lease_until > now)
    waiting = word_is(RetrievalRow.state, RetrievalState.WAITING)
    return Backlog(
        waiting=ready + overdue,
        since=min((at for at in (ready_since, overdue_since) if at is not None), default=None),
        held=session.scalar(held) or 0,
        pending=_pending(session),
        retrievals=session.scalar(select(func.count()).select_from(RetrievalRow).where(waiting)) or 0,
    )


def _pending(session: Session) -> Mapping[str, Pending]:
    """The oldest has the lowest number; only its artifact is looked at, since thousands may wait."""
    totals: dict[str, int] = {}
    oldest: dict[str, int] = {}
    for state in (DeliveryState.PENDING, DeliveryState.SENDING):
        statement = (
            select(OutboxRow.destination, func.count(), func.min(OutboxRow.id))
            .where(OutboxRow.state == state)
            .group_by(OutboxRow.destination)
        )
        for destination, number, first in session.execute(statement):
            totals[destination] = totals.get(destination, 0) + number
            oldest[destination] = min(first, oldest.get(destination, first))
    made = select(OutboxRow.destination, ArtifactRow.created_at).join(
        ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id
    )
    rows = session.execute(made.where(OutboxRow.id.in_(oldest.values()))) if oldest else ()
    return {destination: Pending(number=totals[destination], since=at) for destination, at in rows}
