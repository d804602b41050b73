"""What ORM^O01, OMI^O23 and OMG^O19 say of orders; tolerant of where systems put it (IHE RAD TF-2, RAD-2 to RAD-4)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import structlog

from triage_agent.domain.orders import Order, OrderStatus
from triage_agent.domain.priorities import LONGEST_WORD, normal
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import Priority
from triage_agent.hl7in.message import Delimiters, Hl7Message, InvalidMessageError, Segment
from triage_agent.hl7in.patients import Reading, date_and_time, names_of, patient_of

log = structlog.get_logger(__name__)

_REQUIRED_FIELD_MISSING = 101  # table 0357
_MOST_ORDERS = 200  # of one message
_NO_SEGMENT = Segment("", Delimiters())

# Table 0485 and the words that systems write in its place; the rest of the table says when, not how urgent.
PRIORITIES: Mapping[str, Priority] = MappingProxyType(
    {
        **dict.fromkeys(("S", "STAT", "EMERGENCY", "E"), Priority.STAT),
        **dict.fromkeys(("A", "ASAP", "U", "URGENT", "HIGH"), Priority.URGENT),
        **dict.fromkeys(
            ("R", "ROUTINE", "P", "PREOP", "C", "CALLBACK", "T", "PRN", "LOW", "N", "NORMAL"), Priority.ROUTINE
        ),
    }
)
_TIMED = re.compile(r"T[SMHDWL][0-9]+")  # timing critical, within some seconds, minutes, ...
_WORD = re.compile(r"[A-Z0-9]{1,8}")  # what is longer, or two words, may be a name in the wrong field
_CANCELS = frozenset({"CA", "OC", "CR", "DC", "OD", "DR", "RP"})  # table 0119; RP is replaced by another order
_BEGINS = frozenset({"NW", "RO", "SN"})
_STATUSES: Mapping[str, OrderStatus] = MappingProxyType(  # table 0038
    {
        "CA": OrderStatus.CANCELLED,
        "DC": OrderStatus.CANCELLED,
        "RP": OrderStatus.CANCELLED,
        "CM": OrderStatus.COMPLETED,
        "SC": OrderStatus.SCHEDULED,
        "IP": OrderStatus.SCHEDULED,
    }
)
_MODALITY = re.compile(r"[A-Z]{2}")  # OBR-24 may also have a section, such as RAD


@dataclass(slots=True)
class _Group:
    """The segments of one order."""

    orc: Segment
    obr: Segment | None = None
    tq1: Segment | None = None
    ipc: list[Segment] = field(default_factory=list)
    zds: Segment | None = None

    def add(self, segment: Segment) -> None:
        """Take up a segment that follows; of those that there is one of, the first stays."""
        match segment.name:
            case "OBR":
                self.obr = self.obr or segment
            case "TQ1":
                self.tq1 = self.tq1 or segment
            case "ZDS":
                self.zds = self.zds or segment
            case "IPC":
                self.ipc.append(segment)

    def text(self, name: str, number: int, component: int = 1) -> str | None:
        segment = {"ORC": self.orc, "OBR": self.obr, "TQ1": self.tq1, "ZDS": self.zds}.get(name)
        if name == "IPC":
            segment = self.ipc[0] if self.ipc else None
        return segment.text(number, component) if segment is not None else None

    def either(self, *places: tuple[str, int] | tuple[str, int, int]) -> str | None:
        """The first of several places that says something."""
        return next((said for place in places if (said := self.text(*place)) is not None), None)


def orders_of(message: Hl7Message, reading: Reading) -> list[Order]:
    """The orders of a message.

    Raises:
        InvalidMessageError: it has none, or one that nothing names.
    """
    orders = [_order(message, group, reading) for group in _groups(message)]
    if not orders:
        raise InvalidMessageError("the message has neither ORC nor OBR", 100)
    if not all(order.names for order in orders):
        raise InvalidMessageError("an order has neither number nor accession number", _REQUIRED_FIELD_MISSING)
    return orders


def _groups(message: Hl7Message) -> Sequence[_Group]:
    """Segments by order; a second OBR under one ORC is an order of its own, a ZDS at the end is everyone's."""
    groups: list[_Group] = []
    for segment in message.segments:
        if segment.name == "ORC":
            groups.append(_Group(segment))
        elif segment.name == "OBR" and (not groups or groups[-1].obr is not None):
            groups.append(_Group(groups[-1].orc if groups else _NO_SEGMENT, segment))
        elif groups:
            groups[-1].add(segment)
        if len(groups) > _MOST_ORDERS:
            raise InvalidMessageError(f"the message has more than {_MOST_ORDERS} orders", 100)
    stated = [group for group in groups if group.zds is not None]
    if len(stated) == 1:
        for group in groups:
            group.zds = stated[0].zds
    return groups


def _order(message: Hl7Message, group: _Group, reading: Reading) -> Order:
    patient, visit = patient_of(message.first("PID"), reading), message.first("PV1")
    filler = group.either(("OBR", 3), ("ORC", 3))
    date, time = date_and_time(group.either(("TQ1", 7), ("ORC", 7, 4), ("OBR", 27, 4), ("OBR", 36)))
    code, description, scheme = _procedure(group)
    return Order(
        placer_order_number=group.either(("ORC", 2), ("OBR", 2)),
        filler_order_number=filler,
        accession_number=_accession(group, reading, filler),
        study_instance_uid=_study_uid(group),
        patient_id=patient.patient_id or None,
        issuer_of_patient_id=patient.issuer_of_patient_id,
        patient_name=patient.patient_name,
        patient_birth_date=patient.patient_birth_date,
        patient_sex=patient.patient_sex,
        patient_class=visit.text(2),
        patient_location=location_of(visit),
        admission_id=visit.text(19) or message.first("PID").text(18),
        requested_procedure_id=group.either(("IPC", 2), ("OBR", 19)),
        procedure_code=code,
        procedure_coding_scheme=scheme,
        procedure_description=description,
        indication=_indication(group),
        referring_physician=names_of(visit.repetitions(8)[:1], first=2),
        ordering_physician=_ordering(group),
        scheduled_date=date,
        scheduled_time=time,
        scheduled_step_id=group.either(("IPC", 4), ("OBR", 20)),
        scheduled_station_ae_title=_station(group),
        scheduled_station_name=group.text("IPC", 7),
        modality=_modality(group),
        priority=_priority(group, reading),
        status=_status(group),
    )


def _accession(group: _Group, reading: Reading, filler: str | None) -> str | None:
    """Where the site says, else where IHE has it (IPC-1, OBR-18), else the filler's number, as is common."""
    if reading.accession is not None:
        return group.text(*reading.accession)
    return group.either(("IPC", 1), ("OBR", 18)) or filler


def _study_uid(group: _Group) -> str | None:
    stated = group.either(("IPC", 3), ("ZDS", 1))
    if not stated or not is_uid(stated):
        return None
    return stated


def _procedure(group: _Group) -> tuple[str | None, str | None, str | None]:
    """Code, description and coding scheme: of OBR-44, else of OBR-4."""
    place = 44 if group.text("OBR", 44) or group.text("OBR", 44, 2) else 4
    code, scheme = group.text("OBR", place), group.text("OBR", place, 3)
    description = group.either(("OBR", place, 2), ("OBR", place, 5), ("OBR", place))
    return code, description, scheme


def _indication(group: _Group) -> str | None:
    """Why it was asked for: OBR-31 (text, else code, of each repetition) and OBR-13."""
    if group.obr is None:
        return None
    reasons = [each.text(2) or each.text(1) for each in group.obr.repetitions(31)]
    said = [reason for reason in (*reasons, group.obr.text(13)) if reason]
    return "; ".join(dict.fromkeys(said)) or None


def _ordering(group: _Group) -> str | None:
    for segment, number in ((group.orc, 12), (group.obr, 16)):
        if segment is not None and (name := names_of(segment.repetitions(number)[:1], first=2)) is not None:
            return name
    return None


def _station(group: _Group) -> str | None:
    if not group.ipc:
        return None
    titles = [title for each in group.ipc[0].repetitions(9) if (title := each.text(1))]
    return "\\".join(title[:16] for title in titles[:3]) or None


def _modality(group: _Group) -> str | None:
    stated = group.text("IPC", 5) or ""
    if not stated:
        stated = (group.text("OBR", 24) or "").upper()
        stated = stated if _MODALITY.fullmatch(stated) else ""
    return stated.upper() or None


def _priority(group: _Group, reading: Reading) -> Priority | None:
    """TQ1-9, before version 2.5 ORC-7.6 and OBR-27.6, before 2.4 also OBR-5; None where nothing says it.

    The site's own words go before HL7's, whose single letters mean something else here and there.
    """
    for said in _said_of_priority(group):
        word = said.strip().upper()
        if (own := reading.words.own.get(normal(said[:LONGEST_WORD]))) is not None:
            return own
        if word in PRIORITIES:
            return PRIORITIES[word]
        if _TIMED.fullmatch(word):
            return Priority.ROUTINE
        if word:
            log.info("order_priority_unknown", word=word if _WORD.fullmatch(word) else None)
    return None


def _said_of_priority(group: _Group) -> Iterator[str]:
    for place in (("TQ1", 9, 1), ("ORC", 7, 6), ("OBR", 27, 6), ("OBR", 5, 1)):
        if (said := group.text(*place)) is not None:
            yield said


def _status(group: _Group) -> OrderStatus | None:
    control, status = (group.text("ORC", 1) or "").upper(), (group.text("ORC", 5) or "").upper()
    if control in _CANCELS:
        return OrderStatus.CANCELLED
    if status in _STATUSES:
        return _STATUSES[status]
    return OrderStatus.SCHEDULED if control in _BEGINS else None


def location_of(visit: Segment) -> str | None:
    """Point of care, room, bed and facility of PV1-3."""
    found = visit.repetitions(3)
    if not found:
        return None
    parts = [found[0].text(component) for component in (1, 2, 3, 4)]
    return " ".join(part for part in parts if part) or parts[0]
