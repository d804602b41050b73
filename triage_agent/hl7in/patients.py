"""What messages say of patients: PID, MRG and PV1, in DICOM's words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triage_agent.domain.orders import PatientUpdate
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.hl7in.message import Field, Hl7Message, InvalidMessageError, Segment

_IDENTIFIER_TYPES = ("MR", "PI")  # table 0203: medical record number, patient internal identifier
_DIGITS = re.compile(r"[0-9]+")
_SEXES = frozenset({"M", "F", "O"})  # PS3.3 section C.7.1.1
_GROUPS = {"A": 0, "I": 1, "P": 2}  # table 0465 to PS3.5 section 6.2.1: alphabetic, ideographic, phonetic
_DATE_LENGTH, _TIME_LENGTH = 8, 6
_MOST_GIVEN_UP = 200  # Patient IDs of one message
_WRONG_DATA = 102  # table 0357


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How this site's messages are read.

    Attributes:
        accession: segment and field of the accession number; None: where IHE has it.
        assigning_authority: whose patient identifiers images carry; "" where only one authority gives any.
        words: the site's own for a priority.
    """

    accession: tuple[str, int] | None = None
    assigning_authority: str = ""
    words: PriorityWords = STANDARD


def patient_of(pid: Segment, reading: Reading) -> PatientUpdate:
    """Who a message is about; without an identifier of the right authority `patient_id` is empty."""
    identifier = _identifier([*pid.repetitions(3), *pid.repetitions(2)], reading)
    sex = pid.text(8)
    return PatientUpdate(
        patient_id=(identifier.text(1) or "") if identifier else "",
        issuer_of_patient_id=_authority(identifier) or None if identifier else None,
        patient_name=names_of(pid.repetitions(5)),
        patient_birth_date=date_and_time(pid.text(7))[0],
        patient_sex=sex if not sex or sex.upper() not in _SEXES else sex.upper(),
    )


def merges_of(message: Hl7Message, reading: Reading) -> list[tuple[list[str], PatientUpdate]]:
    """The Patient IDs that are given up, and who their patient is, of every pair of MRG and PID that says both.

    Raises:
        InvalidMessageError: it gives up more than any hospital does at once.
    """
    found: list[tuple[list[str], PatientUpdate]] = []
    given_up = 0
    for prior, into in _pairs(message, reading):
        given_up_here = [number for number in prior if number != into.patient_id]
        if into.patient_id and given_up_here:
            found.append((given_up_here, into))
            given_up += len(given_up_here)
        if given_up > _MOST_GIVEN_UP:
            raise InvalidMessageError(f"the message merges more than {_MOST_GIVEN_UP} patients", _WRONG_DATA)
    return found


def merges_left_out(message: Hl7Message, reading: Reading) -> int:
    """How many merges of a message do not say who becomes whom; a merge message without any is one of them."""
    pairs = list(_pairs(message, reading))
    return sum(not (prior and into.patient_id) for prior, into in pairs) or int(not pairs)


def _pairs(message: Hl7Message, reading: Reading) -> Iterator[tuple[list[str], PatientUpdate]]:
    """Each MRG's numbers, with the PID that it stands behind; either may name nobody."""
    pid = Segment("PID", message.delimiters)
    for segment in message.segments:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG":
            yield prior_ids(segment, reading), patient_of(pid, reading)


def prior_ids(mrg: Segment, reading: Reading) -> list[str]:
    """The identifiers that a merge gives up (MRG-1)."""
    wanted = [each for each in mrg.repetitions(1) if reading.assigning_authority in {"", _authority(each)}]
    return list(dict.fromkeys(number for each in wanted if (number := each.text(1))))


def _identifier(stated: Sequence[Field], reading: Reading) -> Field | None:
    """The identifier that images carry: of the site's authority, else a medical record number, else the first."""
    if reading.assigning_authority:
        return next((each for each in stated if _authority(each) == reading.assigning_authority), None)
    for kind in _IDENTIFIER_TYPES:
        for each in stated:
            if each.text(5) == kind and each.text(1):
                return each
    return next((each for each in stated if each.text(1)), None)


def _authority(identifier: Field) -> str:
    return identifier.text(4) or ""


def names_of(stated: Sequence[Field], first: int = 1) -> str | None:
    """A PN value of XPN or XCN repetitions: DICOM has prefix before suffix, HL7 suffix before prefix.

    Args:
        stated: the repetitions; of names in several writings one each.
        first: component of the family name.
    """
    if not stated:
        return None
    groups = ["", "", ""]
    for name in stated:
        family, given, middle, suffix, prefix = ((name.text(first + number) or "") for number in range(5))
        parts = [re.sub(r"[\^=]", " ", part) for part in (family, given, middle, prefix, suffix)]
        place = _GROUPS.get(name.text(first + 7) or "A", 0)
        groups[place] = groups[place] or "^".join(parts).rstrip("^")
    return "=".join(groups).rstrip("=")


def date_and_time(stated: str | None) -> tuple[str | None, str | None]:
    """YYYYMMDD and HHMMSS of a TS; None for what it does not say, both "" where it is struck out."""
    if not stated:
        return stated, stated
    digits = _DIGITS.match(stated)
    text = digits[0] if digits else ""
    if len(text) < _DATE_LENGTH:
        return None, None
    date, time = text[:_DATE_LENGTH], text[_DATE_LENGTH : _DATE_LENGTH + _TIME_LENGTH]
    if not _is_date(date):
        return None, None
    return date, time.ljust(_TIME_LENGTH, "0") if len(time) >= len("HH") and _is_time(time) else None


def _is_date(text: str) -> bool:
    return "01" <= text[4:6] <= "12" and "01" <= text[6:8] <= "31"


def _is_time(text: str) -> bool:
    return text[:2] < "24" and text[2:4] < "60" and text[4:6] < "60"
