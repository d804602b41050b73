"""What is fuzzed of HTTP: bodies that come by STOW-RS, and what servers answer to our results."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from fuzz.targets import WrongError
from pydicom import Dataset
from support.instances import DEFLATED, IMPLICIT, dx, part10
from support.listener import RULE

from triage_agent.delivery.dicomweb import read_store_answer
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.fhir_outcomes import judge_transaction
from triage_agent.delivery.http import Answer
from triage_agent.domain.errors import DeliveryError, InvalidDatasetError, StorageExhaustedError
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.matching.data_sets import answer, is_match
from triage_agent.matching.query import read_query
from triage_agent.steps.data import settable
from triage_agent.steps.dicom_json import read_data_set, read_keys
from triage_agent.web.storing import BadRequestError, Door, StoreSession
from triage_agent.worklist.memory import MemoryWorklist

_STATUSES = (200, 201, 202, 400, 404, 409, 412, 422, 429, 500)
_LONGEST_MESSAGE = 400


class StoreRequest:
    """The body of a STOW-RS request; the first byte says in which pieces it comes."""

    def __init__(self, folder):
        self._folder, self._count = folder, 0
        self._renew()

    def _renew(self):
        self._worklist = MemoryWorklist()
        self._spool = Spool(self._folder / f"spool{self._count}", low_water_percent=0)
        receiver = Receiver(self._spool, self._worklist, RULE, lambda: datetime(2026, 3, 1, tzinfo=UTC))
        self._door = Door(begin=receiver.begin, receive=receiver.keep)

    def seeds(self):
        """Requests of one and two instances, whole, cut, and with parts of other kinds."""
        image = dx(StudyInstanceUID="1.2", SOPInstanceUID="1.3")
        files = [part10(image, syntax) for syntax in (IMPLICIT, DEFLATED)]
        head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        bodies = [head + files[0] + b"\r\n--b--\r\n", head + files[1] + b"\r\n" + head + files[0] + b"\r\n--b--"]
        bodies += [head + files[0][:140] + b"\r\n--b--\r\n", b"--b\r\n\r\n\r\n--b--\r\n", bodies[0][:-4], b"--b--\r\n"]
        return [bytes([size]) + body for body in bodies for size in (0, 13)]

    def __call__(self, data):
        """A refusal or an answer for each part; what is called stored is, and nothing unfinished stays."""
        self._count += 1
        if self._count % 500 == 0:
            self._renew()
        size, body = data[0] if data else 0, data[1:]
        session = StoreSession(self._door, b"b", source="FUZZ")
        with suppress(BadRequestError):
            for at in range(0, len(body), size or len(body) or 1):
                session.feed(body[at : at + (size or len(body))])
            session.finish()
        session.close()
        for one in session.kept:
            if one.reason is None and self._worklist.digest_of(one.sop_instance_uid) is None:
                raise WrongError("an instance is called stored that is not")
        if any((self._spool.root / "tmp").iterdir()):
            raise WrongError("an unfinished file stays")

    def close(self):
        """Nothing is open."""


class HttpAnswer:
    """What a DICOMweb or FHIR server says of what it was sent; the first byte chooses the status."""

    def __init__(self, folder):
        self._endpoint = Endpoint(host="pacs", port=80)

    def seeds(self):
        """Answers of each kind."""
        item = {"00081155": {"vr": "UI", "Value": ["1.3"]}, "00081197": {"vr": "US", "Value": [0xA700]}}
        outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "diagnostics": "Doe, Jane"}]}
        entry = {"response": {"status": "201 Created"}}
        said = [
            {"00081198": {"vr": "SQ", "Value": [item]}},
            [{"00081199": {"vr": "SQ", "Value": [item]}}],
            outcome,
            {"resourceType": "Bundle", "type": "transaction-response", "entry": [entry] * 2},
        ]
        return [bytes([number]) + json.dumps(one).encode() for one in said for number in range(len(_STATUSES))]

    def __call__(self, data):
        """A verdict, in words that are ours."""
        status, body = _STATUSES[(data[0] if data else 0) % len(_STATUSES)], bytes(data[1:])
        read_store_answer(body, "1.3")
        try:
            judge_transaction(self._endpoint, Answer(status=status, body=body), 2)
        except DeliveryError as error:
            said = str(error)
            if not said.isprintable() or len(said) > _LONGEST_MESSAGE or "Jane" in said:
                raise WrongError("a server's words are repeated") from error

    def close(self):
        """Nothing is open."""


class WorkitemRequest:
    """The body of a UPS-RS request, or what a search asks for: the first byte says which."""

    def __init__(self, folder):
        given = Dataset()
        given.PatientName, given.ProcedureStepState = "Doe^Jane", "SCHEDULED"
        given.ScheduledProcedureStepStartDateTime = "20260301093015+0000"
        self._known = given

    def seeds(self):
        """A workitem, a state, and keys of each kind."""
        nested = {"00741002": {"vr": "SQ", "Value": [{"00741006": {"vr": "ST", "Value": ["on its way"]}}]}}
        bodies = [nested, {"00741000": {"vr": "CS", "Value": ["IN PROGRESS"]}}, {"00100010": {"vr": "PN"}}]
        keys = [
            "PatientName=Doe*&ProcedureStepState=SCHEDULED",
            "ScheduledProcedureStepStartDateTime=20260301-0500-20260302",
            "ReferencedRequestSequence.AccessionNumber=A1&00404018.00080100=110005",
            "SOPInstanceUID=1.2,1.3&ScheduledProcedureStepStartDateTime=-2026",
        ]
        return [b"\0" + json.dumps(one).encode() for one in bodies] + [b"\1" + one.encode() for one in keys]

    def __call__(self, data):
        """It is read or refused."""
        body = bytes(data[1:])
        with suppress(InvalidDatasetError, StorageExhaustedError):
            if data[:1] == b"\1":
                query = read_query(read_keys(parse_qsl(body.decode("utf-8", "replace"))), None)
                is_match(self._known, query)
                answer(self._known, query)
            else:
                settable(read_data_set(body), reading=False)

    def close(self):
        """Nothing is open."""


TARGETS = {"stow": StoreRequest, "answers": HttpAnswer, "workitems": WorkitemRequest}
