"""Reports and other objects against other people's validators: dicom3tools, dcmtk and PixelMed."""

import subprocess
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from PIL import Image
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pypdf import PdfReader
from support import story
from support.evidence import map_of, spot
from support.pixelmed import validated
from support.programs import require_program
from support.saying import stands_on, words_on

from triage_agent.domain.decision import Shipment
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Event, Family, Finding, Outcome, Priority
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.context import ResultContext
from triage_agent.results.page import BOLD
from triage_agent.results.registry import REGISTRY
from triage_agent.results.rejection import rejection_notes
from triage_agent.results.structured_report import build_structured_report

pytestmark = pytest.mark.external

STUDY = "1.2.840.99.1"
XRF = "1.2.840.10008.5.1.4.1.1.12.2"

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
    dataset.Rows, dataset.Columns, dataset.PhotometricInterpretation = 64, 48, "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    for keyword, value in values.items():  # also what is not valid, as it comes from a file
        tag = tag_for_keyword(keyword)
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)
    return dataset


def table(**values):
    """A lookup table of 4096 entries of 12 bits, as an item."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def without_window(header):
    del header.WindowCenter, header.WindowWidth
    return header


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
    maps={f"{STUDY}.1.{number}": map_of(f"{STUDY}.1.{number}", spot(64, 48, 20, 30, 8)) for number in (1, 2)},
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
    "an image of several frames": replace(
        FULL,
        headers=(radiograph(1, SOPClassUID=XRF, NumberOfFrames="5"), radiograph(2)),
        maps={f"{STUDY}.1.1": map_of(f"{STUDY}.1.1", spot(64, 48, 20, 30, 8), frame=3)},
    ),
    "an image whose VOI LUT is a table": replace(
        FULL, headers=(without_window(radiograph(1, VOILUTSequence=[table()])), radiograph(2))
    ),
    "an image whose Modality LUT is a table": replace(
        FULL, headers=(radiograph(1, ModalityLUTSequence=[table(ModalityLUTType="US")]), radiograph(2))
    ),
    "dates in the site's zone": replace(FULL, timezone=ZoneInfo("Europe/Stockholm")),
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


def built(kind, name):
    """A kind's artifact of a case; in the place of an earlier one it names that of its own kind."""
    case = REPORTS[name]
    return REGISTRY[kind].build(replace(case, previous=REGISTRY[kind].build(FULL)) if case.previous else case).body


OBJECTS = [
    (kind, name)
    for kind, builder in REGISTRY.items()
    for name, case in REPORTS.items()
    if kind.family is Family.DICOM_OBJECT and builder.has_something_to_say(case)
]
IODS = {
    "sr": "Comprehensive3DSR",
    "sr-comprehensive": "ComprehensiveSR",
    "sr-enhanced": "EnhancedSR",
    "sr-text": "BasicTextSR",
    "sc": "SCImage",
    "pdf": "EncapsulatedPDF",
    "kos": "KeyObjectSelectionDocument",
    "gsps": "GrayscaleSoftcopyPresentationState",
    "evidence-sc": "SCImage",
    "evidence-gsps": "GrayscaleSoftcopyPresentationState",
}


@pytest.fixture(params=OBJECTS, ids=" of ".join)
def written(request, tmp_path):
    path = tmp_path / "object.dcm"
    path.write_bytes(built(*request.param))
    return request.param[0], path


def run(*command):
    done = subprocess.run(command, capture_output=True, check=False, timeout=280)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def test_dciodvfy_finds_no_error(written):
    kind, path = written
    _, said = run(require_program("dciodvfy"), str(path))
    assert IODS[kind] in said.split()
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(("kind", "name"), [one for one in OBJECTS if one[0].value.startswith(("sr", "kos"))], ids=str)
def test_dsrdump_reads_it(kind, name, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(built(kind, name))
    code, said = run(require_program("dsrdump"), "-Er", "-Ei", str(path))
    assert code == 0, said
    assert ("Of Interest" if kind == "kos" else "Imaging Measurement Report") in said
    assert not [line for line in said.splitlines() if line.startswith(("E:", "F:"))]


@pytest.mark.parametrize("reason", RejectionReason)
def test_a_rejection_note_is_clean_in_both(reason, tmp_path):
    objects = [REGISTRY[ArtifactKind(kind)].build(FULL) for kind in IODS]
    shipments = [Shipment(artifact=one, destination="pacs") for one in objects]
    (note,) = rejection_notes(STUDY, shipments, reason, story.T0)
    path = tmp_path / "note.dcm"
    path.write_bytes(note.artifact.body)
    _, said = run(require_program("dciodvfy"), str(path))
    assert "KeyObjectSelectionDocument" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    code, said = run(require_program("dsrdump"), str(path))
    assert code == 0
    assert said.count("contains COMPOSITE") + said.count("contains IMAGE") == len(IODS)


@pytest.mark.parametrize("kind", ["sr-text", "kos"])
def test_the_page_for_admins_shows_what_is_made(kind, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(REGISTRY[ArtifactKind(kind)].build(FULL).body)
    _, said = run(require_program("dsrdump"), "-Ph", "+Pl", str(path))
    page = (Path(__file__).parents[2] / "docs" / "integration" / "objects.md").read_text(encoding="utf-8")
    made = [line for line in said.splitlines() if "<" in line and "Device Observer UID" not in line]
    assert len(made) > 5
    assert [line for line in made if line not in page.splitlines()] == []


def test_dcm2pdf_takes_the_document_out(tmp_path):
    path, pdf = tmp_path / "document.dcm", tmp_path / "document.pdf"
    path.write_bytes(built("pdf", "abnormal"))
    code, said = run(require_program("dcm2pdf"), str(path), str(pdf))
    assert code == 0, said
    assert "Finding: Abnormal (XR_KNEE)" in words_on(PdfReader(pdf))


def test_dcm2img_shows_the_page(tmp_path):
    path, shown = tmp_path / "page.dcm", tmp_path / "page.pgm"
    path.write_bytes(built("sc", "abnormal"))
    code, said = run(require_program("dcm2img", "dcmj2pnm"), "--write-raw-pnm", str(path), str(shown))
    assert code == 0, said
    with Image.open(shown) as page:
        assert stands_on(np.asarray(page.convert("L")), "Finding: Abnormal (XR_KNEE)", BOLD, 21)


def test_dcentvfy_finds_the_objects_and_their_images_to_be_of_one_patient_and_study(tmp_path):
    headers = [radiograph(number, PatientName="Ek^Eva") for number in (1, 2)]  # the program compares bytes, not text
    paths = []
    for kind in sorted({kind for kind, _ in OBJECTS}):
        paths.append(tmp_path / f"{kind}.dcm")
        paths[-1].write_bytes(REGISTRY[kind].build(replace(FULL, headers=headers)).body)
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
    ("kind", "name"),
    [
        ("sr", "abnormal"),
        ("sr", "in the place of an earlier one"),
        ("sr", "not all images could be scored"),
        ("sr", "a region that the model named"),
        ("sr", "dates in the site's zone"),
        ("sr-comprehensive", "not all images could be scored"),
        ("sr-enhanced", "abnormal"),
    ],
)
def test_pixelmed_finds_it_to_keep_to_its_template(kind, name, tmp_path):
    said = _validated(kind, name, tmp_path)
    assert "Found Root Template TID_1500 (MeasurementReport)" in said
    assert "Root Template Validation Complete" in said
    assert [line for line in said.splitlines() if line.startswith("Error") or "Exception" in line] == []


def test_pixelmed_finds_the_text_to_keep_to_its_sop_class(tmp_path):
    """It names no template: what it warns of is that it knows none for it."""
    said = _validated("sr-text", "not all images could be scored", tmp_path)
    assert "Found BasicTextSR IOD" in said
    assert "IOD validation complete" in said
    assert [line for line in said.splitlines() if line.startswith("Error") or "Exception" in line] == []


def _validated(kind, name, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(built(kind, name))
    return validated(path)
