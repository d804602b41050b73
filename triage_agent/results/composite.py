"""The modules that every DICOM object of ours has: patient, study, series, equipment, SOP common; and its file.

They are set here, and not by highdicom's classes of whole objects: their constructors read the clock, and refuse or
warn of source headers that are incomplete, which are the ones whose results must not get lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from highdicom.sr import CodedConcept
from pydicom import DataElement, Dataset
from pydicom.charset import default_encoding
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from triage_agent import __version__
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID, derive_uid
from triage_agent.results import codes as concepts
from triage_agent.results.context import MANUFACTURER, PRODUCT, ResultContext
from triage_agent.results.header import copy_patient_and_study, utc_offset

_SERIES_DESCRIPTION = "Triage result, preliminary, by a machine"
_EXPLICIT_LITTLE_ENDIAN = (False, True)  # not implicit, and little
_LONG_STRING = 64  # characters of LO, PS3.5 section 6.2
_SHORT_TEXT = 1024  # characters of ST


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The series that a kind of object is kept in: one a study, bundle and version of the software.

    Attributes:
        modality: of the objects in it, and of no others.
        number: above what modalities use, so that it sorts last.
        name: tells series of one modality apart; empty for the one that was there first.
    """

    modality: str
    number: int
    name: str = ""


def begin(context: ResultContext, series: Series, sop_class_uid: str, uid: str) -> Dataset:
    """A data set with everything but what is the object's own."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    copy_patient_and_study(context.headers, into=dataset)
    dataset.StudyInstanceUID = context.result.study_instance_uid
    _series_and_equipment(context, series, dataset)
    _sop_common(context, dataset, sop_class_uid, uid)
    return dataset


def set_content_time(context: ResultContext, dataset: Dataset) -> None:
    """Content Date and Time: when the result was made."""
    made_at = local(context)
    dataset.ContentDate = f"{made_at:%Y%m%d}"
    dataset.ContentTime = f"{made_at:%H%M%S.%f}"


def add_coding_scheme(dataset: Dataset) -> None:
    """Identify our own coding scheme (PS3.3 C.12.1.1.3); for objects that use it."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = concepts.SITE_SCHEME
    scheme.CodingSchemeUID = concepts.SITE_SCHEME_UID
    scheme.CodingSchemeName = concepts.SITE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]


def _series_and_equipment(context: ResultContext, series: Series, dataset: Dataset) -> None:
    """General Series or SR Document Series (PS3.3 C.7.3.1, C.17.1) and General Equipment (C.7.5.1)."""
    which = (series.name,) if series.name else ()
    dataset.Modality = series.modality
    dataset.SeriesInstanceUID = derive_uid("series", context.result.study_instance_uid, context.device_uid, *which)
    dataset.SeriesNumber = series.number
    dataset.SeriesDescription = _SERIES_DESCRIPTION
    _equipment(context, dataset)


def _equipment(context: ResultContext, item: Dataset) -> None:
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = long_string(f"{PRODUCT} with {context.model.name}")
    item.SoftwareVersions = [long_string(context.software_version), long_string(context.model.version)]
    item.DeviceSerialNumber = context.model.digest[:_LONG_STRING]
    if context.institution:
        item.InstitutionName = long_string(context.institution)
    if context.department:
        item.InstitutionalDepartmentName = long_string(context.department)


def _sop_common(context: ResultContext, dataset: Dataset, sop_class_uid: str, uid: str) -> None:
    """PS3.3 C.12.1, with Contributing Equipment."""
    made_at = local(context)
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = uid
    dataset.InstanceCreationDate = f"{made_at:%Y%m%d}"
    dataset.InstanceCreationTime = f"{made_at:%H%M%S.%f}"
    if utc_offset(context.headers) is not None or context.timezone is not UTC:
        dataset.TimezoneOffsetFromUTC = f"{made_at:%z}"
    equipment = Dataset()
    _equipment(context, equipment)
    equipment.DeviceUID = context.device_uid
    equipment.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(concepts.PROCESSING_EQUIPMENT)]
    equipment.ContributionDateTime = f"{context.made_at.astimezone(UTC):%Y%m%d%H%M%S.%f%z}"
    equipment.ContributionDescription = f"Scored by {context.model.label}"[:_SHORT_TEXT]
    dataset.ContributingEquipmentSequence = [equipment]


def local(context: ResultContext) -> datetime:
    """When the result was made, in the zone that the source's dates are in."""
    return context.made_at.astimezone(utc_offset(context.headers) or context.timezone)


def long_string(text: str) -> str:
    """As much of a text as LO holds, also for receivers that count bytes and not characters."""
    return text.replace("\\", "/").encode()[:_LONG_STRING].decode(errors="ignore").strip()


def short_text(lines: Sequence[str]) -> str:
    """As many whole lines as ST holds, in bytes; CR LF between them."""
    kept = ""
    for line in lines:
        longer = f"{kept}\r\n{line}" if kept else line
        if len(longer.encode()) > _SHORT_TEXT:
            break
        kept = longer
    return kept


def as_file(dataset: Dataset, software_version: str = __version__) -> bytes:
    """The data set as a Part 10 file (PS3.10) in explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"TRIAGE_{software_version}"[:16]
    dataset.file_meta = meta
    _settle_items(dataset)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _settle_items(dataset: Dataset) -> None:
    """Tell pydicom that items are as they will be written.

    Of others it looks, at every level again, for whose value representation depends on others; one look at the whole
    has found those already (`pydicom.filewriter.write_dataset`).
    """
    for element in dataset.values():
        for item in element.value if element.VR == "SQ" and isinstance(element, DataElement) else ():
            if item.original_encoding == (None, None):  # made here, and not read from anywhere
                item.set_original_encoding(*_EXPLICIT_LITTLE_ENDIAN, default_encoding)
            _settle_items(item)
