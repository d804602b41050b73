import csv
import io
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from PIL import Image

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.uids import is_uid
from triage_agent.learning.mura import read_split
from triage_agent.simulation.phantom import simulate_study, study_datasets, write_mura, write_studies
from triage_agent.simulation.phantom.orientation import patient_orientation

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SIDE = 64


@pytest.fixture(scope="module")
def well():
    return simulate_study("XR_HAND", abnormal=False, seed=1, long_side=SIDE)


@pytest.fixture(scope="module")
def many(well):
    return [study_datasets(well, seed, now=NOW) for seed in range(24)]


def encoded(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_each_view_is_one_instance_of_one_series_of_one_study(well, many):
    datasets = many[0]
    assert len(datasets) == len(well.views)
    assert len({item.SOPInstanceUID for item in datasets}) == len(datasets)
    assert len({(item.StudyInstanceUID, item.SeriesInstanceUID) for item in datasets}) == 1
    assert all(is_uid(item.SOPInstanceUID) and item.SOPInstanceUID.startswith("2.25.") for item in datasets)


def test_the_same_arguments_make_the_same_bytes(well, many):
    again = study_datasets(well, 0, now=NOW)
    assert [encoded(item) for item in again] == [encoded(item) for item in many[0]]


def test_another_seed_is_another_study(many):
    assert len({datasets[0].StudyInstanceUID for datasets in many}) == len(many)


def test_rooms_differ_in_modality_photometric_interpretation_and_maker(many):
    rooms = {(item[0].Modality, item[0].PhotometricInterpretation) for item in many}
    assert rooms == {(modality, f"MONOCHROME{n}") for modality in ("DX", "CR") for n in (1, 2)}
    assert len({item[0].Manufacturer for item in many}) > 2
    assert all(item[0].Manufacturer.startswith("PHANTOM") for item in many)


def test_monochrome1_stores_the_same_image_inverted(well, many):
    for datasets in many:
        for dataset, view in zip(datasets, well.views, strict=True):
            pixels = dataset.pixel_array
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                pixels = 4095 - pixels
            np.testing.assert_array_equal(pixels, view.pixels)


def test_digital_images_say_how_to_present_them(many):
    for dataset in (item[0] for item in many if item[0].Modality == "DX"):
        inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        assert dataset.PresentationLUTShape == ("INVERSE" if inverted else "IDENTITY")
        assert dataset.PixelIntensityRelationshipSign == (1 if inverted else -1)
        assert dataset.ImageLaterality in {"L", "R"}
        assert dataset.AnatomicRegionSequence[0].CodeValue == "85562004"


def test_the_room_does_not_know_the_diagnosis():
    for seed in range(2):
        well, ill = (
            simulate_study("XR_KNEE", abnormal=abnormal, seed=seed, long_side=SIDE) for abnormal in (False, True)
        )
        one, other = (study_datasets(study, seed, now=NOW)[0] for study in (well, ill))
        for name in ("Manufacturer", "Modality", "PhotometricInterpretation", "KVP", "Exposure", "PatientName", "Rows"):
            assert one[name].value == other[name].value, name


def test_patients_are_of_the_age_that_was_simulated_and_have_made_up_names(well, many):
    for datasets in many:
        born = datetime.strptime(datasets[0].PatientBirthDate, "%Y%m%d").replace(tzinfo=UTC)
        assert int((NOW - born).days / 365.25) == well.age
    assert {str(item[0].PatientName.family_name) for item in many} <= {
        "Phantom", "Specimen", "Simulacrum", "Testcase", "Mannequin", "Dummy", "Figment", "Placeholder",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("anatomy", "position", "laterality", "orientation"),
    [
        ("XR_KNEE", "AP", "R", ["L", "F"]),
        ("XR_KNEE", "RL", "R", ["A", "F"]),
        ("XR_KNEE", "LL", "L", ["P", "F"]),
        ("XR_KNEE", "RLO", "R", ["LA", "F"]),
        ("XR_HAND", "PA", "L", ["L", "H"]),
        ("XR_HAND", "RL", "R", ["P", "H"]),
    ],
)
def test_rows_and_columns_say_where_they_run_in_the_patient(anatomy, position, laterality, orientation):
    assert patient_orientation(anatomy, position, laterality) == orientation


def test_studies_are_written_with_their_truth(tmp_path):
    seen = []
    rows = write_studies(
        tmp_path / "out", 3, anatomy="XR_ELBOW", abnormal_rate=1.0, seed=4, now=NOW, long_side=SIDE,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    with (tmp_path / "out" / "truth.csv").open() as file:
        table = list(csv.DictReader(file))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [line["study_instance_uid"] for line in table] == [row.study_instance_uid for row in rows]
    assert {line["abnormal"] for line in table} == {"1"}
    for line in table:
        files = sorted((tmp_path / "out" / line["path"]).glob("*.dcm"))
        assert len(files) == len(line["views"].split())
        assert pydicom.dcmread(files[0]).StudyInstanceUID == line["study_instance_uid"]


def test_a_folder_that_holds_something_is_left_alone_and_the_error_says_what_to_do(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigurationError, match="name a new folder") as refused:
        write_studies(tmp_path, 1, anatomy=None, abnormal_rate=0.5, seed=1, now=NOW)
    assert isinstance(refused.value, ValueError)
    assert [item.name for item in tmp_path.iterdir()] == ["mine.txt"]


def test_mura_layout_has_folders_images_and_two_tables(tmp_path):
    out = tmp_path / "phantoms"
    regions = ("XR_ELBOW", "XR_KNEE", "XR_HUMERUS")
    write_mura(out, 3, split="train", seed=1, long_side=SIDE, anatomies=regions)
    studies = (out / "train_labeled_studies.csv").read_text().splitlines()
    images = (out / "train_image_paths.csv").read_text().splitlines()
    assert [line.split("/")[2] for line in studies] == list(regions)
    for line in studies:
        path, label = line.rsplit(",", 1)
        assert path.endswith("study1_positive/" if label == "1" else "study1_negative/")
        assert [image for image in images if image.startswith(path)]
    with Image.open(tmp_path / images[0]) as picture:
        assert picture.mode == "L"
        assert max(picture.size) == SIDE


def test_the_table_of_boxes_says_where_to_look_in_abnormal_images_only(tmp_path):
    out = tmp_path / "phantoms"
    for rate, seed in ((1.0, 1), (0.0, 2)):
        write_mura(out, 2, split="train", seed=seed, long_side=SIDE, abnormal_rate=rate)
    images = {image.path: image for image in read_split(out, "train")}
    boxed = {path for path, image in images.items() if image.box is not None}
    assert boxed
    assert all(images[path].label for path in boxed)
    assert all(image.boxed for image in images.values())
    for path in boxed:
        x0, y0, x1, y1 = images[path].box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1


def test_several_processes_write_what_one_writes(tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        write_mura(tmp_path / name / "set", 3, split="valid", seed=4, long_side=SIDE, processes=processes)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 3
    for file in files:
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()


def test_a_second_call_adds_patients_and_the_splits_share_none(tmp_path):
    out = tmp_path / "phantoms"
    for split, seed in (("train", 1), ("train", 2), ("valid", 1)):
        write_mura(out, 2, split=split, seed=seed, long_side=SIDE, anatomies=("XR_KNEE",))
    patients = {
        split: [line.split("/")[3] for line in (out / f"{split}_labeled_studies.csv").read_text().splitlines()]
        for split in ("train", "valid")
    }
    assert patients["train"] == [f"patient{number:05d}" for number in (1, 2, 3, 4)]
    assert not set(patients["train"]) & set(patients["valid"])


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train, valid"):
        write_mura(tmp_path, 1, split="test", seed=1)
