"""Orders and patients as a RIS tells of them, and what the worklist makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from triage_agent.domain.vocabulary import Priority


class OrderStatus(StrEnum):
    """Where an order is, as far as the RIS has said."""

    SCHEDULED = "scheduled"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Which message says something.

    Attributes:
        control_id: its MSH-10.
        sender: the application and facility that it names as its sender.
        written_at: when it says that it was made (MSH-7); None where it does not say so clearly.
    """

    control_id: str
    sender: str
    received_at: datetime
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one message says of one order: None where it says nothing, "" where it strikes something out.

    Attributes:
        patient_name: a PN value (PS3.5 section 6.2.1); so are the physicians'.
        patient_birth_date: YYYYMMDD; so is `scheduled_date`.
        patient_location: point of care, room, bed and facility, as far as they are named.
        patient_class: table 0004; "E" is the emergency department.
        scheduled_time: HHMMSS, in the site's own time.
    """

    placer_order_number: str | None = None
    filler_order_number: str | None = None
    accession_number: str | None = None
    study_instance_uid: str | None = None
    patient_id: str | None = None
    issuer_of_patient_id: str | None = None
    patient_name: str | None = None
    patient_birth_date: str | None = None
    patient_sex: str | None = None
    patient_class: str | None = None
    patient_location: str | None = None
    admission_id: str | None = None
    requested_procedure_id: str | None = None
    procedure_code: str | None = None
    procedure_coding_scheme: str | None = None
    procedure_description: str | None = None
    indication: str | None = None
    referring_physician: str | None = None
    ordering_physician: str | None = None
    scheduled_date: str | None = None
    scheduled_time: str | None = None
    scheduled_step_id: str | None = None
    scheduled_station_ae_title: str | None = None
    scheduled_station_name: str | None = None
    modality: str | None = None
    priority: Priority | None = None
    status: OrderStatus | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What it can be recognised by; empty where it cannot."""
        numbers = (self.placer_order_number, self.filler_order_number, self.accession_number, self.study_instance_uid)
        return tuple(number for number in numbers if number)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order as it is known; "" where nothing is. See `Order`.

    Attributes:
        order_id: 0 for a study that came without an order, described by what its headers say.
        priority: the order's, as the RIS said last; where a worklist is asked for, the higher of it and the study's.
        study_here: the study on the worklist that it is of; "" while none has come.
        control_id: of the last message that changed it.
        written_at: when the newest message about it was made; `priority_written_at`: that stated a priority.
    """

    order_id: int
    placer_order_number: str = ""
    filler_order_number: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    patient_class: str = ""
    patient_location: str = ""
    admission_id: str = ""
    requested_procedure_id: str = ""
    procedure_code: str = ""
    procedure_coding_scheme: str = ""
    procedure_description: str = ""
    indication: str = ""
    referring_physician: str = ""
    ordering_physician: str = ""
    scheduled_date: str = ""
    scheduled_time: str = ""
    scheduled_step_id: str = ""
    scheduled_station_ae_title: str = ""
    scheduled_station_name: str = ""
    modality: str = ""
    priority: Priority = Priority.ROUTINE
    status: OrderStatus = OrderStatus.SCHEDULED
    study_here: str = ""
    control_id: str = ""
    sender: str = ""
    received_at: datetime
    changed_at: datetime
    written_at: datetime | None = None
    priority_written_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientUpdate:
    """What a message says of a patient: None where it says nothing, "" where it strikes something out."""

    patient_id: str
    issuer_of_patient_id: str | None = None
    patient_name: str | None = None
    patient_birth_date: str | None = None
    patient_sex: str | None = None
    patient_class: str | None = None
    patient_location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPatient:
    """Who a study's patient turned out to be, after its images were made.

    Attributes:
        prior_ids: the Patient IDs that its images may carry and that are given up.
    """

    prior_ids: tuple[str, ...]
    into: PatientUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a worklist's rows can be looked up by; empty where anything will do.

    Attributes:
        scheduled_from, scheduled_to: YYYYMMDD, both included. A row without a date is never left out by them.
    """

    accession_number: str = ""
    patient_id: str = ""
    study_instance_uids: tuple[str, ...] = ()
    scheduled_from: str = ""
    scheduled_to: str = ""


class Orders(Protocol):
    """The part of the worklist that remembers orders; each method is one transaction."""

    def keep_orders(self, orders: Sequence[Order], message: Message) -> Sequence[OrderRecord]:
        """Make or change the orders of a message, all or none; returns them as they are then.

        The order's study, if it is here, is raised to the order's priority, and never lowered. The same message again
        changes nothing; one that its sender made before another that came already says only what is not known yet.
        """

    def update_patient(self, update: PatientUpdate, message: Message) -> int:
        """Write what is new about a patient to orders and studies; returns how many studies show it."""

    def merge_patient(
        self, prior_patient_ids: Sequence[str], into: PatientUpdate, message: Message, *, reissue: bool = False
    ) -> Sequence[str]:
        """The patients with these IDs are the one named: orders and studies show that one, and results name it.

        So do orders and images that come later and still state one of these IDs.

        A study that is being decided is begun again (REISSUED). With `reissue` so is one that has been decided, that
        needs a human, or that was told to be out of scope, of which all originals are there: its results are made
        again as its next revision.

        Returns:
            UIDs of the studies that were renamed; each has an audit event.
        """

    def merged_of(self, study_instance_uid: str) -> MergedPatient | None:
        """Whom what is told of a study is about; None where its images name the patient as he is called now."""

    def orders(self, *, limit: int = 100) -> Sequence[OrderRecord]:
        """What is known of orders, the last changed first."""

    def scheduled(
        self, narrowing: Narrowing, since: datetime, fits: Callable[[OrderRecord], bool], most: int
    ) -> Sequence[OrderRecord]:
        """What a modality worklist shows, best first: by priority, then age.

        Orders that were changed, or are scheduled, since then and not concluded, and all studies received since then,
        with their order where there is one.

        Args:
            narrowing: looked up in the database.
            since: how far back.
            fits: what else is asked for.
            most: how many to return at most.
        """
