"""A result as a workitem for a PACS that owns the worklist (PS3.3 section B.26, PS3.4 table CC.2.5-3).

One workitem a study, whatever the revision: each result brings it up to date. It is a Part 10 file of UPS Push, whose
attributes are those of an N-CREATE.
"""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from itertools import groupby

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from triage_agent.domain.decision import Artifact, Flag
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.workitem import PRIORITIES, Readiness, workitem_uid
from triage_agent.results import header
from triage_agent.results.context import ResultContext
from triage_agent.results.evidence import Source, sources_of
from triage_agent.results.summary import headline, sr_summary

_PUSH = UID("1.2.840.10008.5.1.4.34.6.1")
_WORKLIST_LABEL = "TRIAGE"
_LONG_STRING, _LONG_TEXT = 64, 10240  # characters of LO and LT, PS3.5 section 6.2
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName")


def build_workitem(context: ResultContext) -> Artifact:
    """The workitem "read this study" with the priority that the result gives it."""
    data = _data_set(context)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = _PUSH, data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return Artifact(
        kind=ArtifactKind.UPS,
        uid=context.uid(ArtifactKind.UPS.value),
        body=file.getvalue(),
        summary=headline(context.result),
    )


def _data_set(context: ResultContext) -> Dataset:
    result = context.result
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = _PUSH, workitem_uid(result.study_instance_uid)
    known = Dataset()
    header.copy_patient_and_study(context.headers, into=known)
    for keyword in _PATIENT[:4]:
        setattr(data, keyword, known.get(keyword, ""))
    data.AdmissionID = ""
    data.ProcedureStepState = "SCHEDULED"
    data.ScheduledProcedureStepPriority = PRIORITIES[result.priority]
    modality = header.first_text(context.headers, "Modality")
    data.ProcedureStepLabel = " ".join(filter(None, ("Read", modality, result.anatomy)))[:_LONG_STRING]
    data.WorklistLabel = _WORKLIST_LABEL
    data.ScheduledWorkitemCodeSequence = [_code("110005", "DCM", "Interpretation")]
    data.ScheduledProcedureStepStartDateTime = _moment(context.made_at)
    # A flag rises while images may still come; the decision that follows it says that they are here.
    data.InputReadinessState = Readiness.INCOMPLETE if isinstance(result, Flag) else Readiness.READY
    data.CommentsOnTheScheduledProcedureStep = sr_summary(result).replace("\n", "\r\n")[:_LONG_TEXT]
    data.ScheduledProcessingParametersSequence = data.ScheduledStationNameCodeSequence = []
    data.InputInformationSequence = _inputs(sources_of(context))
    data.ReferencedRequestSequence = [_request(context, known)]
    data.ProcedureStepProgressInformationSequence = data.UnifiedProcedureStepPerformedProcedureSequence = []
    return data


def _inputs(sources: Sequence[Source]) -> list[Dataset]:
    """Referenced Instances and Access (PS3.3 table 10-3b), an item a series."""
    items = []
    ordered = sorted(sources, key=lambda source: source.series_instance_uid)
    for series, members in groupby(ordered, key=lambda source: source.series_instance_uid):
        item = Dataset()
        item.TypeOfInstances = "DICOM"
        item.SeriesInstanceUID = series
        item.ReferencedSOPSequence = []
        for source in members:
            item.StudyInstanceUID = source.study_instance_uid
            reference = Dataset()
            reference.ReferencedSOPClassUID = source.sop_class_uid
            reference.ReferencedSOPInstanceUID = source.sop_instance_uid
            item.ReferencedSOPSequence.append(reference)
        items.append(item)
    return items


def _request(context: ResultContext, known: Dataset) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = context.result.study_instance_uid
    item.AccessionNumber = known.get("AccessionNumber", "")
    item.ReferringPhysicianName = known.get("ReferringPhysicianName", "")
    item.RequestedProcedureID = item.RequestedProcedureDescription = ""
    item.RequestedProcedureCodeSequence = []
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _moment(at: datetime) -> str:
    return f"{at:%Y%m%d%H%M%S%z}"
