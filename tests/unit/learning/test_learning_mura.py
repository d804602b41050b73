"""MURA's layout, as it comes and as it goes wrong."""

import numpy as np
import pytest
from PIL import Image

from triage_agent.learning.mura import DataError, read_display, read_roots, read_split

KNEES = [
    ("train", "XR_KNEE", "patient1", "study1_positive", 1, 3),
    ("train", "XR_KNEE", "patient1", "study1_positive", 1, 2),
    ("train", "XR_KNEE", "patient2", "study1_negative", 0, 0),
    ("valid", "XR_KNEE", "patient3", "study1_negative", 0, None),
]


def test_a_split_is_read_in_list_order_with_labels_and_grades(layout):
    images = read_split(layout(KNEES), "train")
    assert [(i.anatomy, i.patient, i.label, i.grade) for i in images] == [
        ("XR_KNEE", "patient1", 1, 3),
        ("XR_KNEE", "patient1", 1, 2),
        ("XR_KNEE", "patient2", 0, 0),
    ]
    assert images[0].study == images[1].study != images[2].study
    assert all(image.path.is_file() for image in images)


def test_a_split_without_grades_has_none(layout):
    assert read_split(layout(KNEES), "valid")[0].grade is None


def test_a_root_folder_may_be_renamed(layout, tmp_path):
    layout(KNEES).rename(tmp_path / "elsewhere")
    assert len(read_split(tmp_path / "elsewhere", "train")) == 3


def test_a_missing_file_is_named(layout):
    root = layout(KNEES)
    (root / "train/XR_KNEE/patient2/study1_negative/image1.png").unlink()
    with pytest.raises(DataError, match=r"1 images .* missing: .*patient2/study1_negative/image1\.png"):
        read_split(root, "train")


def test_a_patient_in_both_splits_is_an_error(layout):
    with pytest.raises(DataError, match=r"1 patients are in both train and valid .*: patient1"):
        read_split(layout([*KNEES, ("valid", "XR_KNEE", "patient1", "study2_negative", 0, None)]), "train")


def test_a_patient_in_both_splits_is_an_error_also_with_another_region(layout):
    with pytest.raises(DataError, match="1 patients are in both train and valid"):
        read_split(layout([*KNEES, ("valid", "XR_HAND", "patient1", "study2_negative", 0, None)]), "train")


def test_a_study_without_a_label_is_named(layout):
    root = layout(KNEES)
    (root / "train_labeled_studies.csv").write_text("mini/train/XR_KNEE/patient1/study1_positive/,1\n")
    with pytest.raises(DataError, match=r"patient2/study1_negative has no line"):
        read_split(root, "train")


def test_a_label_that_is_no_label_is_shown(layout):
    root = layout(KNEES)
    (root / "train_labeled_studies.csv").write_text("mini/train/XR_KNEE/patient1/study1_positive/,yes\n")
    with pytest.raises(DataError, match=r"yes.*0 or 1"):
        read_split(root, "train")


@pytest.mark.parametrize("line", ["mini/train/XR_KNEE/patient1/image1.png", "mini/train/../../../../etc/passwd"])
def test_a_path_out_of_place_is_an_error(layout, line):
    root = layout(KNEES)
    (root / "train_image_paths.csv").write_text(line + "\n")
    with pytest.raises(DataError):
        read_split(root, "train")


def test_a_folder_without_lists_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"train_image_paths\.csv.*MURA layout"):
        read_roots([tmp_path], "train")


def test_patients_of_several_roots_are_kept_apart(layout):
    images = read_roots([layout(KNEES, "one"), layout(KNEES, "two")], "train")
    assert len(images) == 6
    assert len({image.patient for image in images}) == 4
    assert len({image.study for image in images}) == 4


def test_a_root_without_the_split_is_passed_over_where_another_has_it(layout):
    images = read_roots([layout(KNEES, "one"), layout(KNEES[:3], "two")], "valid")
    assert [image.patient for image in images] == ["patient3"]


def test_display_values_run_from_zero_to_one(tmp_path):
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    for name in ("grey.png", "deep.png"):
        assert read_display(tmp_path / name).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_an_unreadable_image_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content is None:
        Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(path)
        content = path.read_bytes()[:40]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png"):
        read_display(path)
