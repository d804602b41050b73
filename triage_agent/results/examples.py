"""Every kind of artifact once, of a study that does not exist: what the conformance statement describes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from triage_agent.domain.decision import Artifact, Decision, Shipment
from triage_agent.domain.evidence import EvidenceMap
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


# Everything that results take from images, of two studies that differ in each of it.
_TAKEN: Mapping[str, tuple[Any, Any]] = MappingProxyType(
    {
        "PatientName": ("EXAMPLE^PATIENT", "OTHER^PATIENT"),
        "PatientID": ("EXAMPLE-ID", "OTHER-ID"),
        "IssuerOfPatientID": ("EXAMPLE", "OTHER"),
        "PatientBirthDate": ("19700101", "19800202"),
        "PatientSex": ("O", "F"),
        "StudyDate": ("20260102", "20260203"),
        "StudyTime": ("120000", "130000"),
        "StudyID": ("EXAMPLE", "OTHER"),
        "StudyDescription": ("Knee, two views", "Knee, one view"),
        "AccessionNumber": ("EXAMPLE-1", "OTHER-1"),
        "ReferringPhysicianName": ("REFERRER^EXAMPLE", "REFERRER^OTHER"),
        "TimezoneOffsetFromUTC": ("+0100", "+0200"),
        "Modality": ("DX", "CR"),
        "InstanceNumber": (41, 42),
        "Rows": (2048, 1024),
        "Columns": (1536, 768),
        "PhotometricInterpretation": ("MONOCHROME2", "MONOCHROME1"),
        "PresentationLUTShape": ("IDENTITY", "INVERSE"),
        "RescaleIntercept": (0, 1),
        "RescaleSlope": (1, 2),
        "RescaleType": ("US", "HU"),
        "WindowCenter": (2048, 512),
        "WindowWidth": (4096, 1024),
    }
)


def example_header(*, other: bool = False) -> Dataset:
    """One radiograph without its pixels; the `other` one has the same UIDs, and other values for all the rest."""
    header, request = Dataset(), Dataset()
    header.SOPClassUID, header.SOPInstanceUID = DigitalXRayImageStorageForPresentation, _IMAGE
    header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, _SERIES
    for keyword, values in _TAKEN.items():
        setattr(header, keyword, values[other])
    header.BodyPartExamined, header.ImageLaterality = "KNEE", "L"
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "EXAMPLE-RP", "EXAMPLE-SPS"
    header.RequestAttributesSequence = [request]
    return header


@lru_cache(maxsize=256)
def example_artifact(kind: ArtifactKind, decision: Decision | None = None, *, other: bool = False) -> Artifact | None:
    """One artifact of a kind, of a study that was raised or of `decision`; None where it has nothing to say of that.

    With `other` it is made of the other header (`example_header`).
    """
    decision = decision or example_decision()
    if kind is ArtifactKind.REJECTION:
        return _rejection(RejectionReason.QUALITY, other=other)
    scored = Assessment(
        sop_instance_uid=_IMAGE, outcome=Outcome.SCORED, probability=decision.probability, anatomy=decision.anatomy
    )
    assessed = decision.finding is not Finding.NOT_ASSESSED
    one = scored if assessed else replace(scored, outcome=Outcome.FAILED, reason="it cannot be decoded")
    maps = {_IMAGE: _example_map()} if kind.is_evidence and assessed else {}
    header = example_header(other=other)
    context = ResultContext(result=decision, headers=(header,), assessments=(one,), maps=maps)
    builder = REGISTRY[kind]
    return builder.build(context) if builder.has_something_to_say(context) else None


def _example_map() -> EvidenceMap:
    """A spot in the middle."""
    heat = np.zeros((32, 24), np.float32)
    heat[12:20, 8:16] = 1
    picture = np.repeat(np.round(heat * 255).astype(np.uint8)[..., None], 3, axis=2)
    return EvidenceMap(sop_instance_uid=_IMAGE, frame=None, heat=heat, picture=picture, method="example")


def varieties(kind: ArtifactKind) -> Iterator[Artifact]:
    """A kind of every finding and category, and of a study that nobody could score: for the codes that it can have."""
    if kind is ArtifactKind.REJECTION:
        yield from map(_rejection, RejectionReason)
        return
    usual = example_decision()
    decisions = [replace(usual, finding=finding) for finding in Finding if finding is not Finding.NOT_ASSESSED]
    decisions += [replace(usual, acr_category=category) for category in _CATEGORIES]
    decisions.append(replace(usual, finding=Finding.NOT_ASSESSED, probability=None))
    if REGISTRY[kind].tells_of_unscored:
        decisions.append(replace(decisions[-1], event=Event.FAILED))
    for decision in decisions:
        if (made := example_artifact(kind, decision)) is not None:
            yield made


def _rejection(reason: RejectionReason, *, other: bool = False) -> Artifact:
    report = example_artifact(ArtifactKind.SR, other=other)
    if report is None:
        raise LookupError("a report has something to say of every decision")
    made_at = example_decision().decided_at
    (note,) = rejection_notes(STUDY, [Shipment(artifact=report, destination="")], reason, made_at)
    return note.artifact
