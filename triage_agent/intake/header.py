"""Reads of a data set what the worklist needs to know, and stops before the pixels."""

import re
import threading
import zlib
from collections.abc import Callable, Mapping

import structlog
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.study import InstanceHeader
from triage_agent.domain.uids import is_uid, stand_in_series_uid
from triage_agent.domain.vocabulary import Priority
from triage_agent.intake.elements import Element, Encoding, elements, items
from triage_agent.intake.text import character_sets, decode_person_name, decode_text

log = structlog.get_logger(__name__)

Encoded = bytes | bytearray | memoryview

_SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_INSTANCE_UID = 0x00080018
_ACCESSION_NUMBER = 0x00080050
_MODALITY = 0x00080060
_PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_PATIENT_BIRTH_DATE = 0x00100030
_PATIENT_AGE = 0x00101010
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_REQUEST_ATTRIBUTES = 0x00400275
_REQUESTED_PROCEDURE_PRIORITY = 0x00401003
_WANTED = frozenset(
    {
        *(_SPECIFIC_CHARACTER_SET, _SOP_INSTANCE_UID, _ACCESSION_NUMBER, _MODALITY, _PATIENT_NAME, _PATIENT_ID),
        *(
            _PATIENT_BIRTH_DATE,
            _PATIENT_AGE,
            _STUDY_INSTANCE_UID,
            _SERIES_INSTANCE_UID,
            _REQUEST_ATTRIBUTES,
            _REQUESTED_PROCEDURE_PRIORITY,
        ),
    }
)
_LONGEST_UID = 1024  # bytes, with any padding; a UID has 64 (PS3.5 section 9.1)
_IDENTIFIERS = frozenset({_SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID})

# PS3.5 A.5 and A.7: the whole data set is deflated.
_DEFLATED = frozenset({DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_FIRST_INFLATED = 1 << 20  # bytes of a deflated data set that are looked at: nearly every header ends before
_MOST_INFLATED = 16 << 20  # ... and where it does not: headers are far smaller than this, bombs larger
_DEFLATED_PIECE = 1 << 16  # bytes fed at once, since zlib copies what it does not need
_inflating = threading.Lock()  # for the larger of the two, so that many such data sets at once need no more memory

_PRIORITY_WORD = re.compile("[A-Z]{1,16}|[0-9]")  # as long as an SH may be (PS3.5 section 6.2); all that a log may show
_BIRTH_DATE = re.compile("(?:1[89]|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")  # DA; a date, no time
_AGE = re.compile("([0-9]{3})([DWMY])")
_IN_A_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1}
_PRIORITY_BYTES = 128  # an SH of 16 characters in any character set, escape sequences included


def read_header(
    encoded: Encoded,
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    words: PriorityWords = STANDARD,
) -> InstanceHeader:
    """Read the header of an encoded data set whose C-STORE request named these UIDs (PS3.4 section B.2.3).

    `words` are what a Requested Procedure Priority is understood by; what is none of them asks for nothing. A Series
    Instance UID that is missing or invalid is derived from the study's, since nothing hangs on it.

    Raises:
        InvalidDatasetError: the Study or SOP Instance UID is missing or no UID, or is not the request's.
    """
    found = _wanted(memoryview(encoded), transfer_syntax_uid)
    for name, uid in (("SOP Class UID", sop_class_uid), ("Transfer Syntax UID", transfer_syntax_uid)):
        if not is_uid(uid):
            raise InvalidDatasetError(f"{name} of the request is no UID")
    if _required_uid(found, _SOP_INSTANCE_UID, "SOP Instance UID") != sop_instance_uid:
        raise InvalidDatasetError("SOP Instance UID is not the one of the request")
    study_instance_uid = _required_uid(found, _STUDY_INSTANCE_UID, "Study Instance UID")
    text = _texts(found)
    return InstanceHeader(
        study_instance_uid=study_instance_uid,
        series_instance_uid=_series_instance_uid(found, study_instance_uid),
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        modality=text(_MODALITY),
        patient_id=text(_PATIENT_ID),
        patient_name=text(_PATIENT_NAME),
        accession_number=text(_ACCESSION_NUMBER),
        requested_priority=_requested_priority(found, words),
        patient_birth_date=born[0] if (born := _BIRTH_DATE.match(text(_PATIENT_BIRTH_DATE))) else "",
        patient_age=_age(text(_PATIENT_AGE)),
    )


def _age(stated: str) -> int | None:
    """Completed years of an Age String (PS3.5 section 6.2); None where it is none."""
    found = _AGE.fullmatch(stated)
    return int(found[1]) // _IN_A_YEAR[found[2]] if found else None


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """How a transfer syntax writes its elements; everything encapsulated is explicit little endian (PS3.5 A.4)."""
    return Encoding(
        implicit=transfer_syntax_uid in {"1.2.840.10008.1.2", "1.2.840.10008.1.20"},  # the latter is Papyrus 3, retired
        little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
    )


def _wanted(data: memoryview, transfer_syntax_uid: str) -> Mapping[int, Element]:
    """The wanted elements of a data set, inflated as far as its header can reach when it is deflated."""
    encoding = encoding_of(transfer_syntax_uid)
    if UID(transfer_syntax_uid) not in _DEFLATED:
        return _find(data, encoding)[0]
    plain = _inflated(data, _FIRST_INFLATED)
    found, ended = _find(plain, encoding)
    if ended or len(plain) < _FIRST_INFLATED:
        return found
    with _inflating:
        found, _ = _find(_inflated(data, _MOST_INFLATED), encoding)
        # Values are parts of what was inflated; copies of them let go of the rest.
        return {tag: element._replace(value=memoryview(bytes(element.value))) for tag, element in found.items()}


def _inflated(data: memoryview, most: int) -> memoryview:
    """The first `most` bytes of what a deflated data set holds (PS3.5 A.5), fewer where it has fewer."""
    inflater, plain = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        for start in range(0, len(data), _DEFLATED_PIECE):
            plain += inflater.decompress(data[start : start + _DEFLATED_PIECE], most - len(plain))
            if len(plain) >= most or inflater.eof:
                break
    except zlib.error:
        raise InvalidDatasetError("the data set is not deflated as its transfer syntax says") from None
    return memoryview(plain)


def _find(data: memoryview, encoding: Encoding) -> tuple[Mapping[int, Element], bool]:
    """The wanted elements, the first of each tag, and whether the search ended before the data did.

    Tags ascend (PS3.5 section 7.1), so the search ends behind the last wanted one or where they stop to ascend; but not
    before the identifiers are found, since some writers do not sort.
    """
    found: dict[int, Element] = {}
    last = -1
    for element in elements(data, encoding):
        beyond = element.tag > _REQUESTED_PROCEDURE_PRIORITY or element.tag <= last
        if beyond and found.keys() >= _IDENTIFIERS:
            return found, True
        if element.tag in _WANTED:
            found.setdefault(element.tag, element)
        last = element.tag
    return found, False


def _uid(found: Mapping[int, Element], tag: int) -> str:
    """A UID without its padding (PS3.5 section 9.1: one NUL; spaces are a common mistake), empty when absent."""
    element = found.get(tag)
    if element is None:
        return ""
    if len(element.value) > _LONGEST_UID:
        return "longer than any UID"
    return bytes(element.value).strip(b"\0 ").decode("ascii", "replace")


def _required_uid(found: Mapping[int, Element], tag: int, name: str) -> str:
    uid = _uid(found, tag)
    if not uid:
        raise InvalidDatasetError(f"{name} is missing")
    if not is_uid(uid):
        raise InvalidDatasetError(f"{name} is no UID")
    return uid


def _series_instance_uid(found: Mapping[int, Element], study_instance_uid: str) -> str:
    uid = _uid(found, _SERIES_INSTANCE_UID)
    if is_uid(uid):
        return uid
    log.info("series_instance_uid_derived", why="no UID" if uid else "missing", study_instance_uid=study_instance_uid)
    return stand_in_series_uid(study_instance_uid)


def _codecs(found: Mapping[int, Element]) -> tuple[str, ...]:
    declared = found.get(_SPECIFIC_CHARACTER_SET)
    return character_sets(bytes(declared.value[:256]) if declared else b"")


def _texts(found: Mapping[int, Element]) -> Callable[[int], str]:
    """Reads a text element in the data set's character sets; empty when it is absent."""
    codecs = _codecs(found)

    def text(tag: int) -> str:
        element = found.get(tag)
        if element is None:
            return ""
        decode = decode_person_name if tag == _PATIENT_NAME else decode_text
        return decode(bytes(element.value[:4096]), codecs)

    return text


def _requested_priority(found: Mapping[int, Element], words: PriorityWords) -> Priority:
    """The highest of the priorities that the data set's orders carry."""
    codecs = _codecs(found)
    highest = _priority(found.get(_REQUESTED_PROCEDURE_PRIORITY), codecs, words)
    requests = found.get(_REQUEST_ATTRIBUTES)
    for item in items(requests) if requests else ():
        inner = elements(item, requests.encoding) if requests else ()
        for element in inner:
            if element.tag == _REQUESTED_PROCEDURE_PRIORITY:
                highest = highest.raised_to(_priority(element, codecs, words))
    return highest


def _priority(element: Element | None, codecs: tuple[str, ...], words: PriorityWords) -> Priority:
    word = decode_text(bytes(element.value[:_PRIORITY_BYTES]), codecs) if element else ""
    meant = words.meaning(word)
    if meant is None:
        shown = word.upper()
        log.info("requested_priority_unknown", word=shown if _PRIORITY_WORD.fullmatch(shown) else None)
    return meant or Priority.ROUTINE
