"""Reports against other people's validators: dicom3tools, dcmtk and PixelMed."""

import os
import subprocess
from dataclasses import replace

import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from support import story
from support.programs import require_program

from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority
from triage_agent.results.context import ResultContext
from triage_agent.results.structured_report import build_structured_report

pytestmark = pytest.mark.external

STUDY = "1.2.840.99.1"
# PixelMed's validator runs into the limits that Java 17 sets for XPath.
JAVA = "-Djdk.xml.xpathTotalOpLimit=0 -Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathExprGrpLimit=0 -Xss64m"

MODEL = replace(story.MODEL, name="embedded", digest="0f" * 32, notice="Weights under their own terms.")


def radiograph(number, **values):
    """A DX data set that is valid but for its lack of pixels."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = f"{STUDY}.1.{number}"
    dataset.SeriesInstanceUID = f"{STUDY}.1"
    dataset.StudyInstanceUID = STUDY
    dataset.PatientName, dataset.PatientID, dataset.IssuerOfPatientID = "Åkesson^Görel", "P1", "HOSP"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19700203", "F", "056Y"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260301", "081500", "S1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "A1", "Ek^Bo"
    dataset.StudyDescription = "Knie links"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "DX", 1, number
    dataset.BodyPartExamined, dataset.ImageLaterality = "KNEE", "L"
    for keyword, value in values.items():  # also what is not valid, as it comes from a file
        tag = tag_for_keyword(keyword)
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)
    return dataset


def assessed(number, probability=None):
    outcome = Outcome.FAILED if probability is None else Outcome.SCORED
    return Assessment(
        sop_instance_uid=f"{STUDY}.1.{number}", outcome=outcome, probability=probability, anatomy="XR_KNEE"
    )


def decided(**changes):
    values = {
        "probability": 0.912345678,
        "priority": Priority.STAT,
        "acr_category": "1",
        "rule": "clear fracture",
        "reasons": ("2 of 2 images scored; mean probability 0.91 is at or above the threshold 0.50.",),
        "model": MODEL,
        **changes,
    }
    return story.decision(STUDY, **values)


FULL = ResultContext(
    result=decided(),
    headers=(radiograph(1), radiograph(2)),
    assessments=(assessed(1, 0.9), assessed(2, 0.93)),
    institution="Länssjukhuset",
    department="Röntgen",
)
AMENDED = replace(FULL, result=replace(FULL.result, revision=2), previous=build_structured_report(FULL))
BARE = Dataset()
BARE.SOPClassUID, BARE.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"{STUDY}.1.1"
BARE.SeriesInstanceUID, BARE.StudyInstanceUID = f"{STUDY}.1", STUDY
REPORTS = {
    "abnormal": FULL,
    "in the place of an earlier one": AMENDED,
    "not all images could be scored": ResultContext(
        result=decided(event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None, acr_category=None),
        headers=(radiograph(1), radiograph(2)),
        assessments=(assessed(1), assessed(2, 0.1)),
    ),
    "a region that the model named": replace(
        FULL,
        headers=(radiograph(1, BodyPartExamined="EXTREMITY"), radiograph(2, BodyPartExamined="LOWER EXTREMITY")),
        assessments=tuple(replace(assessed(n, 0.9), anatomy_from_image=True) for n in (1, 2)),
    ),
    "a header with nothing but identifiers": ResultContext(
        result=decided(finding=Finding.NORMAL, priority=Priority.ROUTINE, acr_category=None, anatomy=None),
        headers=(BARE,),
        assessments=(assessed(1, 0.2),),
    ),
    "values that are too long, and a bundle with an unusual name": ResultContext(
        result=decided(reasons=("One line\nand another \\ with a backslash.", "ä" * 3000)),
        headers=(
            radiograph(
                1,
                SpecificCharacterSet="ISO_IR 192",
                PatientName="山田^太郎" * 30,
                StudyDescription="ж" * 64,
                ReferringPhysicianName="Ek",
                TimezoneOffsetFromUTC="+0200",
            ),
        ),
        assessments=(assessed(1, 0.9),),
        institution="Krankenhaus " * 20,
    ),
}


@pytest.fixture(params=REPORTS)
def report(request, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(build_structured_report(REPORTS[request.param]).body)
    return path


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, check=False, timeout=280, env=dict(os.environ, **environment))
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def test_dciodvfy_finds_no_error(report):
    _, said = run(require_program("dciodvfy"), str(report))
    assert "Comprehensive3DSR" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_dsrdump_reads_it(report):
    code, said = run(require_program("dsrdump"), "-Er", "-Ei", str(report))
    assert code == 0, said
    assert "Imaging Measurement Report" in said
    assert not [line for line in said.splitlines() if line.startswith(("E:", "F:"))]


def test_dcentvfy_finds_the_report_and_its_images_to_be_of_one_patient_and_study(tmp_path):
    headers = [radiograph(number, PatientName="Ek^Eva") for number in (1, 2)]  # the program compares bytes, not text
    paths = [tmp_path / "report.dcm"]
    paths[0].write_bytes(build_structured_report(replace(FULL, headers=headers)).body)
    for header in headers:
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(tmp_path / f"{header.InstanceNumber}.dcm")
        header.save_as(paths[-1], enforce_file_format=True)
    code, said = run(require_program("dcentvfy"), *map(str, paths))
    assert (code, "Error" in said) == (0, False), said


def test_dsrdump_shows_the_report_that_it_replaces(tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(build_structured_report(AMENDED).body)
    _, said = run(require_program("dsrdump"), str(path))
    assert "Predecessor Docs    : 1" in said


@pytest.mark.parametrize(
    "name",
    [
        "abnormal",
        "in the place of an earlier one",
        "not all images could be scored",
        "a region that the model named",
    ],
)
def test_pixelmed_finds_it_to_keep_to_its_template(name, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(build_structured_report(REPORTS[name]).body)
    _, said = run(require_program("DicomSRValidator"), str(path), JDK_JAVA_OPTIONS=JAVA)
    assert "Found Root Template TID_1500 (MeasurementReport)" in said
    assert "Root Template Validation Complete" in said
    assert [line for line in said.splitlines() if line.startswith("Error") or "Exception" in line] == []
