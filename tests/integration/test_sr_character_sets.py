"""Reports of real files in many character sets (Clunie's charset samples): names as they were, in UTF-8."""

import subprocess
from io import BytesIO

import pytest
from pydicom import dcmread
from support import story
from support.charsets import NAMES
from support.data import shared_data
from support.programs import require_program

from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome, Priority
from triage_agent.results.registry import REGISTRY, ResultContext

pytestmark = pytest.mark.shared


def context_of(path):
    header = dcmread(path, stop_before_pixels=True)
    decision = story.decision(
        str(header.StudyInstanceUID),
        finding=Finding.NORMAL,
        probability=0.25,
        priority=Priority.ROUTINE,
        acr_category=None,
        rule="normal",
        anatomy=None,
    )
    scored = Assessment(sop_instance_uid=str(header.SOPInstanceUID), outcome=Outcome.SCORED, probability=0.25)
    return ResultContext(result=decision, headers=(header,), assessments=(scored,))


@pytest.fixture(params=NAMES)
def sample(request):
    return shared_data("dicom", "charset") / request.param, NAMES[request.param]


def test_the_name_is_the_source_s(sample):
    path, name = sample
    report = dcmread(BytesIO(REGISTRY[ArtifactKind.SR].build(context_of(path)).body))
    source = dcmread(path, stop_before_pixels=True)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName).rstrip("=") == name
    assert report.PatientID == source.PatientID


def test_the_name_in_a_message_is_the_source_s(sample):
    path, name = sample
    message = REGISTRY[ArtifactKind.HL7_ORU].build(context_of(path)).body.decode()
    pid = next(segment for segment in message.split("\r") if segment.startswith("PID"))
    for component in name.replace("=", "^").split("^"):
        assert component in pid


@pytest.mark.external
def test_dciodvfy_finds_no_error(sample, tmp_path):
    path, _ = sample
    report = tmp_path / "report.dcm"
    report.write_bytes(REGISTRY[ArtifactKind.SR].build(context_of(path)).body)
    done = subprocess.run([require_program("dciodvfy"), report], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.external
def test_dcmtk_reads_the_name(sample, tmp_path):
    path, name = sample
    report = tmp_path / "report.dcm"
    report.write_bytes(REGISTRY[ArtifactKind.SR].build(context_of(path)).body)
    done = subprocess.run([require_program("dcmdump"), "+P", "PatientName", report], capture_output=True, check=True)
    assert name in done.stdout.decode()
