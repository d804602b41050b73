"""The outbox: results leave by it, at least once and in order (promise 5)."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.domain.decision import Artifact, Delivery, Shipment
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Priority, Status
from triage_agent.worklist import due, trail, unfilled
from triage_agent.worklist.chains import has_to_wait
from triage_agent.worklist.limits import delivery_failure, is_outdone
from triage_agent.worklist.rows import advance, append_audit, locked_study, word_is
from triage_agent.worklist.supersession import ARRIVED, Place, superseded
from triage_agent.worklist.tables import ArtifactRow, DecisionRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import changed

_Value = TypeVar("_Value")


def enqueue(
    session: Session,
    study_instance_uid: str,
    revision: int,
    shipments: Sequence[Shipment],
    now: datetime,
    *,
    of_decision: bool,
) -> None:
    """Put shipments into the outbox; what is there already under its UID and destination stays as it is."""
    for shipment in shipments:
        artifact_id = _keep_artifact(session, study_instance_uid, revision, shipment.artifact, now)
        known = select(OutboxRow.id).where(
            OutboxRow.artifact_id == artifact_id, OutboxRow.destination == shipment.destination
        )
        if (row := session.scalar(known)) is not None:
            if of_decision:
                session.execute(update(OutboxRow).where(OutboxRow.id == row).values(of_decision=True))
            continue
        values = {
            "artifact_id": artifact_id,
            "study_instance_uid": study_instance_uid,
            "revision": revision,
            "destination": shipment.destination,
            "of_decision": of_decision,
            "state": DeliveryState.PENDING,
            "attempts": 0,
            "next_attempt_at": now,
            "raises_to": shipment.raises_to,
            "kind": shipment.artifact.kind,
            "priority": _of_study(study_instance_uid, StudyRow.priority),
            "study_received_at": _of_study(study_instance_uid, StudyRow.received_at),
        }
        session.execute(insert(OutboxRow).values(values))


def _of_study(study_instance_uid: str, column: InstrumentedAttribute[_Value]) -> ScalarSelect[_Value]:
    return select(column).where(StudyRow.study_instance_uid == study_instance_uid).scalar_subquery()


def _keep_artifact(session: Session, study_instance_uid: str, revision: int, artifact: Artifact, now: datetime) -> int:
    known = session.scalar(
        select(ArtifactRow.id).where(
            ArtifactRow.study_instance_uid == study_instance_uid,
            ArtifactRow.revision == revision,
            ArtifactRow.uid == artifact.uid,
        )
    )
    if known is not None:
        return known
    row = ArtifactRow(
        study_instance_uid=study_instance_uid,
        revision=revision,
        kind=artifact.kind,
        uid=artifact.uid,
        body=artifact.body,
        header=artifact.header or None,
        summary=artifact.summary,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def last_artifact(
    session: Session, study_instance_uid: str, kind: ArtifactKind, before_revision: int
) -> Artifact | None:
    """See `Worklist.last_artifact`."""
    statement = (
        select(ArtifactRow)
        .where(
            ArtifactRow.study_instance_uid == study_instance_uid,
            ArtifactRow.kind == kind,
            ArtifactRow.revision < before_revision,
            ArtifactRow.withdrawn_at.is_(None),
            or_(ArtifactRow.body != b"", ArtifactRow.header.is_not(None)),  # else retention took all of it
        )
        .order_by(ArtifactRow.revision.desc(), ArtifactRow.id.desc())
        .limit(1)
    )
    row = session.scalars(statement).one_or_none()
    return None if row is None else artifact_of(row)


def results_of(
    session: Session, study_instance_uid: str, limit: int, kinds: Collection[ArtifactKind]
) -> Sequence[Artifact]:
    """See `Worklist.results_of`."""
    statement = (
        select(ArtifactRow)
        .where(
            ArtifactRow.study_instance_uid == study_instance_uid,
            ArtifactRow.kind.in_(kinds),
            ArtifactRow.withdrawn_at.is_(None),
            ArtifactRow.body != b"",  # retention took it
        )
        .order_by(ArtifactRow.revision.desc(), ArtifactRow.id.desc())
        .limit(limit)
    )
    return [artifact_of(row) for row in session.scalars(statement)]


def add_results(
    session: Session, study_instance_uid: str, revision: int, shipments: Sequence[Shipment], now: datetime
) -> bool:
    """See `Worklist.add_results`."""
    study = locked_study(session, study_instance_uid)
    if study is None or study.revision != revision or study.status not in {Status.DECIDED, Status.DELIVERED}:
        return False
    withdrawn = exists().where(
        ArtifactRow.study_instance_uid == study_instance_uid,
        ArtifactRow.revision == revision,
        ArtifactRow.kind == ArtifactKind.REJECTION,
    )
    if session.scalar(select(withdrawn)):
        return False
    enqueue(session, study_instance_uid, revision, shipments, now, of_decision=True)
    return True


def artifact_of(row: ArtifactRow) -> Artifact:
    """As the domain has it."""
    return Artifact(kind=row.kind, uid=row.uid, body=row.body, summary=row.summary, header=row.header or b"")


def claim_deliveries(
    session: Session, owner: str, now: datetime, lease: timedelta, limit: int, destinations: Sequence[str] | None
) -> Sequence[Delivery]:
    """See `Worklist.claim_deliveries`.

    A row waits for the earlier open rows of its chain (`chains`), so that a report never overtakes its flag.
    """
    numbers = _due(session, now, limit, destinations)
    if not numbers:
        return []
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(numbers))
        .values(
            state=DeliveryState.SENDING,
            attempts=OutboxRow.attempts + 1,
            lease_owner=owner,
            lease_until=now + lease,
        )
        .execution_options(synchronize_session=False)
    )
    claimed = (
        select(OutboxRow, ArtifactRow, StudyRow.priority)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .join(StudyRow, StudyRow.study_instance_uid == OutboxRow.study_instance_uid)
        .where(OutboxRow.id.in_(numbers))
        .execution_options(populate_existing=True)
    )
    found = {row.id: _delivery(row, artifact, priority) for row, artifact, priority in session.execute(claimed)}
    return [found[number] for number in numbers]


def _due(session: Session, now: datetime, limit: int, destinations: Sequence[str] | None) -> Sequence[int]:
    """The rows to send next, held, most urgent first.

    What waits is read off its index in that order, if anything of it is due; what a lost sender held are a few.
    """
    waiting, left = due.waiting(now), due.left(now)
    best_first = (OutboxRow.priority.desc(), OutboxRow.study_received_at, OutboxRow.id)
    found: list[tuple[Priority, datetime, int]] = []
    # Spelled so that no index of times serves: the planner would take that one and sort all that is due.
    in_order = and_(
        word_is(OutboxRow.state, DeliveryState.PENDING), func.coalesce(OutboxRow.next_attempt_at, now) <= now
    )
    there = due.at(destinations)
    unfilled.fill(session, there)
    for which, read_off in ((waiting, in_order), (left, left)):
        if session.scalar(select(OutboxRow.id).where(which, *there).limit(1)) is None:
            continue
        rows = select(OutboxRow.priority, OutboxRow.study_received_at, OutboxRow.id)
        rows = rows.where(read_off, *there, ~has_to_wait())
        held = rows.order_by(*best_first).limit(limit).with_for_update(skip_locked=True)
        for priority, received_at, number in session.execute(held):
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
    )


def delivery_sent(session: Session, delivery: Delivery, now: datetime, *, commit: bool) -> None:
    """See `Worklist.delivery_sent`.

    Sent is a fact, also when the lease ran out meanwhile and another sender took the row.
    """
    locked_study(session, delivery.study_instance_uid)
    commit = commit and not session.scalar(select(_is_withdrawn(delivery)))
    statement = (
        update(OutboxRow)
        .where(OutboxRow.id == delivery.delivery_id, OutboxRow.state.not_in(ARRIVED))
        .values(
            state=DeliveryState.SENT,
            sent_at=now,
            next_attempt_at=None,
            lease_owner=None,
            lease_until=None,
            last_error=None,
            transaction_uid=None,
            commit_at=now if commit else None,
            commit_asks=0,
        )
        .execution_options(synchronize_session=False)
    )
    if changed(session, statement) == 1:
        append_audit(session, trail.delivery_moved(AuditAction.DELIVERY_SENT, delivery, now))
        settle(session, delivery.study_instance_uid, now)


def _is_withdrawn(delivery: Delivery) -> ColumnElement[bool]:
    """Whether a rejection note to the same destination stands behind it: nobody is asked to keep what it withdraws."""
    return exists().where(
        OutboxRow.study_instance_uid == delivery.study_instance_uid,
        OutboxRow.destination == delivery.destination,
        OutboxRow.id > delivery.delivery_id,
        ArtifactRow.id == OutboxRow.artifact_id,
        ArtifactRow.kind == ArtifactKind.REJECTION,
    )


def delivery_failed(
    session: Session, delivery: Delivery, error: str, retry_at: datetime | None, now: datetime, *, tried: bool = True
) -> None:
    """See `Worklist.delivery_failed`; the failure of an attempt that another has followed changes nothing."""
    locked_study(session, delivery.study_instance_uid)
    before = session.scalar(select(OutboxRow.last_error).where(OutboxRow.id == delivery.delivery_id))
    statement = (
        update(OutboxRow)
        .where(
            OutboxRow.id == delivery.delivery_id,
            OutboxRow.state == DeliveryState.SENDING,
            OutboxRow.attempts == delivery.attempt,
        )
        .values(
            state=DeliveryState.DEAD if retry_at is None else DeliveryState.PENDING,
            next_attempt_at=retry_at,
            lease_owner=None,
            lease_until=None,
            last_error=error,
        )
        .execution_options(synchronize_session=False)
    )
    if changed(session, statement) == 1:
        if retry_at is None:
            append_audit(session, trail.delivery_moved(AuditAction.DELIVERY_DEAD, delivery, now, tried=tried))
        elif before is None or delivery.attempt == 1:
            append_audit(session, trail.delivery_moved(AuditAction.DELIVERY_FAILED, delivery, now))
        settle(session, delivery.study_instance_uid, now)


def make_due(session: Session, destination: str, now: datetime) -> int:
    """See `Worklist.make_due`."""
    statement = (
        update(OutboxRow)
        .where(
            word_is(OutboxRow.state, DeliveryState.PENDING),
            OutboxRow.destination == destination,
            OutboxRow.next_attempt_at > now,
        )
        .values(next_attempt_at=now)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement)


def settle(session: Session, study_instance_uid: str, now: datetime) -> None:
    """Bring a decided study in line with its outbox: delivered, or the reason why it is not.

    DELIVERED when the decision was told, which a rejection note does not do, or no route had anything to say of it, and
    every row of the revision, the flag's too, is sent or superseded. A study that is delivered stays so, and says why
    when something that was sent is dead after all.
    """
    study = locked_study(session, study_instance_uid)
    if study is None or study.status not in {Status.DECIDED, Status.DELIVERED}:
        return
    places = _places(session, study_instance_uid)
    past = superseded(places)
    rows = [place for place in places if place.revision == study.revision and place.number not in past]
    rows = [place for place in rows if not place.kind.is_evidence]  # a map costs itself alone
    arrived = all(row.state in ARRIVED for row in rows)
    if study.status is Status.DECIDED and arrived and (any(row.tells for row in rows) or _is_routed(session, study)):
        reason = _reason_of_decision(session, study)
        advance(
            session,
            study,
            Event.DELIVERED,
            actor=trail.AGENT,
            at=now,
            columns={"delivered_at": now, "status_reason": reason},
        )
        return
    dead = (
        select(ArtifactRow.kind, OutboxRow.destination, OutboxRow.last_error)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.id.in_([row.number for row in rows if row.state is DeliveryState.DEAD]))
        .order_by(OutboxRow.id)
        .limit(1)
    )
    failed = session.execute(dead).one_or_none()
    if failed is None:
        reason = _reason_of_decision(session, study)
    else:
        reason = delivery_failure(failed.kind, failed.destination, failed.last_error or "")
    if reason != study.status_reason:
        session.execute(
            update(StudyRow)
            .where(StudyRow.study_instance_uid == study_instance_uid)
            .values(status_reason=reason)
            .execution_options(synchronize_session=False)
        )


def superseded_rows(session: Session, study_instance_uid: str) -> frozenset[int]:
    """The ids of a study's dead rows that a later result has taken the place of."""
    return superseded(_places(session, study_instance_uid))


def _places(session: Session, study_instance_uid: str) -> list[Place]:
    statement = (
        select(OutboxRow, ArtifactRow.kind, StudyRow.priority)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .join(StudyRow, StudyRow.study_instance_uid == OutboxRow.study_instance_uid)
        .where(OutboxRow.study_instance_uid == study_instance_uid)
        .execution_options(populate_existing=True)
    )
    return [place_of(row, kind, priority) for row, kind, priority in session.execute(statement)]


def place_of(row: OutboxRow, kind: ArtifactKind, priority: Priority) -> Place:
    """What `superseded` has to know of a row, and of its study's priority."""
    return Place(
        number=row.id,
        revision=row.revision,
        of_decision=row.of_decision,
        kind=kind,
        destination=row.destination,
        state=row.state,
        is_outdone=is_outdone(row.raises_to, priority),
    )


def _is_routed(session: Session, study: StudyRow) -> bool:
    return bool(session.scalar(select(DecisionRow.routed).where(*_of_decision(study))))


def _of_decision(study: StudyRow) -> tuple[ColumnElement[bool], ...]:
    return (DecisionRow.study_instance_uid == study.study_instance_uid, DecisionRow.revision == study.revision)


def _reason_of_decision(session: Session, study: StudyRow) -> str | None:
    return session.scalar(select(DecisionRow.status_reason).where(*_of_decision(study))) or None
