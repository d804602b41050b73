"""What waits, asked of the indexes that loops use."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from triage_agent.domain.backlog import Backlog, Pending, Waiting
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import DeliveryState, Priority, Status
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
    by_priority = _waiting(session, now)
    held = select(func.count()).where(status_is(Status.SCORING), StudyRow.lease_until > now)
    waiting = word_is(RetrievalRow.state, RetrievalState.WAITING)
    return Backlog(
        waiting=sum(one.number for one in by_priority.values()),
        since=min((one.since for one in by_priority.values()), default=None),
        held=session.scalar(held) or 0,
        pending=_pending(session),
        retrievals=session.scalar(select(func.count()).select_from(RetrievalRow).where(waiting)) or 0,
        by_priority=by_priority,
        dead=_dead(session),
    )


def _waiting(session: Session, now: datetime) -> dict[Priority, Waiting]:
    """Studies that are ready, since their last image, and those whose look at completeness is overdue, since then."""
    ready = select(StudyRow.priority, func.count(), func.min(StudyRow.last_received_at)).where(status_is(Status.READY))
    overdue = select(StudyRow.priority, func.count(), func.min(StudyRow.next_check_at)).where(
        status_is(Status.RECEIVING), StudyRow.next_check_at <= now
    )
    found: dict[Priority, Waiting] = {}
    for statement in (ready, overdue):
        for priority, number, since in session.execute(statement.group_by(StudyRow.priority)):
            since_then = since or now  # never null: a group has rows, and these have a time
            known = found.get(priority, Waiting(number=0, since=since_then))
            found[priority] = Waiting(number=known.number + number, since=min(known.since, since_then))
    return found


def _dead(session: Session) -> dict[str, int]:
    statement = select(OutboxRow.destination, func.count().label("number")).where(
        word_is(OutboxRow.state, DeliveryState.DEAD)
    )
    return {row.destination: row.number for row in session.execute(statement.group_by(OutboxRow.destination))}


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
