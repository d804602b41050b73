"""Unified Procedure Steps (PS3.4 annex CC): what a workitem is, how its state moves, and what the worklist keeps of it.

Each study to read is a workitem, whose priority is always the study's own; peers may post others. What peers add to
one is kept as DICOM JSON (PS3.18 annex F), by tag.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Protocol

from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import Finding, Priority

GLOBAL = "1.2.840.10008.5.1.4.34.5"
"""Stands for every workitem in a subscription (PS3.4 section CC.2.3.1)."""

FILTERED = "1.2.840.10008.5.1.4.34.5.1"
"""Stands for every workitem that matches the keys of the subscription."""

PRIORITIES: Mapping[Priority, str] = {Priority.ROUTINE: "LOW", Priority.URGENT: "MEDIUM", Priority.STAT: "HIGH"}
"""Scheduled Procedure Step Priority (0074,1200), by ours (PS3.3 section C.30.2)."""


class StepState(StrEnum):
    """Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether nothing moves it any more."""
        return self in {StepState.COMPLETED, StepState.CANCELED}


class Readiness(StrEnum):
    """Input Readiness State (0040,4041)."""

    READY = "READY"
    INCOMPLETE = "INCOMPLETE"


class ReportType(IntEnum):
    """Event Type ID of a report to a subscriber (PS3.4 table CC.2.4-1)."""

    STATE = 1
    CANCEL_REQUESTED = 2
    PROGRESS = 3


class Verdict(IntEnum):
    """Statuses of the service (PS3.4 tables CC.2.1-2 to CC.2.7-1) beside PS3.7's own."""

    DONE = 0x0000
    DUPLICATE = 0x0111
    TOO_MUCH = 0x0213
    ALREADY_CANCELED = 0xB304
    COERCED = 0xB305
    ALREADY_COMPLETED = 0xB306
    NO_LONGER_UPDATED = 0xC300
    WRONG_TRANSACTION = 0xC301
    ALREADY_IN_PROGRESS = 0xC302
    ONLY_CREATED_SCHEDULED = 0xC303
    NOT_FINISHED = 0xC304
    UNKNOWN_WORKITEM = 0xC307
    NOT_IN_PROGRESS = 0xC310
    ALREADY_DONE = 0xC311
    PERFORMER_NOT_REACHED = 0xC312

    @property
    def changes(self) -> bool:
        """Whether what was asked for is done, not merely so already."""
        return self in {Verdict.DONE, Verdict.COERCED}


Attributes = Mapping[str, object]
"""DICOM JSON: eight hexadecimal digits to `{"vr": ..., "Value": [...]}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An object that a workitem refers to."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workitem:
    """A workitem as the worklist has it.

    Attributes:
        study: what is known of the study that is to be read; None for a workitem that a peer posted.
        performer: the AE title of who has claimed it; empty where nobody has.
        posted_by: the AE title of the peer that posted it; empty for a study's.
        attributes: what peers have set.
    """

    uid: str
    state: StepState
    created_at: datetime
    modified_at: datetime
    performer: str = ""
    posted_by: str = ""
    study: "ReadingTask | None" = None
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingTask:
    """What is to be read: the study as it stands on the worklist now.

    Attributes:
        inputs: its instances; empty where nobody asked for them.
        outputs: our reports that a destination has taken, as Part 10 files with that destination's name.
    """

    study_instance_uid: str
    priority: Priority
    priority_at_arrival: Priority
    readiness: Readiness
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    modality: str = ""
    anatomy: str = ""
    finding: Finding | None = None
    probability: float | None = None
    rule: str = ""
    bundle: str = ""
    inputs: tuple[Instance, ...] = ()
    outputs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkitemQuery:
    """What the database can choose workitems by; None where any will do."""

    uids: Collection[str] | None = None
    states: Collection[StepState] | None = None
    priorities: Collection[Priority] | None = None
    study_instance_uids: Collection[str] | None = None
    patient_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Something to tell a subscriber by N-EVENT-REPORT.

    Attributes:
        subscriber: its AE title.
        information: the event's attributes, as DICOM JSON.
        attempt: counts from 1.
    """

    report_id: int
    subscriber: str
    workitem_uid: str
    type: ReportType
    information: Attributes
    attempt: int


DETECTION = "110004"
"""Scheduled Workitem Code (DCM) of work for a computer (PS3.16 CID 9231)."""


def workitem_uid(study_instance_uid: str, generation: int = 1) -> str:
    """The workitem of reading a study; what comes after it was read is the next generation's."""
    return derive_uid("workitem", study_instance_uid, str(generation))


def judge_change(state: StepState, wanted: StepState, *, transaction: str, given: str, is_finished: bool) -> Verdict:
    """Whether a state may be changed so (PS3.4 table CC.1.1-2).

    Who claims what another has claimed is told so (C302H), whatever Transaction UID it brings.

    `transaction` is the Transaction UID of whoever claimed it, `given` that of whoever asks (empty where there is
    none); `is_finished` says whether the final state's requirements are met.
    """
    if wanted is StepState.SCHEDULED:
        return Verdict.ONLY_CREATED_SCHEDULED
    claims = wanted is StepState.IN_PROGRESS
    if not given or (state is not StepState.SCHEDULED and not claims and given != transaction):
        return Verdict.WRONG_TRANSACTION
    return _CLAIMS[state] if claims else _judge_end(state, wanted, is_finished=is_finished)


def _judge_end(state: StepState, wanted: StepState, *, is_finished: bool) -> Verdict:
    if state is StepState.SCHEDULED:
        return Verdict.NOT_IN_PROGRESS
    if state is wanted:
        return Verdict.ALREADY_COMPLETED if wanted is StepState.COMPLETED else Verdict.ALREADY_CANCELED
    if state.is_final:
        return Verdict.NO_LONGER_UPDATED
    return Verdict.DONE if is_finished else Verdict.NOT_FINISHED


_CLAIMS: Mapping[StepState, Verdict] = {
    StepState.SCHEDULED: Verdict.DONE,
    StepState.IN_PROGRESS: Verdict.ALREADY_IN_PROGRESS,
    StepState.COMPLETED: Verdict.NO_LONGER_UPDATED,
    StepState.CANCELED: Verdict.NO_LONGER_UPDATED,
}


def judge_update(state: StepState, *, transaction: str, given: str) -> Verdict:
    """Whether attributes may be set (PS3.4 section CC.2.6)."""
    if state.is_final:
        return Verdict.NO_LONGER_UPDATED
    if state is StepState.SCHEDULED:
        return Verdict.NOT_IN_PROGRESS if given else Verdict.DONE
    return Verdict.DONE if given and given == transaction else Verdict.WRONG_TRANSACTION


# PS3.4 table CC.2.5-3, final state codes P (completed) and X (canceled).
_PERFORMED = "00741216"
_OF_PERFORMED = ("00404028", "00404050", "00404019", "00404051")  # station, start, workitem code, end
_OUTPUT = "00404033"  # may be empty
_PROGRESS = "00741002"
_OF_CANCELED = ("00404052", "0074100E")  # when, and why in a code


def meets_final_state(attributes: Attributes, wanted: StepState) -> bool:
    """Whether what was performed, or why it was given up, is said as a final state wants it (PS3.4 CC.2.5.1.1)."""
    if wanted is StepState.COMPLETED:
        performed = first_item(attributes, _PERFORMED)
        return all(_has_value(performed, tag) for tag in _OF_PERFORMED) and _OUTPUT in performed
    progress = first_item(attributes, _PROGRESS)
    return all(_has_value(progress, tag) for tag in _OF_CANCELED)


def first_item(attributes: Attributes, tag: str) -> Attributes:
    """A sequence's first item; empty where there is none."""
    value = _values(attributes, tag)
    return value[0] if value and isinstance(value[0], Mapping) else {}


def items_of(attributes: Attributes, tag: str) -> Sequence[Attributes]:
    """A sequence's items."""
    return [item for item in _values(attributes, tag) if isinstance(item, Mapping)]


def text_at(attributes: Attributes, tag: str) -> str:
    """An element's first value as text; empty where there is none."""
    values = _values(attributes, tag)
    return str(values[0]) if values else ""


def _has_value(attributes: Attributes, tag: str) -> bool:
    return bool(_values(attributes, tag))


def _values(attributes: Attributes, tag: str) -> Sequence[object]:
    element = attributes.get(tag)
    value = element.get("Value") if isinstance(element, Mapping) else None
    return value if isinstance(value, list) else ()


class Workitems(Protocol):
    """What the worklist keeps of workitems; every method that reads as an order is one transaction.

    Reports to subscribers are put down in the transaction of what they tell of, and are sent until they are taken.
    Every method raises `WorklistUnavailableError` when the database is away.
    """

    def matching(self, query: WorkitemQuery, limit: int) -> Sequence[str]:
        """UIDs of workitems, best first: by priority, then age."""

    def workitems(self, uids: Sequence[str], *, objects: bool = False) -> Sequence[Workitem]:
        """Those of the workitems that are there, in that order; with `objects` also what they refer to."""

    def create(self, uid: str, attributes: Attributes, peer: str, now: datetime) -> Verdict:
        """A peer posts a workitem, SCHEDULED."""

    def change_state(self, uid: str, wanted: StepState, transaction_uid: str, peer: str, now: datetime) -> Verdict:
        """Claim, complete or cancel a workitem."""

    def update(self, uid: str, transaction_uid: str, attributes: Attributes, peer: str, now: datetime) -> Verdict:
        """Set attributes; those that are not a peer's to set are left out by the caller."""

    def request_cancel(self, uid: str, wish: Attributes, peer: str, now: datetime) -> Verdict:
        """Cancel what nobody has begun; ask the performer to, where somebody has."""

    def subscribe(self, subscriber: str, target: str, keys: Attributes, now: datetime, *, lock: bool) -> Verdict:
        """From now on tell an AE of a workitem, of all (`GLOBAL`), or of those that match `keys` (`FILTERED`)."""

    def unsubscribe(self, subscriber: str, target: str, now: datetime) -> Verdict:
        """Tell it no more; of `GLOBAL`, of nothing at all."""

    def suspend(self, subscriber: str, now: datetime) -> Verdict:
        """Go on telling an AE of the workitems that are there, and of no new one."""

    def to_perform(self, performer: str, limit: int) -> Sequence[Workitem]:
        """What peers have posted for us to compute: not begun, or claimed by us, most urgent first."""

    def tell_changes(self, now: datetime, limit: int) -> int:
        """Put down reports of what has changed in studies since they were told of last; returns how many changed."""

    def claim_reports(
        self, now: datetime, until: datetime, away: Collection[str], limit: int, among: Collection[str] | None = None
    ) -> Sequence[StepReport]:
        """What is to be told one subscriber that is not `away`, in its order; nobody else gets it before `until`.

        With `among` it is one of those.
        """

    def drop_reports(self, subscribers: Collection[str], before: datetime, now: datetime) -> int:
        """Tell these subscribers nothing any more that was to be told before then; returns how many reports."""

    def report_sent(self, report: StepReport, now: datetime, refusal: str = "") -> None:
        """The subscriber has been told; `refusal` is what it said where it did not want it."""

    def report_failed(self, report: StepReport, error: str, retry_at: datetime | None) -> None:
        """It was not told; try again then, or never when None."""
