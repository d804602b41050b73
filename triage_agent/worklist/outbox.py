"""The outbox: results leave by it, at least once and in order (promise 5)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.domain.decision import Artifact, Delivery, Shipment
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Priority, Status
from triage_agent.worklist import trail
from triage_agent.worklist.limits import delivery_failure, is_outdone
from triage_agent.worklist.rows import advance, append_audit, locked_study, word_is
from triage_agent.worklist.statements import OF, is_asked, put, table_of, update_where
from triage_agent.worklist.supersession import ARRIVED, Place, superseded
from triage_agent.worklist.tables import ArtifactRow, DecisionRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import changed

_Value = TypeVar("_Value")


def _of_study(column: InstrumentedAttribute[_Value]) -> ScalarSelect[_Value]:
    return select(column).where(is_asked(StudyRow.study_instance_uid)).scalar_subquery()


_QUEUE = insert(table_of(OutboxRow)).values(
    priority=_of_study(StudyRow.priority), study_received_at=_of_study(StudyRow.received_at)
)
_ARTIFACT = select(ArtifactRow.id).where(
    is_asked(ArtifactRow.study_instance_uid),
    is_asked(ArtifactRow.revision, "its_revision"),
    is_asked(ArtifactRow.uid, "its_uid"),
)


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
        artifact_id, is_new = _keep_artifact(session, study_instance_uid, revision, shipment.artifact, now)
        if not is_new and _is_queued(session, artifact_id, shipment.destination, of_decision=of_decision):
            continue
        values = {
            OF: study_instance_uid,
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
        }
        session.execute(_QUEUE, values)


def _is_queued(session: Session, artifact_id: int, destination: str, *, of_decision: bool) -> bool:
    known = select(OutboxRow.id).where(OutboxRow.artifact_id == artifact_id, OutboxRow.destination == destination)
    row = session.scalar(known)
    if row is not None and of_decision:
        session.execute(update(OutboxRow).where(OutboxRow.id == row).values(of_decision=True))
    return row is not None


def _keep_artifact(
    session: Session, study_instance_uid: str, revision: int, artifact: Artifact, now: datetime
) -> tuple[int, bool]:
    """Its number, and whether it is new."""
    asked = {OF: study_instance_uid, "its_revision": revision, "its_uid": artifact.uid}
    if (known := session.scalar(_ARTIFACT, asked)) is not None:
        return known, False
    values = {
        "study_instance_uid": study_instance_uid,
        "revision": revision,
        "kind": artifact.kind,
        "uid": artifact.uid,
        "body": artifact.body,
        "header": artifact.header or None,
        "summary": artifact.summary,
        "created_at": now,
    }
    return put(session, ArtifactRow, values), True


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


_SEND = update_where(OutboxRow, id="delivery").where(table_of(OutboxRow).c.state.not_in(ARRIVED))


def delivery_sent(session: Session, delivery: Delivery, now: datetime, *, commit: bool) -> None:
    """See `Worklist.delivery_sent`.

    Sent is a fact, also when the lease ran out meanwhile and another sender took the row.
    """
    study = locked_study(session, delivery.study_instance_uid)
    commit = commit and not session.scalar(select(_is_withdrawn(delivery)))
    values = {
        "delivery": delivery.delivery_id,
        "state": DeliveryState.SENT,
        "sent_at": now,
        "next_attempt_at": None,
        "lease_owner": None,
        "lease_until": None,
        "last_error": None,
        "transaction_uid": None,
        "commit_at": now if commit else None,
        "commit_asks": 0,
    }
    if changed(session, _SEND, values) == 1:
        append_audit(session, trail.delivery_moved(AuditAction.DELIVERY_SENT, delivery, now))
        _settle(session, study, now)


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
    _settle(session, locked_study(session, study_instance_uid), now)


def _settle(session: Session, study: StudyRow | None, now: datetime) -> None:
    """`study` is held, and as it is now."""
    if study is None or study.status not in {Status.DECIDED, Status.DELIVERED}:
        return
    places = _places(session, study.study_instance_uid)
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
    reason = _first_failure(session, [row.number for row in rows if row.state is DeliveryState.DEAD])
    if reason is None:
        reason = _reason_of_decision(session, study)
    if reason != study.status_reason:
        session.execute(_SAY, {OF: study.study_instance_uid, "status_reason": reason})


_SAY = update_where(StudyRow, study_instance_uid=OF)


def _first_failure(session: Session, dead: Sequence[int]) -> str | None:
    if not dead:
        return None
    row = (
        select(ArtifactRow.kind, OutboxRow.destination, OutboxRow.last_error)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.id == min(dead))
    )
    kind, destination, error = session.execute(row).one()
    return delivery_failure(kind, destination, error or "")


def superseded_rows(session: Session, study_instance_uid: str) -> frozenset[int]:
    """The ids of a study's dead rows that a later result has taken the place of."""
    return superseded(_places(session, study_instance_uid))


def _places(session: Session, study_instance_uid: str) -> list[Place]:
    found = session.execute(_PLACES, {OF: study_instance_uid})
    return [place_of(row, kind, priority) for row, kind, priority in found]


_PLACES = (
    select(OutboxRow, ArtifactRow.kind, StudyRow.priority)
    .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
    .join(StudyRow, StudyRow.study_instance_uid == OutboxRow.study_instance_uid)
    .where(is_asked(OutboxRow.study_instance_uid))
    .execution_options(populate_existing=True)
)
_OF_DECISION = (is_asked(DecisionRow.study_instance_uid), is_asked(DecisionRow.revision, "its_revision"))
_ROUTED = select(DecisionRow.routed).where(*_OF_DECISION)
_REASON = select(DecisionRow.status_reason).where(*_OF_DECISION)


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
    return bool(session.scalar(_ROUTED, _decision_of(study)))


def _decision_of(study: StudyRow) -> dict[str, object]:
    return {OF: study.study_instance_uid, "its_revision": study.revision}


def _reason_of_decision(session: Session, study: StudyRow) -> str | None:
    return session.scalar(_REASON, _decision_of(study)) or None
