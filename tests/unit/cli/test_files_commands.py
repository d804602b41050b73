"""`triage`: files in, a line a study out."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from structlog.testing import capture_logs
from support.instances import dx, write_part10
from support.story import MODEL

from triage_agent import bootstrap
from triage_agent.cli import options
from triage_agent.domain.study import ImageScore


class FakeScorer:
    identity = MODEL

    def score(self, images, anatomies=()):
        return [ImageScore(probability=0.75) for _ in images]


@pytest.fixture(autouse=True)
def _scorer(monkeypatch):
    monkeypatch.setattr(bootstrap, "build_scorer", lambda *_: FakeScorer())


def write(folder, name, *, columns=64, **elements):
    data_set = dx(**{"BodyPartExamined": "KNEE"} | elements)
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns, data_set.PixelRepresentation = 64, columns, 0
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelData = np.linspace(0, 4095, 64 * columns).astype(np.uint16).tobytes()
    data_set["PixelData"].VR = "OW"
    write_part10(folder / name, data_set)
    return data_set


def test_files_are_grouped_into_studies_and_each_is_decided(run, tmp_path):
    first = write(tmp_path, "a.dcm")
    write(tmp_path, "b.dcm", StudyInstanceUID=first.StudyInstanceUID)
    (tmp_path / "deeper").mkdir()
    other = write(tmp_path / "deeper", "c.dcm", Modality="MG")
    done = run("triage", tmp_path, "--json")
    assert done.code == 0
    studies = {study["study_instance_uid"]: study for study in json.loads(done.out)}
    assert studies.keys() == {first.StudyInstanceUID, other.StudyInstanceUID}
    knee = studies[first.StudyInstanceUID]
    assert (knee["finding"], knee["probability"], knee["priority"]) == ("abnormal", 0.75, "urgent")
    assert [(one["anatomy"], one["seen_anatomy"]) for one in knee["instances"]] == [("XR_KNEE", None)] * 2
    assert [one["path"] for one in knee["instances"]] == [str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm")]
    (skipped,) = studies[other.StudyInstanceUID]["instances"]
    assert (skipped["scored"], skipped["probability"]) == (False, None)
    assert "mammography" in skipped["reason"]


def test_a_line_a_study_for_people(run, tmp_path):
    image = write(tmp_path, "a.dcm")
    shown = run("triage", tmp_path / "a.dcm").out
    assert image.StudyInstanceUID in shown
    assert "URGENT" in shown


def test_what_is_no_dicom_is_passed_over_in_folders_and_named_when_it_was_asked_for(run, tmp_path):
    write(tmp_path, "a.dcm")
    (tmp_path / "notes.txt").write_text("hello")
    whole = run("triage", tmp_path, "--json")
    assert "notes.txt" not in whole.err
    named = run("triage", tmp_path / "a.dcm", tmp_path / "notes.txt", "--json")
    assert named.code == 0
    assert "notes.txt" in named.err
    assert len(json.loads(named.out)) == 1


def test_a_folder_without_dicom_is_a_failure(run, tmp_path):
    done = run("triage", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("triage-agent: no DICOM file there")


def test_a_report_is_written_of_what_was_decided_only(run, tmp_path):
    write(tmp_path, "a.dcm")
    write(tmp_path, "b.dcm", Modality="MG")
    assert run("triage", tmp_path, "--sr", tmp_path / "out" / "reports").code == 0
    assert len(list((tmp_path / "out" / "reports").glob("*.dcm"))) == 1


def test_a_report_is_named_beside_the_study_it_is_about(run, tmp_path):
    knee = write(tmp_path, "a.dcm")
    other = write(tmp_path, "b.dcm", Modality="MG")
    studies = {
        one["study_instance_uid"]: one
        for one in json.loads(run("triage", tmp_path, "--json", "--sr", tmp_path / "out").out)
    }
    report = Path(studies[knee.StudyInstanceUID]["report"])
    assert dcmread(report).CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID == knee.StudyInstanceUID
    assert studies[other.StudyInstanceUID]["report"] is None
    shown = run("triage", tmp_path / "a.dcm", "--sr", tmp_path / "out").out
    assert report.name in "".join(shown.split())
    assert json.loads(run("triage", tmp_path / "a.dcm", "--json").out)[0]["report"] is None


def test_why_is_one_short_line_and_whole_as_json(run, tmp_path, monkeypatch):
    monkeypatch.setattr(options.stdout, "_width", 80)
    write(tmp_path, "a.dcm")
    write(tmp_path, "b.dcm", BodyPartExamined="HIP")
    shown = run("triage", tmp_path).out
    assert "threshold" not in shown
    for word in ("1 of 1", "scored,", ">= 0.50", "URGENT", "abnormal", "0.75", "ROUTINE", "not assessed"):
        assert word in shown
    assert len(shown.splitlines()) <= 12
    reasons = [study["reasons"][0] for study in json.loads(run("triage", tmp_path, "--json").out)]
    assert "1 of 1 image scored; mean probability 0.75 is at or above the threshold 0.50." in reasons


def test_a_file_that_names_no_study_is_still_told_of(run, tmp_path):
    image = write(tmp_path, "a.dcm", StudyInstanceUID=None)
    done = run("triage", tmp_path / "a.dcm", "--json")
    assert done.code == 0
    (study,) = json.loads(done.out)
    assert study["study_instance_uid"] == "unknown (a.dcm)"
    assert [one["sop_instance_uid"] for one in study["instances"]] == [image.SOPInstanceUID]


def test_a_series_that_is_not_named_is_no_obstacle_to_a_report(run, tmp_path):
    write(tmp_path, "a.dcm", SeriesInstanceUID=None)
    assert run("triage", tmp_path / "a.dcm", "--sr", tmp_path / "reports").code == 0
    assert len(list((tmp_path / "reports").glob("*.dcm"))) == 1


def test_a_report_that_cannot_be_written_is_told_and_what_was_found_is_printed(run, tmp_path):
    write(tmp_path, "a.dcm", StudyInstanceUID=None)
    image = write(tmp_path, "b.dcm")
    with capture_logs():
        done = run("triage", tmp_path / "a.dcm", tmp_path / "b.dcm", "--sr", tmp_path / "reports", "--json")
    assert done.code == 1
    assert "unknown (a.dcm): the sr could not be built: no instance of the study can be referred to" in done.err
    found = {study["study_instance_uid"]: study["finding"] for study in json.loads(done.out)}
    assert found == {image.StudyInstanceUID: "abnormal", "unknown (a.dcm)": "abnormal"}
    assert len(list((tmp_path / "reports").glob("*.dcm"))) == 1


def test_a_study_of_several_patients_is_told_as_such_and_not_reported(run, tmp_path):
    first = write(tmp_path, "a.dcm")
    write(tmp_path, "b.dcm", StudyInstanceUID=first.StudyInstanceUID, PatientID="P2")
    (study,) = json.loads(run("triage", tmp_path, "--json", "--sr", tmp_path / "out").out)
    assert (study["finding"], study["priority"]) == ("not_assessed", "urgent")
    assert study["reasons"][0] == "The images name different patients."
    assert not (tmp_path / "out").exists()


def test_a_model_that_scores_nothing_is_one_line_and_no_verdict_on_the_files(run, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeScorer, "score", lambda *_: [])
    write(tmp_path, "a.dcm")
    done = run("triage", tmp_path)
    assert done.code == 1
    assert done.err.strip().startswith("triage-agent: the model scores nothing (ValueError);")
    assert "\n" not in done.err.strip()
