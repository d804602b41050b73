"""Reports of real files in many character sets (Clunie's charset samples): names as they were, in UTF-8."""

import subprocess
from io import BytesIO

import pytest
from pydicom import dcmread
from support import story
from support.data import shared_data
from support.programs import require_program

from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome, Priority
from triage_agent.results.registry import REGISTRY, ResultContext

pytestmark = pytest.mark.shared

# As dcmtk's `dcmdump +U8` and, for the Japanese sets that it cannot convert, as PS3.5 annex H print them.
NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",  # noqa: RUF001 - so it is in the file: Cyrillic with Latin letters in between
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}


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
