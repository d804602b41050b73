"""A message as a site's configuration makes it, of a study that does not exist: what `check` shows."""

from datetime import UTC, datetime

from pydicom import Dataset

from triage_agent.domain.decision import Decision, InForm, ModelIdentity
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import Event, Finding, Priority
from triage_agent.results.context import ResultContext
from triage_agent.results.hl7_versions import CODECS
from triage_agent.results.registry import REGISTRY

STUDY = derive_uid("example", "study")


def example_message(what: InForm, institution: str) -> list[str]:
    """The segments of a kind of message in a form; the study is raised to urgent."""
    kind, form = what
    context = ResultContext(result=example_decision(), headers=(_header(),), institution=institution, form=form)
    body = REGISTRY[kind].build(context).body.decode(CODECS[form.charset])
    return body.rstrip("\r").split("\r")


def _header() -> Dataset:
    header, request = Dataset(), Dataset()
    header.StudyInstanceUID, header.AccessionNumber, header.Modality = STUDY, "EXAMPLE-1", "DX"
    header.StudyDate, header.StudyTime, header.StudyDescription = "20260102", "120000", "Knee, two views"
    header.PatientName, header.PatientID, header.PatientSex = "EXAMPLE^PATIENT", "EXAMPLE-ID", "O"
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "EXAMPLE-RP", "EXAMPLE-SPS"
    header.RequestAttributesSequence = [request]
    return header


def example_decision() -> Decision:
    """A study that was raised to urgent."""
    return Decision(
        study_instance_uid=STUDY,
        revision=1,
        event=Event.DECIDED,
        finding=Finding.ABNORMAL,
        probability=0.9,
        priority=Priority.URGENT,
        acr_category="2",
        rule="example",
        reasons=("This is an example.",),
        status_reason="",
        anatomy="XR_KNEE",
        model=ModelIdentity(
            name="example",
            version="1",
            digest="0" * 64,
            anatomies=("XR_KNEE",),
            threshold=0.5,
            alert=0.9,
            clinical_use=False,
        ),
        decided_at=datetime(2026, 1, 2, 12, 1, tzinfo=UTC),
    )
