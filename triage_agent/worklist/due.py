"""Which rows of the outbox are due: what waits for its time, and what a sender held that was lost."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.rows import word_is
from triage_agent.worklist.tables import OutboxRow


def waiting(now: datetime) -> ColumnElement[bool]:
    """Its time has come."""
    return and_(word_is(OutboxRow.state, DeliveryState.PENDING), OutboxRow.next_attempt_at <= now)


def left(now: datetime) -> ColumnElement[bool]:
    """Its sender's lease has run out."""
    return and_(word_is(OutboxRow.state, DeliveryState.SENDING), OutboxRow.lease_until <= now)


def at(destinations: Sequence[str] | None) -> list[ColumnElement[bool]]:
    """Of these destinations, or of all."""
    return [] if destinations is None else [OutboxRow.destination.in_(destinations)]


def any_due(session: Session, now: datetime, destinations: Sequence[str] | None) -> bool:
    """Whether there may be something for `claim_deliveries`: some of it may have to wait for something else."""
    there = at(destinations)
    kinds = (select(OutboxRow.id).where(which, *there).limit(1) for which in (waiting(now), left(now)))
    return any(session.scalar(kind) is not None for kind in kinds)
