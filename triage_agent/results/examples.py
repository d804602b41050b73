"""Every kind of artifact once, of a study that does not exist: what the conformance statement describes."""

from collections.abc import Iterator
from dataclasses import replace

from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from triage_agent.domain.decision import Artifact, Decision, Shipment
from triage_agent.domain.study import Assessment
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Outcome
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.context import ResultContext
from triage_agent.results.hl7_example import STUDY, example_decision
from triage_agent.results.registry import REGISTRY
from triage_agent.results.rejection import rejection_notes

_IMAGE, _SERIES = derive_uid("example", "image"), derive_uid("example", "series")
_CATEGORIES = ("1", "2", "3", None)


def example_header() -> Dataset:
    """One radiograph without its pixels, with all that our results take from images."""
    header, request = Dataset(), Dataset()
    header.SOPClassUID, header.SOPInstanceUID = DigitalXRayImageStorageForPresentation, _IMAGE
    header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, _SERIES
    header.PatientName, header.PatientID, header.IssuerOfPatientID = "EXAMPLE^PATIENT", "EXAMPLE-ID", "EXAMPLE"
    header.PatientBirthDate, header.PatientSex = "19700101", "O"
    header.StudyDate, header.StudyTime, header.StudyID = "20260102", "120000", "EXAMPLE"
    header.AccessionNumber, header.ReferringPhysicianName = "EXAMPLE-1", "REFERRER^EXAMPLE"
    header.StudyDescription, header.Modality, header.TimezoneOffsetFromUTC = "Knee, two views", "DX", "+0100"
    header.BodyPartExamined, header.ImageLaterality, header.InstanceNumber = "KNEE", "L", 1
    header.Rows, header.Columns, header.PhotometricInterpretation = 2048, 1536, "MONOCHROME2"
    header.PresentationLUTShape, header.RescaleIntercept, header.RescaleSlope = "IDENTITY", 0, 1
    header.RescaleType, header.WindowCenter, header.WindowWidth = "US", 2048, 4096
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "EXAMPLE-RP", "EXAMPLE-SPS"
    header.RequestAttributesSequence = [request]
    return header


def example_artifact(kind: ArtifactKind, decision: Decision | None = None) -> Artifact | None:
    """One artifact of a kind, of a study that was raised or of `decision`; None where it has nothing to say of that."""
    decision = decision or example_decision()
    if kind is ArtifactKind.REJECTION:
        return _rejection(RejectionReason.QUALITY)
    scored = Assessment(
        sop_instance_uid=_IMAGE, outcome=Outcome.SCORED, probability=decision.probability, anatomy=decision.anatomy
    )
    assessed = decision.finding is not Finding.NOT_ASSESSED
    one = scored if assessed else replace(scored, outcome=Outcome.FAILED, reason="it cannot be decoded")
    context = ResultContext(result=decision, headers=(example_header(),), assessments=(one,))
    builder = REGISTRY[kind]
    return builder.build(context) if builder.has_something_to_say(context) else None


def varieties(kind: ArtifactKind) -> Iterator[Artifact]:
    """A kind of every finding and category, and of a study that nobody could score: for the codes that it can have."""
    if kind is ArtifactKind.REJECTION:
        yield from map(_rejection, RejectionReason)
        return
    for finding in Finding:
        for category in _CATEGORIES:
            decision = replace(example_decision(), finding=finding, acr_category=category)
            if finding is Finding.NOT_ASSESSED:
                decision = replace(decision, probability=None)
            if (made := example_artifact(kind, decision)) is not None:
                yield made
    if REGISTRY[kind].tells_of_unscored:
        failed = replace(example_decision(), event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None)
        if (made := example_artifact(kind, failed)) is not None:
            yield made


def _rejection(reason: RejectionReason) -> Artifact:
    report = example_artifact(ArtifactKind.SR)
    if report is None:
        raise LookupError("a report has something to say of every decision")
    made_at = example_decision().decided_at
    (note,) = rejection_notes(STUDY, [Shipment(artifact=report, destination="")], reason, made_at)
    return note.artifact
