"""What is done with a message: acknowledged as taken only once it is committed (promise 1)."""

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.orders import Message, Order, Orders, PatientUpdate
from triage_agent.domain.ports import Clock
from triage_agent.domain.visible import visible
from triage_agent.hl7in.acknowledgement import LONGEST_ECHO, Answer, Verdict, acknowledge
from triage_agent.hl7in.message import Hl7Message, InvalidMessageError, parse
from triage_agent.hl7in.moments import moment_of
from triage_agent.hl7in.names import with_fitting_names
from triage_agent.hl7in.orders import location_of, orders_of
from triage_agent.hl7in.patients import Reading, merges_left_out, merges_of, patient_of

log = structlog.get_logger(__name__)

ORDERS = frozenset({("ORM", "O01"), ("OMI", "O23"), ("OMG", "O19")})
UPDATES = frozenset({"A01", "A02", "A04", "A05", "A06", "A07", "A08", "A28", "A31"})
MERGES = frozenset({"A18", "A34", "A40", "A47"})

NOT_NAMED, NAME_CUT = "patient_not_named", "name_cut"
"""What may be left out of a message that is taken: whom an update or a merge is about, the end of a name."""

_UNSUPPORTED_TYPE, _UNSUPPORTED_EVENT, _UNSUPPORTED_PROCESSING, _UNSUPPORTED_VERSION = 200, 201, 202, 203
_MISSING, _WRONG_DATA, _INTERNAL = 101, 102, 207
_LONGEST_NAME = 60  # of a sender, or a message, in the audit trail

_Said = TypeVar("_Said", Order, PatientUpdate)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskTerms:
    """How messages are read and answered.

    Attributes:
        application: who we are, for MSH-3 of an answer.
        institution: where, for MSH-4.
        processing_id: MSH-11 that is taken: a training system's messages must not change this one's orders.
        codec: Python's, of messages that state no character set and are not UTF-8.
        reading: where things stand in them.
        reissue: results that were made are made again where a merge has renamed their patient.
    """

    application: str = "TRIAGE-AGENT"
    institution: str = ""
    processing_id: str = "P"
    codec: str = "iso8859_1"
    reading: Reading = field(default_factory=Reading)
    reissue: bool = False


class Hl7Desk:
    """Takes messages about orders and patients; safe to call from many threads.

    Args:
        orders: keeps them.
        answered: told the code of every answer.
        left_out: told of what is not kept of a message that is taken (NOT_NAMED, NAME_CUT), and how often.
    """

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        terms: DeskTerms | None = None,
        *,
        answered: Callable[[str], None] = lambda _code: None,
        left_out: Callable[[str, int], None] = lambda _what, _times: None,
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._terms = terms or DeskTerms()
        self._answered = answered
        self._left_out = left_out

    def answer(self, frame: bytes) -> bytes | None:
        """Take a message; returns its acknowledgement, None for a sender that wants none."""
        try:
            message = parse(frame, self._terms.codec)
        except InvalidMessageError as error:
            log.warning("hl7_refused", why=error.message)
            self._answered("AR")
            return self.refuse(b"MSH|^~\\&|", error.code)
        if message.kind[0] == "ACK":
            return None  # an answer to an answer would never end
        answer = self._judged(message)
        self._answered(answer.code)
        return self._acknowledge(message, answer)

    def refuse(self, beginning: bytes, error: int) -> bytes | None:
        """What a message is answered that cannot be read to its end; None where not even its header can."""
        try:
            message = parse(beginning.split(b"\r")[0], self._terms.codec)
        except InvalidMessageError:
            return None
        return self._acknowledge(message, Answer(Verdict.NEVER, error))

    def _acknowledge(self, message: Hl7Message, answer: Answer) -> bytes | None:
        terms = self._terms
        return acknowledge(message, answer, self._clock(), terms.application, terms.institution)

    def _judged(self, message: Hl7Message) -> Answer:
        """What becomes of a message, and why where nothing does."""
        try:
            return self._refusal(message) or self._take(message)
        except InvalidMessageError as error:
            log.warning("hl7_refused", why=error.message, kind=_shown("^".join(message.kind)))
            return Answer(Verdict.NEVER, error.code)
        except WorklistUnavailableError as error:
            log.warning("hl7_not_taken", why=error.message)
            return Answer(Verdict.AGAIN, _INTERNAL)
        except Exception as error:  # noqa: BLE001 - one message that is a bug's must not hold up those behind it
            frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
            log.error("hl7_failed", error=type(error).__name__, frames=frames)  # noqa: TRY400 - no message, see store
            return Answer(Verdict.NEVER, _INTERNAL)

    def _refusal(self, message: Hl7Message) -> Answer | None:
        header, (kind, event) = message.header, message.kind
        if not message.control_id:
            return Answer(Verdict.NEVER, _MISSING)
        if len(message.control_id) > LONGEST_ECHO:
            return Answer(Verdict.NEVER, _WRONG_DATA)
        version = header.text(12)
        if version is not None and not version.startswith("2"):
            return Answer(Verdict.NEVER, _UNSUPPORTED_VERSION)
        if (header.text(11) or self._terms.processing_id).upper() != self._terms.processing_id:
            return Answer(Verdict.NEVER, _UNSUPPORTED_PROCESSING)
        if kind == "ADT" or (kind, event) in ORDERS or (kind, event) in {(one, "") for one, _ in ORDERS}:
            return None
        known = kind in {one for one, _ in ORDERS}
        log.info("hl7_unsupported", kind=_shown(f"{kind}^{event}"))
        return Answer(Verdict.NEVER, _UNSUPPORTED_EVENT if known else _UNSUPPORTED_TYPE)

    def _take(self, message: Hl7Message) -> Answer:
        """Do what it says. ADT events that concern nobody here are taken too: whole feeds are sent to us."""
        source = Message(
            control_id=_shown(message.control_id),
            sender=_shown(message.sender),
            received_at=self._clock(),
            written_at=moment_of(message.header.text(7)),
        )
        kind, event = message.kind
        changed, left_out = 0, Counter[str]()
        if kind != "ADT":
            orders = _fitting(orders_of(message, self._terms.reading), left_out)
            changed = len(self._orders.keep_orders(orders, source))
        elif event in MERGES:
            changed = self._merge(message, source, left_out)
        elif event in UPDATES:
            changed = self._update(message, source, left_out)
        log.info("hl7_taken", kind=_shown(f"{kind}^{event}"), sender=source.sender, changed=changed)
        for what, times in left_out.items():
            log.warning("hl7_left_out", kind=_shown(f"{kind}^{event}"), sender=source.sender, what=what, times=times)
            self._left_out(what, times)
        return Answer(Verdict.TAKEN)

    def _update(self, message: Hl7Message, source: Message, left_out: Counter[str]) -> int:
        visit = message.first("PV1")
        patient = patient_of(message.first("PID"), self._terms.reading)
        if not patient.patient_id:
            left_out[NOT_NAMED] += 1
            return 0
        update = replace(patient, patient_class=visit.text(2), patient_location=location_of(visit))
        return sum(self._orders.update_patient(fitting, source) for fitting in _fitting([update], left_out))

    def _merge(self, message: Hl7Message, source: Message, left_out: Counter[str]) -> int:
        """Every pair of PID and MRG; the patients are renamed one after the other."""
        reading, reissue = self._terms.reading, self._terms.reissue
        pairs = merges_of(message, reading)
        if nameless := merges_left_out(message, reading):
            left_out[NOT_NAMED] += nameless
        renamed = _fitting([into for _, into in pairs], left_out)
        return sum(
            len(self._orders.merge_patient(prior, into, source, reissue=reissue))
            for (prior, _), into in zip(pairs, renamed, strict=True)
        )


def _fitting(said: Sequence[_Said], left_out: Counter[str]) -> list[_Said]:
    """What a message says, with names as long as DICOM's may be."""
    fitting = [with_fitting_names(one) for one in said]
    if cut := sum(times for _, times in fitting):
        left_out[NAME_CUT] += cut
    return [one for one, _ in fitting]


def _shown(text: str) -> str:
    """A stranger's word in a log line or the audit trail."""
    return visible(text)[:_LONGEST_NAME]
