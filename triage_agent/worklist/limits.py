"""Rules that the SQL worklist and its in-memory twin share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.commitment import reason_in_words
from triage_agent.domain.decision import Shipment
from triage_agent.domain.reading import name_keys, search_key
from triage_agent.domain.states import CONCLUDED
from triage_agent.domain.study import Assessment, InstanceHeader
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, Event, Outcome, Priority, Status

MAX_ATTEMPTS = 3
"""How often one image is leased without a result before it is left for its study's decision."""

_SEARCHED = {"patient_id": "patient_key", "accession_number": "accession_key"}
_CONCLUSIONS = frozenset({Event.DECIDED, Event.EXCLUDED, Event.FAILED})


def require_conclusion(event: Event) -> None:
    """Refuse a decision whose event is not one.

    Raises:
        ValueError: it would move the study somewhere a decision does not lead.
    """
    if event not in _CONCLUSIONS:
        raise ValueError(f"a decision's event is one of {sorted(_CONCLUSIONS)}, not {event}")


def not_lowering(shipments: Sequence[Shipment], priority: Priority) -> list[Shipment]:
    """Shipments without those that would ask for less than the study's priority, which rose while it was decided."""
    return [one for one in shipments if not is_outdone(one.raises_to, priority)]


def is_outdone(raises_to: Priority | None, priority: Priority) -> bool:
    """Whether what asks for a raise would lower a study of this priority."""
    return raises_to is not None and raises_to.rank < priority.rank


def assessment_on_arrival(header: InstanceHeader, status: Status) -> Assessment | None:
    """What is no radiograph and comes when its study has been claimed to be decided, or later, is skipped at once.

    Nobody would look at it any more, and every instance has its reason (promise 2).
    """
    if header.event is Event.IMAGE_RECEIVED or status not in CONCLUDED | {Status.SCORING}:
        return None
    return Assessment(sop_instance_uid=header.sop_instance_uid, outcome=Outcome.SKIPPED, reason=_LATE)


def patient_with(
    patient_id: str | None, patient_name: str | None, header: InstanceHeader
) -> tuple[str | None, str | None]:
    """A study's Patient ID and name when an instance comes for it: both of the first header that states an ID.

    Until one does, those of the first header. Never the name of one header with the ID of another.
    """
    if patient_id or not header.patient_id:
        return patient_id, patient_name
    return header.patient_id, header.patient_name or None


def conflict_with(known: str | None, sop_instance_uid: str, kept_in: str) -> str:
    """What is told of a study one of whose instances `kept_in` has: of the first such instance, and that others are."""
    told = (
        f"instance {sop_instance_uid} came with other bytes than in study {kept_in}, where it is kept; "
        "this copy is in quarantine"
    )
    if known is None or known.startswith(told):
        return known or told
    return known if known.endswith(_MORE) else known + _MORE


def conflicts_told(audit: Iterable[AuditEvent]) -> tuple[str, ...]:
    """What is told of a study some of whose own instances came again with other bytes: at most one line."""
    instances = {
        event.detail.get("sop_instance_uid")
        for event in audit
        if event.action is AuditAction.INSTANCE_CONFLICT
        and not event.detail.keys() & {"kept_in_study", "received_in_study"}
    }
    if not instances:
        return ()
    if len(instances) == 1:
        return ("an instance came again with other bytes: what came first counts, the other is in quarantine",)
    return (
        f"{len(instances)} instances came again with other bytes: what came first counts, the others are in quarantine",
    )


def shown_reason(status_reason: str | None, conflict: str | None) -> str | None:
    """The reason on the list: a conflict stays on it, whatever else becomes of the study."""
    if conflict is None or (status_reason and conflict in status_reason):
        return status_reason
    return f"{status_reason}; {conflict}" if status_reason else conflict


def delivery_failure(kind: ArtifactKind, destination: str, error: str) -> str:
    """What the worklist says of a study whose delivery failed for good."""
    return f"delivery of {kind} to {destination} failed: {error}"


def not_committed(reason: int) -> str:
    """Why a delivery whose destination does not keep it is sent again, or dead."""
    return f"stored, but not committed: {reason_in_words(reason)}"


def unanswered_commitment(asks: int) -> str:
    """What a delivery says that its destination was asked about in vain."""
    return f"stored; asked {asks} times whether it is kept (storage commitment), without an answer"


def no_route(destination: str) -> str:
    """Why a delivery to a destination that the configuration has no more is dead."""
    return f"no route to {destination} any more; bring it back and retry"


# Why an object is not assessed, and why a study waits for a worker, as the worklist says it.
_LATE = "not a radiograph, by its SOP class; it came when its study had been scored"
_MORE = "; so did others, see its audit trail"
GIVEN_BACK = "given back by its worker"
EXPIRED = "its worker did not finish in time"
PUT_BACK = "put back to work by a person"


def with_keys(columns: Mapping[str, object]) -> dict[str, object]:
    """Columns of a study, and with those that a search looks at what it looks for."""
    keys = {
        key: search_key(cast("str | None", columns[column])) for column, key in _SEARCHED.items() if column in columns
    }
    names = name_keys(cast("str | None", columns["patient_name"])) if "patient_name" in columns else {}
    return {**columns, **keys, **names}
