"""Patient and study facts from the headers of a study, however broken they are.

Modalities and gateways send headers without identifiers, with values that are too long or no dates at all, and with
character sets that do not fit their text. What can be read is given as text that a new data set in UTF-8 can hold and
that keeps to its value representation (PS3.5 section 6.2); what cannot be read is empty.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from types import MappingProxyType

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.values import convert_value

from triage_agent.domain.quiet import quiet

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"([+-])(\d{2})([0-5]\d)")
_NAME_GROUPS = 3  # alphabetic, ideographic, phonetic
_NAME_COMPONENTS = 5
_NAME_GROUP_LENGTH = 64


def text_of(dataset: Dataset, keyword: str) -> str:
    """The first value of an element as clean text; empty when it is absent, empty or cannot be read."""
    try:
        with quiet():  # pydicom warns of each of the faults that this module is there to bear
            value = _value(dataset, keyword)
            if isinstance(value, MultiValue):
                value = next(iter(value), "")
            text = "" if value is None else str(value)
    except Exception:  # noqa: BLE001 - any fault of a foreign header means: not known
        return ""
    return " ".join(_CONTROL.sub(" ", text.replace("\\", " ")).split())


def _value(dataset: Dataset, keyword: str) -> object:
    """An element's value, decoded but not validated: pydicom's validation logs values that it finds wrong."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None
    element: object = dataset.get_item(tag)
    if not isinstance(element, RawDataElement):
        return getattr(element, "value", None)
    character_sets = convert_encodings(dataset.get("SpecificCharacterSet", ""))
    return convert_value(dictionary_VR(tag), element, character_sets)


def first_text(headers: Sequence[Dataset], keyword: str) -> str:
    """The first non-empty value among the headers of a study."""
    return next(filter(None, (text_of(header, keyword) for header in headers)), "")


def patient_of(headers: Sequence[Dataset]) -> Dataset:
    """The one header that a study's patient is taken from: the first that states a Patient ID, else the first.

    A name from one header with the number of another could be a patient that does not exist, or a third one.
    """
    first = next(iter(headers), Dataset())
    return next((header for header in headers if text_of(header, "PatientID")), first)


def name_several_patients(headers: Sequence[Dataset]) -> bool:
    """Whether headers of one study speak of different people.

    That is so where they state different Patient IDs, or one ID of different issuers; where birth dates differ, or one
    says male and another female (an ID may be "UNKNOWN" on all of them); and, where some header states no ID, where
    family names differ.
    """
    stated = [(_identifier(header, "PatientID"), _identifier(header, "IssuerOfPatientID")) for header in headers]
    patients = {patient for patient, _ in stated if patient}
    issuers = {issuer for patient, issuer in stated if patient and issuer}
    births = {date(text_of(header, "PatientBirthDate")) for header in headers} - {""}
    sexes = {text_of(header, "PatientSex").upper() for header in headers} & {"M", "F"}
    names = set() if all(patient for patient, _ in stated) else {_family_name(header) for header in headers} - {""}
    return any(len(different) > 1 for different in (patients, issuers, births, sexes, names))


def _family_name(header: Dataset) -> str:
    """As far as two spellings of it are alike: letters only, of one case."""
    family = text_of(header, "PatientName").split("=")[0].split("^")[0]
    return "".join(filter(str.isalpha, family)).casefold()


def _identifier(header: Dataset, keyword: str) -> str:
    """For comparison: what of it DICOM has room for."""
    return text_of(header, keyword)[:64].strip()


def person_name(text: str) -> str:
    """At most three groups of at most five components and 64 characters (PS3.5 section 6.2.1)."""
    groups = text.split("=")[:_NAME_GROUPS]
    shortened = ["^".join(group.split("^")[:_NAME_COMPONENTS])[:_NAME_GROUP_LENGTH].strip() for group in groups]
    return "=".join(shortened).rstrip("=")


def date(text: str) -> str:
    """YYYYMMDD, also from the retired and the wrong ways of writing it; empty unless it is a day of the calendar."""
    found = _DATE.match(text)
    if not found:
        return ""
    digits = "".join(found.groups())
    try:
        datetime.strptime(digits, "%Y%m%d")  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return ""
    return digits


def time(text: str) -> str:
    """HHMMSS.FFFFFF as far as it is stated; empty unless it is a time of the day."""
    found = _TIME.fullmatch(text)
    return "".join(part or "" for part in found.groups()) if found else ""


def utc_offset(headers: Sequence[Dataset]) -> tzinfo | None:
    """Timezone Offset From UTC (0008,0201); None where no header states a valid one."""
    found = _OFFSET.fullmatch(first_text(headers, "TimezoneOffsetFromUTC"))
    if not found:
        return None
    sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset) if offset < timedelta(hours=15) else None


def _whole(length: int) -> Callable[[str], str]:
    """Empty where it does not fit: an identifier that is cut is somebody else's."""
    return lambda text: text if len(text) <= length else ""


def _fitting(length: int) -> Callable[[str], str]:
    """For what can be left out: empty where it does not fit, also for receivers that count bytes, not characters."""
    return lambda text: text if len(text.encode()) <= length else ""


def _one_of(*terms: str) -> Callable[[str], str]:
    return lambda text: text.upper() if text.upper() in terms else ""


# Patient, General Study and Patient Study attributes that a report shares with its images (PS3.3 C.7.1.1, C.7.2).
_PATIENT_TYPE_2: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "PatientName": person_name,
        "PatientID": _whole(64),
        "PatientBirthDate": date,
        "PatientSex": _one_of("M", "F", "O"),
    }
)
_PATIENT_TYPE_3: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "IssuerOfPatientID": _whole(64),
        "PatientAge": lambda text: text if re.fullmatch(r"\d{3}[DWMY]", text) else "",
    }
)
_STUDY_TYPE_2: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "StudyDate": date,
        "StudyTime": time,
        "ReferringPhysicianName": person_name,
        "StudyID": _whole(16),
        "AccessionNumber": _whole(16),
    }
)
_STUDY_TYPE_3: Mapping[str, Callable[[str], str]] = MappingProxyType({"StudyDescription": _fitting(64)})
_ANONYMOUS = ("PatientIdentityRemoved", "DeidentificationMethod")
KEPT = (*_PATIENT_TYPE_2, *_PATIENT_TYPE_3, *_STUDY_TYPE_2, *_STUDY_TYPE_3, *_ANONYMOUS)  # all that are copied


def copy_patient_and_study(headers: Sequence[Dataset], into: Dataset) -> None:
    """Give `into` the patient and study attributes of its source: type 2 ones always, if only empty.

    What is the patient's comes from one header, what is the study's from the first that has it.
    """
    patient = [patient_of(headers)]
    for source, type_2, type_3 in (
        (patient, _PATIENT_TYPE_2, _PATIENT_TYPE_3),
        (headers, _STUDY_TYPE_2, _STUDY_TYPE_3),
    ):
        for keyword, clean in type_2.items():
            setattr(into, keyword, clean(first_text(source, keyword)))
        for keyword, clean in type_3.items():
            if value := clean(first_text(source, keyword)):
                setattr(into, keyword, value)
    removed = _one_of("YES", "NO")(first_text(patient, "PatientIdentityRemoved"))
    method = first_text(patient, "DeidentificationMethod")[:64].strip()
    if removed == "YES" and method:
        into.PatientIdentityRemoved = removed
        into.DeidentificationMethod = method
