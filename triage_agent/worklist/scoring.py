"""Workers take images and studies, and give back scores, flags and decisions."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.decision import Decision, Flag, Shipment
from triage_agent.domain.states import CONCLUDED, sources_of
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy
from triage_agent.domain.vocabulary import Event, Priority, Status
from triage_agent.worklist import trail
from triage_agent.worklist.circumstances import circumstances_of, told_of
from triage_agent.worklist.held import Reachable, image_is_reachable, study_is_reachable
from triage_agent.worklist.limits import MAX_ATTEMPTS, not_lowering, require_conclusion
from triage_agent.worklist.merge_rules import merge_of_json
from triage_agent.worklist.outbox import enqueue, settle
from triage_agent.worklist.retrievals import record_of
from triage_agent.worklist.rows import (
    advance,
    append_audit,
    instances_of,
    lease_is_free,
    locked_study,
    status_is,
    stored,
)
from triage_agent.worklist.statements import OF, put, table_of, update_where
from triage_agent.worklist.tables import DecisionRow, InstanceRow, StudyRow
from triage_agent.worklist.transactions import changed

_NOW = bindparam("now", type_=StudyRow.lease_until.type)
_FREE = (
    status_is(Status.RECEIVING),
    InstanceRow.outcome.is_(None),
    InstanceRow.attempts < MAX_ATTEMPTS,
    lease_is_free(InstanceRow.lease_until, _NOW),
)
# Ordered by keys alone: of thousands that wait, whole rows would be sorted for the few that are taken.
_IMAGES = (
    select(InstanceRow.sop_instance_uid)
    .join(StudyRow, StudyRow.study_instance_uid == InstanceRow.study_instance_uid)
    .where(*_FREE)
    .order_by(StudyRow.priority.desc(), InstanceRow.received_at, InstanceRow.sop_instance_uid)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True, of=InstanceRow)
)
_ANY_IMAGE = (
    select(InstanceRow.sop_instance_uid)
    .join(StudyRow, StudyRow.study_instance_uid == InstanceRow.study_instance_uid)
    .where(*_FREE)
    .limit(1)
)
_INSTANCES = table_of(InstanceRow)
_TAKE_IMAGES = (
    update(_INSTANCES)
    .where(_INSTANCES.c.sop_instance_uid.in_(bindparam("those", expanding=True)))
    .values(lease_owner=bindparam("owner"), lease_until=bindparam("until"), attempts=_INSTANCES.c.attempts + 1)
)
_TAKEN = (
    select(InstanceRow, StudyRow)
    .join(StudyRow, StudyRow.study_instance_uid == InstanceRow.study_instance_uid)
    .where(InstanceRow.sop_instance_uid.in_(bindparam("those", expanding=True)))
)
# Of a study that has just become complete an image may still be in another loop's hands: it would be scored twice.
_IN_HAND = (
    select(InstanceRow.sop_instance_uid)
    .where(
        InstanceRow.study_instance_uid == StudyRow.study_instance_uid,
        InstanceRow.outcome.is_(None),
        InstanceRow.lease_until > _NOW,
    )
    .correlate(StudyRow)
    .exists()
)
_READY = (
    select(StudyRow)
    .where(status_is(Status.READY), ~_IN_HAND)
    .order_by(StudyRow.priority.desc(), StudyRow.received_at, StudyRow.study_instance_uid)
    .limit(1)
    .with_for_update(skip_locked=True, key_share=True)
)
_ANY_READY = select(StudyRow.study_instance_uid).where(status_is(Status.READY), ~_IN_HAND).limit(1)
_RAISE = update_where(StudyRow, study_instance_uid=OF)
_ASSESS = update_where(InstanceRow, sop_instance_uid="image", study_instance_uid=OF)
_ASSESS_FIRST = _ASSESS.where(_INSTANCES.c.outcome.is_(None))


def any_image(session: Session, now: datetime) -> bool:
    """Whether `claim_images` may find something; takes no lock."""
    return session.scalar(_ANY_IMAGE, {"now": now}) is not None


def any_ready(session: Session, now: datetime) -> bool:
    """Whether `claim_study` may find something; takes no lock."""
    return session.scalar(_ANY_READY, {"now": now}) is not None


def claim_images(
    session: Session,
    owner: str,
    now: datetime,
    lease: timedelta,
    limit: int,
    reachable: Reachable | None = None,
) -> Sequence[ClaimedImage]:
    """See `Worklist.claim_images`."""
    candidates = _IMAGES if reachable is None else _IMAGES.where(image_is_reachable(reachable, now))
    taken = session.scalars(candidates, {"now": now, "most": limit}).all()
    if not taken:
        return []
    session.execute(_TAKE_IMAGES, {"those": taken, "owner": owner, "until": now + lease})
    found = sorted(session.execute(_TAKEN, {"those": taken}), key=lambda both: taken.index(both[0].sop_instance_uid))
    studies = {study.study_instance_uid: study for _, study in found}
    known = {uid: circumstances_of(session, study) for uid, study in studies.items()}
    return [
        ClaimedImage(
            study_instance_uid=row.study_instance_uid,
            revision=study.revision,
            priority=study.priority,
            instance=stored(row),
            known=known[row.study_instance_uid],
        )
        for row, study in found
    ]


def record_assessment(session: Session, claimed: ClaimedImage, assessment: Assessment, now: datetime) -> bool:
    """See `Worklist.record_assessment`."""
    return _write_assessment(session, claimed.study_instance_uid, assessment, now)


def raise_flag(
    session: Session, flag: Flag, shipments: Sequence[Shipment], now: datetime, assessment: Assessment | None = None
) -> bool:
    """See `Worklist.raise_flag`.

    A flag for an earlier revision raises too: its image is still the study's.
    """
    study = locked_study(session, flag.study_instance_uid)
    if assessment is not None:
        _write_assessment(session, flag.study_instance_uid, assessment, now)
    if study is None or flag.priority.rank <= study.priority.rank:
        return False
    values: dict[str, object] = {"priority": flag.priority, "flagged_at": study.flagged_at or flag.raised_at}
    if study.status not in CONCLUDED:  # no decision of this revision stands on the list
        values |= {
            "finding": None,
            "decided_at": None,
            "probability": flag.probability,
            "rule": flag.rule,
            "acr_category": flag.acr_category,
            "anatomy": flag.anatomy or study.anatomy,
            "bundle": flag.model.label,
            "reasons": list(flag.reasons),
        }
    session.execute(_RAISE, {OF: study.study_instance_uid, **values})
    append_audit(session, trail.priority_flagged(flag, study.priority, now))
    enqueue(session, flag.study_instance_uid, flag.revision, shipments, now, of_decision=False)
    return True


def claim_study(
    session: Session, owner: str, now: datetime, lease: timedelta, reachable: Reachable | None = None
) -> ClaimedStudy | None:
    """See `Worklist.claim_study`."""
    most_urgent = _READY if reachable is None else _READY.where(study_is_reachable(reachable, now))
    study = session.scalars(most_urgent, {"now": now}).one_or_none()
    if study is None:
        return None
    attempt = study.attempts + 1
    held = {"lease_owner": owner, "lease_until": now + lease, "attempts": attempt}
    if not advance(session, study, Event.CLAIMED, actor=owner, at=now, columns=held):
        return None
    instances, fetched = instances_of(session, study.study_instance_uid), record_of(session, study.study_instance_uid)
    return ClaimedStudy(
        study_instance_uid=study.study_instance_uid,
        revision=study.revision,
        priority=study.priority,
        attempt=attempt,
        instances=instances,
        shortfall=fetched.shortfall([one.sop_instance_uid for one in instances]) if fetched else "",
        lost=study.conflict,
        merged=merge_of_json(study.merged),
        known=circumstances_of(session, study),
        told=told_of(session, study.study_instance_uid),
    )


def decide(
    session: Session,
    decision: Decision,
    assessments: Sequence[Assessment],
    shipments: Sequence[Shipment],
    owner: str,
    *,
    routed: bool,
) -> bool:
    """See `Worklist.decide`."""
    require_conclusion(decision.event)
    uid = decision.study_instance_uid
    study = locked_study(session, uid)
    if study is None or study.status not in sources_of(decision.event):
        return False
    if (study.revision, study.lease_owner) != (decision.revision, owner):
        return False
    priority = study.priority.raised_to(decision.priority)
    shown = _on_the_list(study, decision, priority)
    if not advance(session, study, decision.event, actor=owner, at=decision.decided_at, columns=shown):
        return False
    append_audit(session, trail.decision_made(decision, owner))
    if priority is not study.priority:
        append_audit(session, trail.priority_decided(decision, study.priority, priority, owner))
    if assessments:  # one order of locks for all
        in_order = sorted(assessments, key=lambda each: each.sop_instance_uid)
        session.execute(_ASSESS, [_assessed(uid, one, decision.decided_at) for one in in_order])
    _insert_decision(session, decision, owner, routed=routed)
    enqueue(session, uid, decision.revision, not_lowering(shipments, priority), decision.decided_at, of_decision=True)
    settle(session, uid, decision.decided_at)
    return True


def _on_the_list(study: StudyRow, decision: Decision, priority: Priority) -> dict[str, object]:
    """What the list shows of a decision."""
    raised = priority is not study.priority
    return {
        "status_reason": decision.status_reason or None,
        "priority": priority,
        "flagged_at": study.flagged_at or (decision.decided_at if raised else None),
        "anatomy": decision.anatomy,
        "finding": decision.finding,
        "probability": decision.probability,
        "acr_category": decision.acr_category,
        "rule": decision.rule,
        "bundle": decision.model.label,
        "reasons": list(decision.reasons),
        "decided_at": decision.decided_at,
        "delivered_at": None,
    }


def _insert_decision(session: Session, decision: Decision, owner: str, *, routed: bool) -> None:
    values = {
        "study_instance_uid": decision.study_instance_uid,
        "revision": decision.revision,
        "event": decision.event,
        "finding": decision.finding,
        "probability": decision.probability,
        "priority": decision.priority,
        "acr_category": decision.acr_category,
        "rule": decision.rule,
        "reasons": list(decision.reasons),
        "status_reason": decision.status_reason,
        "anatomy": decision.anatomy,
        "model": asdict(decision.model),
        "decided_by": owner,
        "decided_at": decision.decided_at,
        "known": decision.known.as_json(),
        "routed": routed,
    }
    put(session, DecisionRow, values)


def _write_assessment(session: Session, study_instance_uid: str, assessment: Assessment, now: datetime) -> bool:
    values = _assessed(study_instance_uid, assessment, now)
    return changed(session, _ASSESS_FIRST, values) == 1


def _assessed(study_instance_uid: str, assessment: Assessment, now: datetime) -> dict[str, object]:
    return {
        "image": assessment.sop_instance_uid,
        OF: study_instance_uid,
        "outcome": assessment.outcome,
        "probability": assessment.probability,
        "reason": assessment.reason,
        "anatomy": assessment.anatomy,
        "seen_anatomy": assessment.seen_anatomy,
        "anatomy_from_image": assessment.anatomy_from_image,
        "bundle_digest": assessment.bundle_digest,
        "shadow_probability": assessment.shadow_probability,
        "shadow_digest": assessment.shadow_digest,
        "assessed_at": now,
        "lease_owner": None,
        "lease_until": None,
    }
