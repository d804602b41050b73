"""The modules of an SR document around its content tree (PS3.3 A.35.13, Comprehensive 3D SR).

They are set here, and not by highdicom's `Comprehensive3DSR`: its constructor reads the clock, and it refuses or warns
of source headers that are incomplete, which are the ones whose reports must not get lost.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian

from triage_agent.domain.decision import Decision
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID, derive_uid
from triage_agent.domain.vocabulary import Event, Outcome
from triage_agent.results import codes as concepts
from triage_agent.results.context import MANUFACTURER, PRODUCT, ResultContext
from triage_agent.results.evidence import Source, evidence_item, predecessor_of
from triage_agent.results.header import copy_patient_and_study, utc_offset

_SERIES_NUMBER = 9901  # above what modalities use, so that it sorts last
_SERIES_DESCRIPTION = "Triage result, preliminary, by a machine"
_LONG_STRING = 64  # characters of LO, PS3.5 section 6.2
_SHORT_TEXT = 1024  # characters of ST


def write_document(
    context: ResultContext, decision: Decision, content: Dataset, sources: Sequence[Source], uid: str
) -> bytes:
    """A Part 10 file in explicit VR little endian with `content` as its tree."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    copy_patient_and_study(context.headers, into=dataset)
    dataset.StudyInstanceUID = decision.study_instance_uid
    _series_and_equipment(context, dataset)
    _sop_common(context, dataset, uid)
    _document_general(context, decision, dataset)
    _replaced(context, dataset)
    for element in content:
        dataset.add(element)
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence_item(sources)]
    return _encode(dataset, context)


def _series_and_equipment(context: ResultContext, dataset: Dataset) -> None:
    """SR Document Series (PS3.3 C.17.1) and General Equipment (C.7.5.1): one series a study, bundle and version."""
    dataset.Modality = "SR"
    dataset.SeriesInstanceUID = derive_uid("series", context.result.study_instance_uid, context.device_uid)
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.SeriesDescription = _SERIES_DESCRIPTION
    dataset.ReferencedPerformedProcedureStepSequence = []
    _equipment(context, dataset)


def _equipment(context: ResultContext, item: Dataset) -> None:
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = _long_string(f"{PRODUCT} with {context.model.name}")
    item.SoftwareVersions = [_long_string(context.software_version), _long_string(context.model.version)]
    item.DeviceSerialNumber = context.model.digest[:_LONG_STRING]
    if context.institution:
        item.InstitutionName = _long_string(context.institution)
    if context.department:
        item.InstitutionalDepartmentName = _long_string(context.department)


def _sop_common(context: ResultContext, dataset: Dataset, uid: str) -> None:
    """PS3.3 C.12.1, with Contributing Equipment and the identification of our coding scheme."""
    made_at = _local(context)
    dataset.SOPClassUID = Comprehensive3DSRStorage
    dataset.SOPInstanceUID = uid
    dataset.InstanceCreationDate = f"{made_at:%Y%m%d}"
    dataset.InstanceCreationTime = f"{made_at:%H%M%S.%f}"
    if utc_offset(context.headers) is not None:
        dataset.TimezoneOffsetFromUTC = f"{made_at:%z}"
    scheme = Dataset()
    scheme.CodingSchemeDesignator = concepts.SITE_SCHEME
    scheme.CodingSchemeUID = concepts.SITE_SCHEME_UID
    scheme.CodingSchemeName = concepts.SITE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]
    equipment = Dataset()
    _equipment(context, equipment)
    equipment.DeviceUID = context.device_uid
    equipment.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(concepts.PROCESSING_EQUIPMENT)]
    equipment.ContributionDateTime = f"{context.made_at.astimezone(UTC):%Y%m%d%H%M%S.%f%z}"
    equipment.ContributionDescription = f"Scored by {context.model.label}"[:_SHORT_TEXT]
    dataset.ContributingEquipmentSequence = [equipment]


def _document_general(context: ResultContext, decision: Decision, dataset: Dataset) -> None:
    """SR Document General (PS3.3 C.17.2): always preliminary, never verified."""
    made_at = _local(context)
    dataset.InstanceNumber = max(1, decision.revision)
    dataset.ContentDate = f"{made_at:%Y%m%d}"
    dataset.ContentTime = f"{made_at:%H%M%S.%f}"
    failed = any(one.outcome is Outcome.FAILED for one in context.assessments)
    if decision.event is Event.DECIDED and not failed:
        dataset.CompletionFlag = "COMPLETE"
    else:
        dataset.CompletionFlag = "PARTIAL"
        dataset.CompletionFlagDescription = "Not every image could be assessed"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    dataset.PerformedProcedureCodeSequence = []


def _replaced(context: ResultContext, dataset: Dataset) -> None:
    """Predecessor Documents (PS3.3 C.17.2): else two reports that differ would stand side by side, both COMPLETE."""
    if (predecessor := predecessor_of(context)) is not None:
        dataset.PredecessorDocumentsSequence = [evidence_item([predecessor])]


def _local(context: ResultContext) -> datetime:
    """When the result was made, in the zone that the source's dates are in."""
    return context.made_at.astimezone(utc_offset(context.headers) or context.timezone)


def _long_string(text: str) -> str:
    """As much of a text as LO holds, also for receivers that count bytes and not characters."""
    return text.replace("\\", "/").encode()[:_LONG_STRING].decode(errors="ignore").strip()


def _encode(dataset: Dataset, context: ResultContext) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"TRIAGE_{context.software_version}"[:16]
    dataset.file_meta = meta
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
