"""What a merge of patients means for studies and orders, also for those that come after it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from triage_agent.domain.orders import MergedPatient, Message, OrderRecord, PatientUpdate
from triage_agent.domain.study import ReceivedInstance
from triage_agent.worklist.order_rules import with_patient

REISSUED = "its patient was merged with another: its results are made again"
"""What a study says meanwhile."""

LONGEST_CHAIN = 20  # of merges of merges; each is looked up by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Whose Patient ID another one is since, and which message said so."""

    into: PatientUpdate
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """Who a patient is now whose Patient ID was given up.

    Attributes:
        message: of the last merge.
    """

    merged: MergedPatient
    message: Message


def merged_again(known: MergedPatient | None, prior_ids: Sequence[str], into: PatientUpdate) -> MergedPatient:
    """Who a study's patient is after one more merge."""
    before = (*known.prior_ids, known.into.patient_id) if known else ()
    given_up = dict.fromkeys(one for one in (*before, *prior_ids) if one != into.patient_id)
    return MergedPatient(prior_ids=tuple(given_up), into=into)


def survivor_of(patient_id: str, look_up: Callable[[str], Merge | None]) -> Survivor | None:
    """Who that patient is by now; None where the Patient ID has not been given up.

    Args:
        patient_id: as an image or an order states it.
        look_up: whose a Patient ID has become by a merge; the patient's own where a later one took that back.
    """
    found: Survivor | None = None
    for _ in range(LONGEST_CHAIN):
        merge = look_up(patient_id) if patient_id else None
        if merge is None or merge.into.patient_id == patient_id:
            break
        merged = merged_again(found.merged if found else None, [patient_id], merge.into)
        found = Survivor(merged=merged, message=merge.message)
        patient_id = merge.into.patient_id
    return found


def now_named(received: ReceivedInstance, survivor: Survivor | None) -> ReceivedInstance:
    """The instance as if its header named who its patient is by now; what the merge did not say stays."""
    if survivor is None:
        return received
    into = survivor.merged.into
    name = received.header.patient_name if into.patient_name is None else into.patient_name
    return replace(received, header=replace(received.header, patient_id=into.patient_id, patient_name=name))


def order_now(order: OrderRecord, survivor: Survivor | None) -> OrderRecord:
    """An order that still states a Patient ID that was given up, with who its patient is by now."""
    return order if survivor is None else with_patient(order, survivor.merged.into)


def merge_as_json(merged: MergedPatient) -> dict[str, object]:
    """As it lies in the database."""
    return asdict(merged)


def merge_of_json(value: Mapping[str, Any] | None) -> MergedPatient | None:
    """As it was before."""
    if value is None:
        return None
    return MergedPatient(prior_ids=tuple(value["prior_ids"]), into=PatientUpdate(**value["into"]))
