"""The data sets of Unified Procedure Steps (PS3.4 table CC.2.5-3, PS3.3 section C.30), made and read.

What is read came from a peer: of bounded size, every UID a UID, or it is refused. Nothing of its text is repeated.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError
from triage_agent.domain.quiet import quiet
from triage_agent.domain.workitem import PRIORITIES, Attributes, Instance, ReadingTask, StepState, Workitem

PUSH = UID("1.2.840.10008.5.1.4.34.6.1")
WATCH = UID("1.2.840.10008.5.1.4.34.6.2")
PULL = UID("1.2.840.10008.5.1.4.34.6.3")
EVENT = UID("1.2.840.10008.5.1.4.34.6.4")
QUERY = UID("1.2.840.10008.5.1.4.34.6.5")

WORKLIST_LABEL = "TRIAGE"
INTERPRETATION = ("110005", "DCM", "Interpretation")

_FIRST_ATTRIBUTE = 0x00080001
_MOST_JSON = 65536  # bytes that peers may set of one workitem
# What says which workitem it is and where it stands: nobody sets these as attributes.
_NEVER_SET = frozenset({"00080005", "00080016", "00080018", "00081195", "00741000"})
# What a peer may set of a study's workitem (PS3.4 table CC.2.5-3): progress, what was performed, and by whom it is to
# be done. The study's own facts and its priority come from the worklist alone.
_OF_A_READING = frozenset(
    {"00741002", "00741216", "00404025", "00404026", "00404027", "00404034", "00400400", "00404010", "00404011"}
)


def data_set(item: Workitem, *, ae_title: str, titles: Mapping[str, str]) -> Dataset:
    """A workitem as C-FIND and N-GET show it: never with its Transaction UID (PS3.4 section CC.2.7.3).

    `ae_title` is ours, the station that our reports come from; `titles` are those of destinations, by their names.
    """
    data = Dataset() if item.study is None else _reading(item.study, item, ae_title, titles)
    for element in Dataset.from_json(json.dumps(dict(item.attributes))):
        data.add(element)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = PUSH, item.uid
    data.ProcedureStepState = item.state.value
    data.ScheduledProcedureStepModificationDateTime = _moment(item.modified_at)
    return data


def _reading(task: ReadingTask, item: Workitem, ae_title: str, titles: Mapping[str, str]) -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName, data.PatientID = task.patient_name, task.patient_id
    data.PatientBirthDate = data.PatientSex = data.AdmissionID = ""
    data.StudyInstanceUID = task.study_instance_uid
    data.ScheduledProcedureStepPriority = PRIORITIES[task.priority]
    data.ProcedureStepLabel = " ".join(filter(None, ("Read", task.modality, task.anatomy)))[:64]
    data.WorklistLabel = WORKLIST_LABEL
    data.ScheduledWorkitemCodeSequence = [code(*INTERPRETATION)]
    data.ScheduledProcedureStepStartDateTime = _moment(item.created_at)
    data.InputReadinessState = task.readiness.value
    data.CommentsOnTheScheduledProcedureStep = _comment(task)
    data.ScheduledStationNameCodeSequence = data.ScheduledProcessingParametersSequence = []
    data.InputInformationSequence = list(_references(task))
    data.ReferencedRequestSequence = [_request(task)]
    data.ProcedureStepProgressInformationSequence = []
    data.UnifiedProcedureStepPerformedProcedureSequence = list(_performed(task, ae_title, titles))
    return data


def _comment(task: ReadingTask) -> str:
    """Why it stands where it stands, for whoever reads the list."""
    if task.finding is None and task.priority is task.priority_at_arrival:
        return ""
    figure = "" if task.probability is None else f", probability {task.probability:.2f}"
    finding = task.finding.value.replace("_", " ") if task.finding is not None else "possibly abnormal"
    rule = f", rule {task.rule}" if task.rule else ""
    return f"Preliminary, made by a machine: {finding}{figure}{rule}. {task.bundle}".strip()


def _references(task: ReadingTask) -> Iterable[Dataset]:
    """One item a series (PS3.3 table 10-3b, Referenced Instances and Access)."""
    for series, instances in groupby(task.inputs, key=lambda one: one.series_instance_uid):
        yield _reference(task.study_instance_uid, series, instances, "DICOM")


def _reference(study: str, series: str, instances: Iterable[Instance], kind: str) -> Dataset:
    item = Dataset()
    item.TypeOfInstances = kind
    item.StudyInstanceUID, item.SeriesInstanceUID = study, series
    item.ReferencedSOPSequence = []
    for instance in instances:
        referenced = Dataset()
        referenced.ReferencedSOPClassUID = instance.sop_class_uid
        referenced.ReferencedSOPInstanceUID = instance.sop_instance_uid
        item.ReferencedSOPSequence.append(referenced)
    return item


def _request(task: ReadingTask) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = task.study_instance_uid
    item.AccessionNumber = task.accession_number
    item.RequestedProcedureID = item.RequestedProcedureDescription = ""
    item.RequestedProcedureCodeSequence = []
    return item


def output_information(task: ReadingTask, titles: Mapping[str, str]) -> list[Attributes]:
    """Our reports of a study as items of Output Information, in DICOM JSON."""
    return [output.to_json_dict() for output in _outputs(task, titles)]


def _performed(task: ReadingTask, ae_title: str, titles: Mapping[str, str]) -> Iterable[Dataset]:
    """What has come of it so far: our reports, once a destination has them."""
    outputs = list(_outputs(task, titles))
    if outputs:
        item = Dataset()
        item.PerformedStationNameCodeSequence = [code(ae_title, "99TRIAGE", "Triage agent")]
        item.OutputInformationSequence = outputs
        yield item


def _outputs(task: ReadingTask, titles: Mapping[str, str]) -> Iterable[Dataset]:
    for destination, body in task.outputs:
        yield from _output(titles.get(destination, ""), body)


def _output(retrieve_ae_title: str, body: bytes) -> Iterable[Dataset]:
    try:
        report = dcmread(BytesIO(body), specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])
        study = str(dcmread(BytesIO(body), specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    except (InvalidDicomError, AttributeError):
        return
    one = Instance(
        series_instance_uid=str(report.SeriesInstanceUID),
        sop_class_uid=str(report.SOPClassUID),
        sop_instance_uid=str(report.SOPInstanceUID),
    )
    item = _reference(study, one.series_instance_uid, [one], "DICOM")
    where = Dataset()
    where.RetrieveAETitle = retrieve_ae_title
    item.DICOMRetrievalSequence = [where] if retrieve_ae_title else []
    yield item


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")


def settable(given: Dataset, *, reading: bool) -> tuple[Attributes, bool]:
    """What a peer may set of what it gave, as DICOM JSON, and whether that is all of it.

    Raises:
        InvalidDatasetError: an element cannot be read.
        StorageExhaustedError: it is more than we keep.
    """
    attributes = as_json(given)
    own = {tag: element for tag, element in attributes.items() if tag not in _NEVER_SET}
    kept = {tag: element for tag, element in own.items() if not reading or tag in _OF_A_READING}
    return kept, len(kept) == len(own)


def as_json(given: Dataset) -> dict[str, object]:
    """A data set as DICOM JSON (PS3.18 annex F); private elements, group lengths, commands' and files' are left out.

    Raises:
        InvalidDatasetError: an element cannot be read.
        StorageExhaustedError: it is more than we keep.
    """
    try:
        with quiet():
            given.remove_private_tags()
            for tag in [tag for tag in given.keys() if int(tag) < _FIRST_ATTRIBUTE]:  # noqa: SIM118 - it would convert
                del given[tag]
            attributes: dict[str, object] = given.to_json_dict()
            written = json.dumps(attributes)
            _write(Dataset.from_json(written))
    except Exception as error:
        raise InvalidDatasetError(f"the attributes cannot be read ({type(error).__name__})") from error
    if len(written) > _MOST_JSON:
        raise StorageExhaustedError("more attributes than we keep of a workitem")
    return {tag: element for tag, element in attributes.items() if not tag.endswith("0000")}


def _write(data: Dataset) -> None:
    """Whoever asks for it later must be able to read it: what cannot be written again is refused now."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, data)


def information(attributes: Attributes) -> Dataset:
    """What an N-EVENT-REPORT says."""
    data = Dataset.from_json(json.dumps(dict(attributes)))
    data.SpecificCharacterSet = "ISO_IR 192"
    return data


def wanted_state(given: Dataset) -> StepState:
    """The Procedure Step State that is asked for.

    Raises:
        InvalidDatasetError: it is none of the four.
    """
    try:
        return StepState(text_of(given, "ProcedureStepState"))
    except ValueError:
        raise InvalidDatasetError("ProcedureStepState is none of the standard's") from None


def text_of(given: Dataset, keyword: str) -> str:
    """An element's text; empty where it is absent.

    Raises:
        InvalidDatasetError: it cannot be read.
    """
    try:
        return str(given.get(keyword) or "").strip(" \0")
    except Exception as error:
        raise InvalidDatasetError(f"{keyword} cannot be read ({type(error).__name__})") from error
