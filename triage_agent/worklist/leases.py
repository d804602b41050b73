"""What is held goes back, and what failed is tried again."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.states import sources_of
from triage_agent.domain.vocabulary import DeliveryState, Event, Outcome, Status
from triage_agent.worklist import retrievals, trail
from triage_agent.worklist.limits import EXPIRED, GIVEN_BACK, PUT_BACK
from triage_agent.worklist.outbox import settle, superseded_rows
from triage_agent.worklist.retrieval_row import RetrievalRow
from triage_agent.worklist.rows import advance, append_audit, locked_study, status_is
from triage_agent.worklist.tables import InstanceRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import changed


def give_back(session: Session, owner: str, now: datetime, *, counted: bool) -> int:
    """See `Worklist.give_back`."""
    taken_back = 0 if counted else 1
    whose = StudyRow.lease_owner == owner
    studies = _release_studies(session, whose, GIVEN_BACK, owner, now, taken_back=taken_back, skip_locked=False)
    images = (
        update(InstanceRow)
        .where(InstanceRow.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, attempts=InstanceRow.attempts - taken_back)
        .execution_options(synchronize_session=False)
    )
    deliveries = (
        update(OutboxRow)
        .where(OutboxRow.lease_owner == owner, OutboxRow.state == DeliveryState.SENDING)
        .values(state=DeliveryState.PENDING, next_attempt_at=now, lease_owner=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    fetched = retrievals.give_back(session, owner, now, taken_back=taken_back)
    return studies + changed(session, images) + changed(session, deliveries) + fetched


def renew(session: Session, owner: str, now: datetime, lease: timedelta) -> int:
    """See `Worklist.renew_leases`; a lease that has run out is renewed too, unless somebody else took what it held."""
    held = (
        update(StudyRow).where(status_is(Status.SCORING), StudyRow.lease_owner == owner),
        update(InstanceRow).where(InstanceRow.lease_owner == owner),
        update(OutboxRow).where(OutboxRow.state == DeliveryState.SENDING, OutboxRow.lease_owner == owner),
        update(RetrievalRow).where(RetrievalRow.lease_owner == owner),
    )
    renewed = 0
    for statement in held:
        extended = statement.values(lease_until=now + lease).execution_options(synchronize_session=False)
        renewed += changed(session, extended)
    return renewed


def expire_leases(session: Session, now: datetime) -> int:
    """See `Worklist.expire_leases`; images and deliveries whose lease has run out are claimed again as they are."""
    return _release_studies(session, StudyRow.lease_until <= now, EXPIRED, trail.AGENT, now, skip_locked=True)


def _release_studies(
    session: Session,
    which: ColumnElement[bool],
    reason: str,
    actor: str,
    now: datetime,
    *,
    taken_back: int = 0,
    skip_locked: bool,
) -> int:
    """Studies that another transaction holds may be skipped only by who comes again: an owner gives back once."""
    held = (
        select(StudyRow)
        .where(status_is(Status.SCORING), which)
        .order_by(StudyRow.study_instance_uid)
        .with_for_update(skip_locked=skip_locked, key_share=True)
    )
    released = 0
    for study in session.scalars(held).all():
        columns = {"status_reason": reason, "attempts": study.attempts - taken_back}
        released += advance(session, study, Event.GIVEN_BACK, actor=actor, at=now, columns=columns)
    return released


def studies_to_retry(session: Session) -> list[str]:
    """The studies with a dead delivery, or that need a human."""
    dead = select(OutboxRow.study_instance_uid).where(OutboxRow.state == DeliveryState.DEAD)
    statement = (
        select(StudyRow.study_instance_uid)
        .where(or_(StudyRow.status == Status.NEEDS_HUMAN, StudyRow.study_instance_uid.in_(dead)))
        .order_by(StudyRow.priority.desc(), StudyRow.received_at, StudyRow.study_instance_uid)
    )
    return list(session.scalars(statement))


def retry_study(session: Session, study_instance_uid: str, actor: str, now: datetime) -> int:
    """See `Worklist.retry_study`.

    A study that goes back to READY does so as its next revision, so that what is sent of it gets UIDs of its own.
    What a later result has taken the place of stays dead: sent now it would stand in the place of that one.
    """
    study = locked_study(session, study_instance_uid)
    if study is None:
        return 0
    dead = (
        update(OutboxRow)
        .where(
            OutboxRow.study_instance_uid == study_instance_uid,
            OutboxRow.state == DeliveryState.DEAD,
            OutboxRow.id.not_in(superseded_rows(session, study_instance_uid)),
        )
        .values(state=DeliveryState.PENDING, attempts=0, next_attempt_at=now, commit_resends=0)
        .execution_options(synchronize_session=False)
    )
    deliveries = changed(session, dead)
    put_back = study.status in sources_of(Event.RETRIED) and _has_originals(session, study_instance_uid)
    if deliveries or put_back:
        event = trail.retry_requested(study_instance_uid, deliveries=deliveries, study=put_back, actor=actor, at=now)
        append_audit(session, event)
    if put_back:
        _forget_unscored(session, study_instance_uid)
        advance(
            session,
            study,
            Event.RETRIED,
            actor=actor,
            at=now,
            # Should images come before it is claimed, its waiting time is this revision's.
            columns={"status_reason": PUT_BACK, "first_received_at": now, "last_received_at": now, "asked": 0},
        )
    settle(session, study_instance_uid, now)
    return deliveries + put_back


def _has_originals(session: Session, study_instance_uid: str) -> bool:
    one = select(InstanceRow.sop_instance_uid).where(
        InstanceRow.study_instance_uid == study_instance_uid, InstanceRow.original_deleted_at.is_(None)
    )
    return session.scalar(one.limit(1)) is not None


def _forget_unscored(session: Session, study_instance_uid: str) -> None:
    """What failed is tried again; what was skipped too, since the site may have changed what it wants scored."""
    session.execute(
        update(InstanceRow)
        .where(
            InstanceRow.study_instance_uid == study_instance_uid,
            InstanceRow.original_deleted_at.is_(None),
            or_(InstanceRow.outcome.is_(None), InstanceRow.outcome != Outcome.SCORED),
        )
        .values(
            outcome=None,
            reason=None,
            anatomy=None,
            seen_anatomy=None,
            anatomy_from_image=None,
            bundle_digest=None,
            shadow_probability=None,
            shadow_digest=None,
            assessed_at=None,
            lease_owner=None,
            lease_until=None,
            attempts=0,
        )
        .execution_options(synchronize_session=False)
    )
