"""The labelled set as files."""

import csv
import json

import pytest
from pydicom import dcmread
from support.instances import write_part10
from support.labelled import image, word

from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.domain.feedback import LabelledStudy, Verdict, plain_note, standing
from triage_agent.domain.vocabulary import Finding
from triage_agent.labelled.deidentify import Secret
from triage_agent.labelled.export import csv_of, rows_of, write_export

SECRET = Secret(b"s" * 32)


def labelled(*words, paths=(), patient="P1"):
    return [LabelledStudy(feedback=one, patient_id=patient, paths=paths) for one in words]


@pytest.mark.parametrize(
    ("verdict", "finding", "truth"),
    [
        (Verdict.AGREE, Finding.ABNORMAL, Finding.ABNORMAL),
        (Verdict.AGREE, Finding.NORMAL, Finding.NORMAL),
        (Verdict.AGREE, Finding.UNCERTAIN, None),
        (Verdict.AGREE, None, None),
        (Verdict.MISSED, Finding.NORMAL, Finding.ABNORMAL),
        (Verdict.OVERCALLED, Finding.ABNORMAL, Finding.NORMAL),
        (Verdict.WRONG_REGION, Finding.ABNORMAL, None),
        (Verdict.POOR_IMAGE, Finding.NORMAL, None),
    ],
)
def test_a_label_is_what_the_study_shows_and_not_what_the_agent_said(verdict, finding, truth):
    assert word(verdict=verdict, finding=finding).truth is truth


def test_only_the_last_word_of_each_reader_about_each_study_stands():
    words = [word(3), word(1), word(2, reader="bob"), word(4, study="1.2.2"), word(5, Verdict.MISSED)]
    assert [one.number for one in standing(words)] == [2, 4, 5]


def test_notes_are_kept_as_written_and_no_longer_than_they_may_be():
    assert plain_note(" a\r\nb\x00\x1b[2J\u202e ") == "a\nb[2J"
    with pytest.raises(ValueError, match="1000"):
        plain_note("x" * 1001)


def test_a_row_names_nobody_and_no_time():
    rows = rows_of(labelled(word(7), word(9, reader="bob")), SECRET)
    text = csv_of(rows) + json.dumps(rows)
    for trace in ("1.2.1", "P1", "ada", "bob", "Jane", "2026"):
        assert trace not in text.replace("2.25.", "")
    assert rows[0]["patient"] == rows[1]["patient"]
    assert rows[0]["reader"] != rows[1]["reader"]
    assert [row["number"] for row in rows] == [1, 2]


def test_studies_without_a_patient_are_of_patients_of_their_own():
    rows = rows_of(labelled(word(study="1.2.1"), word(study="1.2.2"), patient=None), SECRET)
    assert rows[0]["patient"] != rows[1]["patient"]


def test_a_spreadsheet_runs_nothing_of_it():
    (row,) = csv.DictReader(csv_of(rows_of(labelled(word(rule='=cmd|"x"!A1')), SECRET)).splitlines())
    assert row["rule"] == '\'=cmd|"x"!A1'
    (row,) = csv.DictReader(csv_of(rows_of(labelled(word(rule=" \uff1dcmd\x1b")), SECRET)).splitlines())
    assert row["rule"] == "' \uff1dcmd\\x1b"


def test_what_is_written_is_read_back_with_its_images(tmp_path):
    write_part10(tmp_path / "good.dcm", image())
    write_part10(tmp_path / "burned.dcm", image(BurnedInAnnotation="YES"))
    sealed = []
    studies = labelled(word(), word(2, reader="bob"), paths=("good.dcm", "burned.dcm"))
    done = write_export(tmp_path / "out", studies, SECRET, tmp_path, sealed.append)
    assert (done.rows, done.images, [one.path for one in done.refused]) == (2, 1, ["burned.dcm"])
    assert sealed == [done]
    rows = json.loads((tmp_path / "out" / "labels.json").read_text())
    (file,) = rows[0]["images"]
    assert rows[1]["images"] == [file]
    assert dcmread(tmp_path / "out" / file).PatientID == rows[0]["patient"]
    with (tmp_path / "out" / "labels.csv").open(newline="") as table:
        assert [row["label"] for row in csv.DictReader(table)] == ["abnormal"] * 2


def test_what_cannot_be_audited_is_not_there(tmp_path):
    def away(_):
        raise WorklistUnavailableError("away")

    with pytest.raises(WorklistUnavailableError):
        write_export(tmp_path / "out", labelled(word()), SECRET, None, away)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        write_export(tmp_path, [], SECRET, None, print)
    assert [one.name for one in tmp_path.iterdir()] == ["kept.txt"]
