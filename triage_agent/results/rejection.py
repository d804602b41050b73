"""Rejection notes: Key Object Selections that withdraw objects of ours (PS3.3 A.35.4, TID 2010; IHE RAD IOCM).

A PACS that keeps to IOCM hides or removes what a note names. One that does not shows a document that says what was
meant.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from highdicom.ko import KeyObjectSelection
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from triage_agent import __version__
from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.errors import TriageError
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.composite import as_file
from triage_agent.results.context import MANUFACTURER, PRODUCT
from triage_agent.results.evidence import Source, evidence_item, header_in, source_of
from triage_agent.results.header import copy_patient_and_study, utc_offset
from triage_agent.results.kept import EQUIPMENT
from triage_agent.results.key_objects import referenced

_SERIES_NUMBER = 9919
_SERIES_DESCRIPTION = "Withdrawal of triage results"
_TITLES: Mapping[RejectionReason, Code] = MappingProxyType(
    {
        RejectionReason.QUALITY: codes.DCM.RejectedForQualityReasons,
        RejectionReason.PATIENT_SAFETY: codes.DCM.RejectedForPatientSafetyReasons,
        RejectionReason.WRONG_ORDER: codes.DCM.IncorrectModalityWorklistEntry,
        RejectionReason.RETENTION: codes.DCM.DataRetentionPolicyExpired,
    }
)


def rejection_notes(
    study_instance_uid: str, objects: Sequence[Shipment], reason: RejectionReason, now: datetime
) -> list[Shipment]:
    """One note a destination, of those of its objects that no earlier note names; none where there are no such.

    Args:
        study_instance_uid: the study that all of them are of.
        objects: what went to which destination, earlier notes too, in order.
        reason: the notes' title.
        now: when they are withdrawn.

    Raises:
        TriageError: of no object anything is kept that says whose it is (objects of before headers were kept).
    """
    notes: list[Shipment] = []
    unknown: list[Artifact] = []
    for destination in dict.fromkeys(one.destination for one in objects):
        here = [one.artifact for one in objects if one.destination == destination]
        earlier = [one for one in here if one.kind is ArtifactKind.REJECTION]
        named = {uid for note in earlier for uid in _named_by(note)}
        left = [one for one in here if one.kind is not ArtifactKind.REJECTION and one.uid not in named]
        unknown += [one for one in left if not is_known(one)]
        if left := [one for one in left if is_known(one)]:
            note = _note(study_instance_uid, left, reason, now, number=len(earlier) + 1)
            notes.append(Shipment(artifact=note, destination=destination))
    if unknown and not notes:
        raise TriageError(
            "the results of this study were let go with its originals, and nothing says any more whose they are",
            remedy="withdraw them at the PACS",
        )
    return notes


def is_known(artifact: Artifact) -> bool:
    """Whether anything says whose it is, so that a note can name it."""
    return bool(artifact.body or artifact.header)


def _named_by(note: Artifact) -> set[str]:
    if not note.body:
        return set()  # what it names is marked as withdrawn, and is not asked for again
    (study,) = header_in(note).CurrentRequestedProcedureEvidenceSequence
    return {
        str(one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def _note(
    study_instance_uid: str, objects: Sequence[Artifact], reason: RejectionReason, now: datetime, *, number: int
) -> Artifact:
    headers = [header_in(one) for one in objects]
    sources = [source for header in headers if (source := source_of(header, study_instance_uid)) is not None]
    uid = derive_uid(study_instance_uid, ArtifactKind.REJECTION, reason, *sorted(one.uid for one in objects))
    title = _TITLES[reason]
    dataset = _document(headers[-1], uid, now, number)
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence_item(sources)]
    for element in _content(title, sources)[0]:
        dataset.add(element)
    return Artifact(
        kind=ArtifactKind.REJECTION,
        uid=uid,
        body=as_file(dataset),
        summary=f"{title.meaning}: {len(sources)} of our objects are withdrawn",
    )


def _document(newest: Dataset, uid: str, now: datetime, number: int) -> Dataset:
    """Everything but the content; patient, study and equipment are those of the newest object that it withdraws."""
    at = now.astimezone(utc_offset([newest]) or UTC)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    copy_patient_and_study([newest], into=dataset)
    dataset.StudyInstanceUID = newest.StudyInstanceUID
    dataset.Modality = "KO"
    dataset.SeriesInstanceUID = derive_uid("series", newest.StudyInstanceUID, ArtifactKind.REJECTION)
    dataset.SeriesNumber, dataset.SeriesDescription = _SERIES_NUMBER, _SERIES_DESCRIPTION
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.Manufacturer = MANUFACTURER
    for keyword in EQUIPMENT:
        if keyword in newest:
            dataset[keyword] = newest[keyword]
    dataset.SOPClassUID, dataset.SOPInstanceUID = KeyObjectSelectionDocumentStorage, uid
    dataset.InstanceNumber = number
    dataset.InstanceCreationDate = dataset.ContentDate = f"{at:%Y%m%d}"
    dataset.InstanceCreationTime = dataset.ContentTime = f"{at:%H%M%S.%f}"
    if utc_offset([newest]) is not None:
        dataset.TimezoneOffsetFromUTC = f"{at:%z}"
    return dataset


def _content(title: Code, sources: Sequence[Source]) -> KeyObjectSelection:
    return KeyObjectSelection(
        document_title=title,
        referenced_objects=[
            referenced(
                one.sop_class_uid,
                one.sop_instance_uid,
                image=one.sop_class_uid == SecondaryCaptureImageStorage,
            )
            for one in sources
        ],
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=derive_uid("device", PRODUCT, __version__), name=PRODUCT, manufacturer_name=MANUFACTURER
            ),
        ),
        description=f"{title.meaning}. These results of {PRODUCT} are withdrawn and must not be relied upon.",
    )
