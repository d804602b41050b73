"""Modality Worklist as provider (PS3.4 annex K): what is known of orders, with the priority as it was raised."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND

from triage_agent.dimse.commitment_data import read_short_data_set
from triage_agent.dimse.peers import QUERY
from triage_agent.dimse.services import Serve
from triage_agent.dimse.statuses import comment_on
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.orders import Narrowing, OrderRecord
from triage_agent.domain.ports import Clock
from triage_agent.domain.quiet import quiet
from triage_agent.domain.vocabulary import Priority
from triage_agent.matching.query import Known, Query, Shape, encodings_of, read_query, texts_of

log = structlog.get_logger(__name__)

MODALITY_WORKLIST = UID("1.2.840.10008.5.1.4.31")

# PS3.4 table K.4.1-2 (section K.4.1.1.4).
SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_WITHOUT_SOME_KEYS = 0xFF01
CANCELLED = 0xFE00
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
UNABLE_TO_PROCESS = 0xC001

_PENDING = frozenset({PENDING, PENDING_WITHOUT_SOME_KEYS})
_MOST_WAITING = 16  # answers that the peer has not read yet; a C-CANCEL is seen between two answers

_CODE: Shape = {"CodeValue": None, "CodingSchemeDesignator": None, "CodeMeaning": None}
_STEP: Shape = {
    "ScheduledStationAETitle": None,
    "ScheduledStationName": None,
    "ScheduledProcedureStepLocation": None,
    "ScheduledProcedureStepStartDate": None,
    "ScheduledProcedureStepStartTime": None,
    "Modality": None,
    "ScheduledPerformingPhysicianName": None,
    "ScheduledProcedureStepDescription": None,
    "ScheduledProcedureStepID": None,
    "ScheduledProtocolCodeSequence": _CODE,
    "ScheduledProcedureStepStatus": None,
    "PreMedication": None,
    "RequestedContrastAgent": None,
}
SHAPE: Shape = {
    "AccessionNumber": None,
    "ReferringPhysicianName": None,
    "RequestingPhysician": None,
    "PatientName": None,
    "PatientID": None,
    "IssuerOfPatientID": None,
    "PatientBirthDate": None,
    "PatientSex": None,
    "PatientWeight": None,
    "MedicalAlerts": None,
    "Allergies": None,
    "PregnancyStatus": None,
    "SpecialNeeds": None,
    "PatientState": None,
    "ConfidentialityConstraintOnPatientDataDescription": None,
    "AdmissionID": None,
    "CurrentPatientLocation": None,
    "StudyInstanceUID": None,
    "ReferencedStudySequence": {"ReferencedSOPClassUID": None, "ReferencedSOPInstanceUID": None},
    "ReferencedPatientSequence": {"ReferencedSOPClassUID": None, "ReferencedSOPInstanceUID": None},
    "RequestedProcedureID": None,
    "RequestedProcedureDescription": None,
    "RequestedProcedureCodeSequence": _CODE,
    "RequestedProcedurePriority": None,
    "ReasonForTheRequestedProcedure": None,
    "PatientTransportArrangements": None,
    "PlacerOrderNumberImagingServiceRequest": None,
    "FillerOrderNumberImagingServiceRequest": None,
    "ScheduledProcedureStepSequence": _STEP,
}
"""PS3.4 table K.6-1, as far as orders and headers tell of it; the rest of its type 2 keys is known to be empty."""

TOGETHER = (("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"),)
"""Two ranges that mean one period: "July 5 to 7" and "10 to 18 h" begin on the 5th at 10 and end on the 7th at 18."""

_PRIORITIES: Mapping[Priority, str] = MappingProxyType(
    {Priority.ROUTINE: "ROUTINE", Priority.URGENT: "HIGH", Priority.STAT: "STAT"}  # PS3.3 section C.4.11
)
# Character sets without code extensions, of which a text either can be written in one or cannot (PS3.3 C.12.1.1.2).
CHARACTER_SETS = frozenset(
    {"ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138"}
    | {"ISO_IR 148", "ISO_IR 166", "GB18030", "ISO_IR 192"}
)
_UTF_8 = "ISO_IR 192"

Scheduled = Callable[[Narrowing, datetime, Callable[[OrderRecord], bool], int], Sequence[OrderRecord]]
"""`Orders.scheduled`."""

_Answer = tuple[Dataset | int, Dataset | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistTerms:
    """How much is answered.

    Attributes:
        days: how far back.
        most: answers to one question; where there are more, it ends with 0xA700.
    """

    days: float = 30
    most: int = 1000


class ModalityWorklist:
    """Answers C-FIND requests for the Modality Worklist Information Model.

    Args:
        scheduled: what is known.
        clock: says when it is.
        answered: told the final status of every request.
        asked: told who searches, and from where, before anything is shown.
    """

    def __init__(
        self,
        scheduled: Scheduled,
        clock: Clock,
        terms: WorklistTerms | None = None,
        answered: Callable[[int], None] = lambda _status: None,
        asked: Callable[[str, str], None] = lambda _caller, _address: None,
    ) -> None:
        self._scheduled = scheduled
        self._clock = clock
        self._terms = terms or WorklistTerms()
        self._answered = answered
        self._asked = asked

    @property
    def sop_classes(self) -> Mapping[UID, frozenset[str]]:
        """See `Service`: peers that may query."""
        return {MODALITY_WORKLIST: frozenset({QUERY})}

    @property
    def handlers(self) -> Mapping[evt.InterventionEvent, Serve]:
        """See `Service`."""
        return {evt.EVT_C_FIND: self.on_find}

    def on_find(self, event: evt.Event) -> Iterator[_Answer]:
        """Answer a C-FIND, best first."""
        code = UNABLE_TO_PROCESS
        try:
            for status, match in self._guarded(event):
                code = status if isinstance(status, int) else int(status.Status)
                yield status, match
        finally:  # whoever asks does not come back for more once the final status is given
            if code not in _PENDING:
                self._answered(code)

    def _guarded(self, event: evt.Event) -> Iterator[_Answer]:
        """The answers, or after some of them the status of what was wrong."""
        try:
            yield from self._answers(event)
        except InvalidDatasetError as error:
            yield comment_on(DOES_NOT_MATCH, error.message), None
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            yield comment_on(OUT_OF_RESOURCES, error.message), None
        except Exception as error:  # noqa: BLE001 - a bug costs one request its answer, not the association
            frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
            log.error("query_failed", error=type(error).__name__, frames=frames)  # noqa: TRY400 - no message, see store
            yield comment_on(UNABLE_TO_PROCESS, f"internal error ({type(error).__name__})"), None

    def _answers(self, event: evt.Event) -> Iterator[_Answer]:
        """Pending answers, then the final status where it is not a failure."""
        request = event.request
        if not isinstance(request, C_FIND):
            raise InvalidDatasetError("not a C-FIND request")
        with quiet():  # pydicom's reader warns of a character set that it does not know, with its name
            identifier = read_short_data_set(request.Identifier, UID(event.context.transfer_syntax))
            terms, encodings = encodings_of(identifier)
            query = read_query(identifier, SHAPE, encodings, TOGETHER)
        requestor = event.assoc.requestor
        self._asked(str(requestor.ae_title).strip(), str(requestor.address))
        found = self._find(query)
        pending = PENDING_WITHOUT_SOME_KEYS if query.ignores else PENDING
        log.info("worklist_asked", peer_ae_title=str(requestor.ae_title).strip(), matches=len(found))
        for known in found[: self._terms.most]:
            _let_the_peer_read(event)
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield pending, with_character_set(query.answer(known), known, terms)
        if len(found) > self._terms.most:
            raise StorageExhaustedError(f"more than {self._terms.most} matches: ask for less")
        yield SUCCESS, None

    def _find(self, query: Query) -> Sequence[Known]:
        def fits(record: OrderRecord) -> bool:
            return query.matches(known_of(record))

        since = self._clock() - timedelta(days=self._terms.days)
        records = self._scheduled(narrowed(query), since, fits, self._terms.most + 1)
        return [known_of(record) for record in records]


def narrowed(query: Query) -> Narrowing:
    """What of a query the database can look up."""
    days = query.within("ScheduledProcedureStepSequence").exactly("ScheduledProcedureStepStartDate").replace(".", "")
    first, dash, last = days.partition("-")
    return Narrowing(
        accession_number=query.exactly("AccessionNumber"),
        patient_id=query.exactly("PatientID"),
        study_instance_uids=query.listed("StudyInstanceUID"),
        scheduled_from=first.strip(),
        scheduled_to=last.strip() if dash else first.strip(),
    )


def known_of(record: OrderRecord) -> Known:
    """A record as the attributes of table K.6-1; what came without an order was due when it came."""
    arrived = record.received_at.astimezone()
    day, moment = record.scheduled_date, record.scheduled_time
    if not day:
        day, moment = f"{arrived:%Y%m%d}", f"{arrived:%H%M%S}"
    return {
        "AccessionNumber": record.accession_number,
        "ReferringPhysicianName": record.referring_physician,
        "RequestingPhysician": record.ordering_physician,
        "PatientName": record.patient_name,
        "PatientID": record.patient_id,
        "IssuerOfPatientID": record.issuer_of_patient_id,
        "PatientBirthDate": record.patient_birth_date,
        "PatientSex": record.patient_sex,
        "AdmissionID": record.admission_id,
        "CurrentPatientLocation": record.patient_location[:64],
        "StudyInstanceUID": record.study_instance_uid,
        "RequestedProcedureID": record.requested_procedure_id,
        "RequestedProcedureDescription": record.procedure_description[:64],
        "RequestedProcedureCodeSequence": _coded(record),
        "RequestedProcedurePriority": _PRIORITIES[record.priority],
        "ReasonForTheRequestedProcedure": record.indication[:64],
        "PlacerOrderNumberImagingServiceRequest": record.placer_order_number,
        "FillerOrderNumberImagingServiceRequest": record.filler_order_number,
        "ScheduledProcedureStepSequence": [
            {
                "ScheduledStationAETitle": record.scheduled_station_ae_title,
                "ScheduledStationName": record.scheduled_station_name,
                "ScheduledProcedureStepStartDate": day,
                "ScheduledProcedureStepStartTime": moment,
                "Modality": record.modality,
                "ScheduledProcedureStepDescription": record.procedure_description[:64],
                "ScheduledProcedureStepID": record.scheduled_step_id,
                "ScheduledProcedureStepStatus": "ARRIVED" if record.study_here else "SCHEDULED",
            }
        ],
    }


def _coded(record: OrderRecord) -> Sequence[Known]:
    if not (record.procedure_code and record.procedure_coding_scheme):
        return ()
    return [
        {
            "CodeValue": record.procedure_code,
            "CodingSchemeDesignator": record.procedure_coding_scheme,
            "CodeMeaning": record.procedure_description[:64],
        }
    ]


def with_character_set(answer: Dataset, known: Known, asked_in: str) -> Dataset:
    """An answer in the question's character set where that can write it, else in UTF-8 (ISO_IR 192)."""
    texts = list(texts_of(known))
    if all(text.isascii() for text in texts):
        if asked_in in CHARACTER_SETS:
            answer.SpecificCharacterSet = asked_in
        return answer
    answer.SpecificCharacterSet = asked_in if _can_write(texts, asked_in) else _UTF_8
    return answer


def _can_write(texts: Sequence[str], term: str) -> bool:
    if term not in CHARACTER_SETS:
        return False
    try:
        for text in texts:
            text.encode(python_encoding[term])
    except UnicodeEncodeError:
        return False
    return True


def _let_the_peer_read(event: evt.Event) -> None:
    """Wait while answers queue up, so that a C-CANCEL comes in time; who reads no more is cut off by the wire."""
    association = event.assoc
    while association.is_established and association.dul.to_provider_queue.qsize() > _MOST_WAITING:
        time.sleep(0.005)
