"""With other people's programs on every side: dcmtk sends, Orthanc is the PACS, validators read the reports."""

import csv
import subprocess
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid
from support.data import shared_data
from support.orthanc import orthanc_server
from support.pixelmed import validated
from support.programs import require_program
from support.xrays import radiograph

pytestmark = [pytest.mark.external, pytest.mark.shared]

# storescu's option for proposing each transfer syntax next to the uncompressed ones.
PROPOSE = {
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
KNEES = 5


def knees(folder):
    """Real knees of several grades as DX files."""
    with shared_data("knees", "valid_grades.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    healthy = [row for row in rows if row["kl_grade"] == "0"][: KNEES // 2]
    worn = [row for row in rows if row["kl_grade"] in {"3", "4"}][: KNEES - len(healthy)]
    for number, row in enumerate(healthy + worn):
        with Image.open(shared_data("knees", row["image"])) as image:
            pixels = np.asarray(image.convert("L"))
        data_set = radiograph(
            pixels, ImageLaterality=row["side"], PatientID=f"K{number}", AccessionNumber=f"ACC{number}"
        )
        data_set.save_as(folder / f"knee{number}.dcm", enforce_file_format=True)
        yield folder / f"knee{number}.dcm"


def store(port, option, files):
    """storescu's exit code and what it said."""
    command = [require_program("/usr/bin/storescu"), "-v", "-R", option, "-aet", "PACS", "-aec", "TRIAGE"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(port), *map(str, files)], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


class Routed:
    """What was sent, how it was answered, and what the agent and the PACS made of it."""

    def __init__(self, agent, orthanc, folder):
        self.agent = agent
        self.orthanc = orthanc
        self.folder = folder
        self.knees = {path: dcmread(path) for path in knees(folder)}
        wg04 = [path for path in sorted(shared_data("dicom", "wg04").rglob("*_*")) if path.suffix != ".txt"]
        self.headers = {path: dcmread(path, stop_before_pixels=True) for path in wg04}
        files = defaultdict(list)
        for path, header in {**self.headers, **self.knees}.items():
            files[str(header.file_meta.TransferSyntaxUID)].append(path)
        self.answers = {
            syntax: (len(paths), *store(agent.port, PROPOSE[syntax], paths)) for syntax, paths in files.items()
        }
        self.items = {
            item["study_instance_uid"]: item
            for item in agent.settled(*{one.StudyInstanceUID for one in [*self.headers.values(), *self.knees.values()]})
        }

    def reports_of_knees(self):
        """[(image, its reports)]"""
        return [(image, self.orthanc.reports(image.StudyInstanceUID)) for image in self.knees.values()]

    def assessment(self, name):
        """What became of a WG-04 file."""
        header = next(header for path, header in self.headers.items() if path.name == name)
        instances = self.agent.study(header.StudyInstanceUID)["instances"]
        return next(one["assessment"] for one in instances if one["sop_instance_uid"] == header.SOPInstanceUID)


@pytest.fixture(scope="module")
def routed(shared_agent, shipped_bundle, tmp_path_factory):
    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as orthanc:
        agent = shared_agent(bundle=shipped_bundle, pacs_port=orthanc.port, quiet=1)
        yield Routed(agent, orthanc, tmp_path_factory.mktemp("sent"))


@pytest.fixture(params=range(KNEES))
def report(request, routed, tmp_path):
    """A report as Orthanc has it, in a file."""
    _, (found,) = routed.reports_of_knees()[request.param]
    path = tmp_path / "report.dcm"
    found.save_as(path, enforce_file_format=True)
    return path


def test_every_coding_that_dcmtk_can_send_is_accepted(routed):
    assert routed.answers.keys() == PROPOSE.keys()
    for number, code, said in routed.answers.values():
        assert code == 0, said
        assert said.count("Received Store Response (Success)") == number, said


def test_every_study_is_on_the_worklist_with_an_end_and_a_reason_where_it_was_not_scored(routed):
    for item in routed.items.values():
        assert item["status"] == "delivered" or item["status_reason"], item
    assert {routed.items[str(image.StudyInstanceUID)]["status"] for image in routed.knees.values()} == {"delivered"}


def test_the_pacs_has_one_report_of_each_knee_that_names_its_image(routed):
    for image, reports in routed.reports_of_knees():
        (report,) = reports
        assert (report.PatientID, report.AccessionNumber) == (image.PatientID, image.AccessionNumber)
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        assert study.StudyInstanceUID == image.StudyInstanceUID
        (series,) = study.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == image.SeriesInstanceUID
        (reference,) = series.ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == image.SOPClassUID


def test_dciodvfy_finds_no_error_in_what_the_pacs_stored(report):
    done = subprocess.run(
        [require_program("dciodvfy"), str(report)], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert "SR" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("report", [0], indirect=True)
def test_pixelmed_finds_that_it_keeps_to_its_template(report):
    said = validated(report)
    assert "Root Template Validation Complete" in said
    assert [line for line in said.splitlines() if line.startswith("Error") or "Exception" in line] == []


@pytest.mark.parametrize("coding", ["RLE", "JPLL", "JLSL", "J2KR"])
def test_a_lossless_coding_scores_as_the_original(routed, coding):
    original, coded = routed.assessment("RG2_UNC"), routed.assessment(f"RG2_{coding}")
    assert coded["outcome"] == "scored", coded["reason"]
    assert coded["probability"] == pytest.approx(original["probability"], abs=1e-6)


def test_jpeg_extended_of_12_bits_is_scored_or_has_a_reason(routed):
    original, extended = routed.assessment("RG2_UNC"), routed.assessment("RG2_JPLY")
    if extended["outcome"] == "scored":
        assert extended["probability"] == pytest.approx(original["probability"], abs=0.05)
    else:
        header = next(header for path, header in routed.headers.items() if path.name == "RG2_JPLY")
        item = routed.items[header.StudyInstanceUID]
        assert (item["status"], bool(extended["reason"])) == ("needs_human", True)


def test_what_is_no_radiograph_is_out_of_scope_with_a_reason_for_each_of_its_images(routed):
    others = {path.name: header for path, header in routed.headers.items() if not path.name.startswith("RG2")}
    assert len(others) == 14
    for name, header in others.items():
        item = routed.items[header.StudyInstanceUID]
        assert item["status"] == "out_of_scope"
        assert "not a" in item["status_reason"]
        assert routed.assessment(name)["outcome"] == "skipped"
        assert routed.assessment(name)["reason"]
        assert routed.orthanc.reports(header.StudyInstanceUID) == []


def test_a_resend_of_everything_changes_nothing_at_the_pacs(routed):
    before = {path: [one.SOPInstanceUID for one in reports] for path, (_, reports) in
              zip(routed.knees, routed.reports_of_knees(), strict=True)}  # fmt: skip
    assert store(routed.agent.port, "-xe", routed.knees)[0] == 0
    control = routed.folder / "control.dcm"
    image = radiograph(seed=99, SOPInstanceUID=generate_uid())
    image.save_as(control, enforce_file_format=True)
    store(routed.agent.port, "-xe", [control])
    routed.agent.settled(image.StudyInstanceUID)  # whatever the copies set off would have been done before this
    after = {path: [one.SOPInstanceUID for one in reports] for path, (_, reports) in
             zip(routed.knees, routed.reports_of_knees(), strict=True)}  # fmt: skip
    assert before == after
