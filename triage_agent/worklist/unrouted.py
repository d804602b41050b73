"""Deliveries to destinations that the configuration has no more."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist import trail
from triage_agent.worklist.chains import OPEN
from triage_agent.worklist.limits import no_route
from triage_agent.worklist.outbox import settle
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import ArtifactRow, OutboxRow


def studies(session: Session, destinations: Collection[str]) -> list[str]:
    """The studies of which something waits to be sent to none of `destinations`."""
    statement = select(OutboxRow.study_instance_uid).where(_waits_elsewhere(destinations)).distinct()
    return sorted(session.scalars(statement))


def bury(session: Session, study_instance_uid: str, destinations: Collection[str], now: datetime) -> int:
    """See `Worklist.bury_unrouted`, for one study."""
    locked_study(session, study_instance_uid)
    waiting = session.execute(
        select(OutboxRow, ArtifactRow.kind, ArtifactRow.uid)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.study_instance_uid == study_instance_uid, _waits_elsewhere(destinations))
        .order_by(OutboxRow.id)
        .with_for_update(of=OutboxRow)
    ).all()
    for row, kind, uid in waiting:
        session.execute(
            update(OutboxRow)
            .where(OutboxRow.id == row.id)
            .values(
                state=DeliveryState.DEAD,
                next_attempt_at=None,
                lease_owner=None,
                lease_until=None,
                last_error=no_route(row.destination),
            )
            .execution_options(synchronize_session=False)
        )
        event = trail.delivery_unrouted(
            study_instance_uid,
            kind=kind,
            destination=row.destination,
            uid=uid,
            attempt=row.attempts,
            revision=row.revision,
            at=now,
        )
        append_audit(session, event)
    settle(session, study_instance_uid, now)
    return len(waiting)


def _waits_elsewhere(destinations: Collection[str]) -> ColumnElement[bool]:
    return and_(OutboxRow.state.in_(OPEN), OutboxRow.destination.not_in(list(destinations)))
