"""What is sent next: found by its place in the queue, and held by whoever sends it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from triage_agent.domain.decision import Delivery
from triage_agent.domain.vocabulary import DeliveryState, Priority
from triage_agent.worklist import unfilled
from triage_agent.worklist.chains import has_to_wait
from triage_agent.worklist.limits import is_outdone
from triage_agent.worklist.outbox import artifact_of
from triage_agent.worklist.rows import word_is
from triage_agent.worklist.statements import table_of
from triage_agent.worklist.tables import ArtifactRow, OutboxRow, StudyRow

_OUTBOX = table_of(OutboxRow)
_TAKE = (
    update(_OUTBOX)
    .where(_OUTBOX.c.id.in_(bindparam("those", expanding=True)))
    .values(
        state=DeliveryState.SENDING,
        attempts=_OUTBOX.c.attempts + 1,
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
    )
)
_CLAIMED = (
    select(OutboxRow, ArtifactRow, StudyRow.priority)
    .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
    .join(StudyRow, StudyRow.study_instance_uid == OutboxRow.study_instance_uid)
    .where(OutboxRow.id.in_(bindparam("those", expanding=True)))
    .execution_options(populate_existing=True)
)


def claim_deliveries(
    session: Session, owner: str, now: datetime, lease: timedelta, limit: int, destinations: Sequence[str] | None
) -> Sequence[Delivery]:
    """See `Worklist.claim_deliveries`.

    A row waits for the earlier open rows of its chain (`chains`), so that a report never overtakes its flag.
    """
    numbers = _due(session, now, limit, destinations)
    if not numbers:
        return []
    session.execute(_TAKE, {"those": numbers, "owner": owner, "until": now + lease})
    claimed = session.execute(_CLAIMED, {"those": numbers})
    found = {row.id: _delivery(row, artifact, priority) for row, artifact, priority in claimed}
    return [found[number] for number in numbers]


@dataclass(frozen=True)
class _Looks:
    """What finds the rows to send next; made once, since it is asked all the time.

    Attributes:
        there: Which destinations; its parameters are `destination_0` and so on.
        any_due: Whether anything waits, and whether a lost sender held anything. `now` is its parameter.
        best: For the same, in the same order: the first `limit`, held.
    """

    there: tuple[ColumnElement[bool], ...]
    any_due: Select[bool, bool]
    best: tuple[Select[Priority | None, datetime | None, int], ...]


@cache
def _looks(destinations: int | None) -> _Looks:
    """For so many destinations, or for all.

    What waits is read off its index in the order of sending, if anything of it is due; what was held are a few.
    """
    row, now = OutboxRow, bindparam("now", type_=OutboxRow.next_attempt_at.type)
    numbered: list[BindParameter[str]] = [bindparam(f"destination_{number}") for number in range(destinations or 0)]
    there = () if destinations is None else (or_(false(), *(row.destination == one for one in numbered)),)
    waiting = and_(word_is(row.state, DeliveryState.PENDING), row.next_attempt_at <= now)
    left = and_(word_is(row.state, DeliveryState.SENDING), row.lease_until <= now)
    # Spelled so that no index of times serves: the planner would take that one and sort all that is due.
    in_order = and_(word_is(row.state, DeliveryState.PENDING), func.coalesce(row.next_attempt_at, now) <= now)
    best_first = (row.priority.desc(), row.study_received_at, row.id)
    rows = select(row.priority, row.study_received_at, row.id).where(*there, ~has_to_wait()).order_by(*best_first)
    rows = rows.limit(bindparam("limit", type_=Integer)).with_for_update(skip_locked=True)
    return _Looks(
        there=there,
        any_due=select(select(row.id).where(waiting, *there).exists(), select(row.id).where(left, *there).exists()),
        best=(rows.where(in_order), rows.where(left)),
    )


def any_due(session: Session, now: datetime, destinations: Sequence[str] | None) -> bool:
    """Whether `claim_deliveries` may find something; takes no lock."""
    looks, asked = _looks(_number_of(destinations)), _parameters(now, destinations)
    return any(session.execute(looks.any_due, asked).one())


def _parameters(now: datetime, destinations: Sequence[str] | None) -> dict[str, object]:
    return {"now": now} | {f"destination_{number}": one for number, one in enumerate(destinations or ())}


def _number_of(destinations: Sequence[str] | None) -> int | None:
    return None if destinations is None else len(destinations)


def _due(session: Session, now: datetime, limit: int, destinations: Sequence[str] | None) -> Sequence[int]:
    """The rows to send next, held, most urgent first."""
    looks, asked = _looks(_number_of(destinations)), _parameters(now, destinations)
    unfilled.fill(session, looks.there, asked)
    found: list[tuple[Priority, datetime, int]] = []
    for there_is, best in zip(session.execute(looks.any_due, asked).one(), looks.best, strict=True):
        if not there_is:
            continue
        for priority, received_at, number in session.execute(best, asked | {"limit": limit}):
            found.append((priority or Priority.ROUTINE, received_at or now, number))
    return [number for *_, number in sorted(found, key=lambda row: (-row[0].rank, *row[1:]))[:limit]]


def _delivery(row: OutboxRow, artifact: ArtifactRow, priority: Priority) -> Delivery:
    return Delivery(
        delivery_id=row.id,
        study_instance_uid=row.study_instance_uid,
        revision=row.revision,
        destination=row.destination,
        attempt=row.attempts,
        artifact=artifact_of(artifact),
        is_outdone=is_outdone(row.raises_to, priority),
        queued_at=artifact.created_at,
    )
