"""The audit events that the worklist's own changes carry. Pure; no patient name or identifier goes in."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.commitment import CommitmentRequest, reason_in_words
from triage_agent.domain.decision import Decision, Delivery, Flag, ShadowResult, Shipment
from triage_agent.domain.ports import Registered
from triage_agent.domain.retrieval import Retrieval, RetrievalState
from triage_agent.domain.study import ReceivedInstance
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, Event, Priority, Status
from triage_agent.domain.withdrawal import RejectionReason

AGENT = "triage-agent"
"""The actor where nobody in particular acted: a rule did."""

_RECEIVED = {
    Registered.NEW: AuditAction.INSTANCE_RECEIVED,
    Registered.DUPLICATE: AuditAction.INSTANCE_DUPLICATE,
    Registered.CONFLICT: AuditAction.INSTANCE_CONFLICT,
}


def instance_received(received: ReceivedInstance, found: Registered, study_instance_uid: str) -> AuditEvent:
    """An instance came; `study_instance_uid` is the study that has its SOP Instance UID."""
    detail: dict[str, object] = {
        "sop_instance_uid": received.header.sop_instance_uid,
        "sop_class_uid": received.header.sop_class_uid,
        "sha256": received.sha256,
        "size": received.size,
    }
    if received.header.study_instance_uid != study_instance_uid:
        detail["received_in_study"] = received.header.study_instance_uid
    return AuditEvent(
        at=received.received_at,
        action=_RECEIVED[found],
        actor=received.source,
        study_instance_uid=study_instance_uid,
        detail=detail,
    )


def instance_conflicts(received: ReceivedInstance, kept_in: str) -> AuditEvent:
    """The same as the study has it that the instance came for; `kept_in` is the one that has the instance."""
    event = instance_received(received, Registered.CONFLICT, received.header.study_instance_uid)
    return replace(event, detail={**event.detail, "kept_in_study": kept_in})


def status_changed(
    study_instance_uid: str,
    *,
    before: Status,
    after: Status,
    event: Event,
    revision: int,
    actor: str,
    at: datetime,
) -> AuditEvent:
    """A study moved on."""
    return AuditEvent(
        at=at,
        action=AuditAction.STATUS_CHANGED,
        actor=actor,
        study_instance_uid=study_instance_uid,
        detail={"from": before.value, "to": after.value, "event": event.value, "revision": revision},
    )


def priority_requested(received: ReceivedInstance, before: Priority, after: Priority) -> AuditEvent:
    """A later image's header asked for a higher priority than the study had."""
    return AuditEvent(
        at=received.received_at,
        action=AuditAction.PRIORITY_RAISED,
        actor=received.source,
        study_instance_uid=received.header.study_instance_uid,
        detail={"from": before.value, "to": after.value, "rule": "requested"},
    )


def priority_flagged(flag: Flag, before: Priority, at: datetime) -> AuditEvent:
    """One instance was enough to raise the study."""
    return AuditEvent(
        at=at,
        action=AuditAction.PRIORITY_RAISED,
        actor=AGENT,
        study_instance_uid=flag.study_instance_uid,
        detail={
            "from": before.value,
            "to": flag.priority.value,
            "rule": flag.rule,
            "rule_is_for": flag.why,
            "sop_instance_uid": flag.sop_instance_uid,
            "probability": flag.probability,
            "bundle": flag.model.label,
            "revision": flag.revision,
        },
    )


def priority_decided(decision: Decision, before: Priority, after: Priority, owner: str) -> AuditEvent:
    """The decision raised the study."""
    return AuditEvent(
        at=decision.decided_at,
        action=AuditAction.PRIORITY_RAISED,
        actor=owner,
        study_instance_uid=decision.study_instance_uid,
        detail={"from": before.value, "to": after.value, "rule": decision.rule, "revision": decision.revision},
    )


def decision_made(decision: Decision, owner: str) -> AuditEvent:
    """A revision has its result."""
    return AuditEvent(
        at=decision.decided_at,
        action=AuditAction.DECISION_MADE,
        actor=owner,
        study_instance_uid=decision.study_instance_uid,
        detail={
            "revision": decision.revision,
            "event": decision.event.value,
            "finding": decision.finding.value,
            "probability": decision.probability,
            "priority": decision.priority.value,
            "acr_category": decision.acr_category,
            "rule": decision.rule,
            "rule_is_for": decision.why,
            "routes": list(decision.routes),
            "bundle": decision.model.label,
            "bundle_digest": decision.model.digest,
        },
    )


def shadow_compared(study_instance_uid: str, revision: int, result: ShadowResult, at: datetime) -> AuditEvent:
    """A decision was compared with the shadow bundle; nothing follows from it."""
    return AuditEvent(
        at=at,
        action=AuditAction.SHADOW_COMPARED,
        actor=AGENT,
        study_instance_uid=study_instance_uid,
        detail={"revision": revision, "bundle": result.bundle, "agrees": result.agrees},
    )


def delivery_moved(action: AuditAction, delivery: Delivery, at: datetime, *, tried: bool = True) -> AuditEvent:
    """A delivery was sent, failed or died; the destination's words stay in the outbox, they may name a patient.

    Of what was not `tried` the destination knows nothing, which a reason tells.
    """
    reason = "outdone" if delivery.is_outdone else "not tried"
    return AuditEvent(
        at=at,
        action=action,
        actor=AGENT,
        study_instance_uid=delivery.study_instance_uid,
        detail={
            "kind": delivery.artifact.kind.value,
            "destination": delivery.destination,
            "uid": delivery.artifact.uid,
            "attempt": delivery.attempt,
            "revision": delivery.revision,
            **({"reason": reason} if delivery.is_outdone or not tried else {}),
        },
    )


def delivery_unrouted(
    study_instance_uid: str,
    *,
    kind: ArtifactKind,
    destination: str,
    uid: str,
    attempt: int,
    revision: int,
    at: datetime,
) -> AuditEvent:
    """A delivery is dead because no route leads to its destination any more."""
    return AuditEvent(
        at=at,
        action=AuditAction.DELIVERY_DEAD,
        actor=AGENT,
        study_instance_uid=study_instance_uid,
        detail={
            "kind": kind.value,
            "destination": destination,
            "uid": uid,
            "attempt": attempt,
            "revision": revision,
            "reason": "no route",
        },
    )


def originals_deleted(study_instance_uid: str, instances: int, at: datetime) -> AuditEvent:
    """The files of a study's instances are deleted, as the site's retention wants it."""
    return AuditEvent(
        at=at,
        action=AuditAction.ORIGINALS_DELETED,
        actor=AGENT,
        study_instance_uid=study_instance_uid,
        detail={"instances": instances},
    )


def retry_requested(study_instance_uid: str, *, deliveries: int, study: bool, actor: str, at: datetime) -> AuditEvent:
    """A person put something back to work."""
    return AuditEvent(
        at=at,
        action=AuditAction.RETRY_REQUESTED,
        actor=actor,
        study_instance_uid=study_instance_uid,
        detail={"deliveries": deliveries, "study": study},
    )


def delivery_committed(
    study_instance_uid: str, *, destination: str, uid: str, revision: int, at: datetime
) -> AuditEvent:
    """A destination has promised to keep what it was sent."""
    return AuditEvent(
        at=at,
        action=AuditAction.DELIVERY_COMMITTED,
        actor=destination,
        study_instance_uid=study_instance_uid,
        detail={"destination": destination, "uid": uid, "revision": revision},
    )


def delivery_not_committed(
    study_instance_uid: str, *, destination: str, uid: str, revision: int, reason: int, dead: bool, at: datetime
) -> AuditEvent:
    """A destination does not keep what it was sent: it is sent again, or dead."""
    return AuditEvent(
        at=at,
        action=AuditAction.DELIVERY_DEAD if dead else AuditAction.DELIVERY_NOT_COMMITTED,
        actor=destination,
        study_instance_uid=study_instance_uid,
        detail={
            "destination": destination,
            "uid": uid,
            "revision": revision,
            "reason": f"not committed: {reason_in_words(reason)}",
        },
    )


def commitment_moved(action: AuditAction, request: CommitmentRequest, at: datetime, **detail: int | bool) -> AuditEvent:
    """A peer's request for storage commitment came, was answered, or is dead."""
    return AuditEvent(
        at=at,
        action=action,
        actor=request.peer,
        detail={"transaction_uid": request.transaction_uid, "instances": len(request.references), **detail},
    )


def retrieval_requested(study_instance_uid: str, *, peer: str, actor: str, at: datetime) -> AuditEvent:
    """A study is to be fetched from a PACS."""
    return AuditEvent(
        at=at,
        action=AuditAction.RETRIEVAL_REQUESTED,
        actor=actor,
        study_instance_uid=study_instance_uid,
        detail={"peer": peer},
    )


def retrieval_ended(retrieval: Retrieval, *, state: RetrievalState, at: datetime) -> AuditEvent:
    """All that the PACS has is here, or it is not asked any more."""
    return AuditEvent(
        at=at,
        action=AuditAction.RETRIEVAL_ENDED,
        actor=retrieval.requested_by,
        study_instance_uid=retrieval.study_instance_uid,
        detail={"peer": retrieval.peer, "attempts": retrieval.attempt, "state": state.value},
    )


def results_withdrawn(
    study_instance_uid: str, notes: Sequence[Shipment], reason: RejectionReason, actor: str, at: datetime
) -> AuditEvent:
    """Somebody takes a study's objects back; the notes name which."""
    return AuditEvent(
        at=at,
        action=AuditAction.RESULTS_WITHDRAWN,
        actor=actor,
        study_instance_uid=study_instance_uid,
        detail={"reason": reason.value, "notes": [{"to": one.destination, "uid": one.artifact.uid} for one in notes]},
    )
