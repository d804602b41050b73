"""`explain`: a picture an image, of those that may be shown, without a word of the header."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image
from support.bundles import write_tiny_bundle
from support.xrays import radiograph

NAME = "Quince^Peter"


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def write(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    def one(name=f"{NAME}.dcm", **elements):
        image = radiograph(**{"PatientName": NAME, "PatientID": "Q7781"} | elements)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of values that are not valid
            image.save_as(folder / name, enforce_file_format=True)
        return image

    one.folder = folder
    return one


def test_a_picture_an_image_named_by_its_uid_with_nothing_of_the_patient(run, write, bundle, tmp_path):
    image = write()
    done = run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    (row,) = json.loads(done.out)
    (picture,) = (tmp_path / "out").iterdir()
    assert (row["png"], picture.name) == (str(picture), f"{image.SOPInstanceUID}.png")
    assert 0 <= row["probability"] <= 1
    with Image.open(picture) as shown:
        assert shown.info == {}
        assert shown.width == image.Columns
        assert shown.height > image.Rows  # the caption's strip
    assert not any(word in picture.read_bytes() for word in (b"Quince", b"Q7781"))


def test_the_same_image_gets_the_same_picture_whoever_it_is_of(run, write, bundle, tmp_path):
    uid = write().SOPInstanceUID
    run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "one")
    write(SOPInstanceUID=uid, PatientName="Snug^Joiner", PatientID="Z1")
    run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "two")
    one, two = ((tmp_path / name / f"{uid}.png").read_bytes() for name in ("one", "two"))
    assert one == two


def test_text_that_is_burned_in_leaves_with_no_picture(run, write, bundle, tmp_path):
    write(BurnedInAnnotation="YES")
    done = run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "out")
    assert done.code == 1
    assert "burned into the image" in done.err
    assert not list((tmp_path / "out").iterdir())


def test_what_is_not_scored_is_not_explained_and_hinders_no_other(run, write, bundle, tmp_path):
    write("a.dcm", Modality="MG")
    write("b.dcm", pixels=np.zeros((80, 80), np.uint16))
    write("c.dcm")
    done = run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "out")
    assert done.code == 0
    assert "mammography" in done.err
    assert "blank" in done.err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_uid_that_is_none_names_no_file(run, write, bundle, tmp_path):
    write(SOPInstanceUID="../../escaped")
    assert run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["image-1.png"]


def test_a_method_that_the_encoder_has_not_is_wrong_usage(run, write, bundle, tmp_path):
    write()
    done = run("explain", write.folder, "--bundle", bundle, "--out", tmp_path / "out", "--method", "rollout")
    assert done.code == 2
    assert "it has gradient" in done.err


def test_a_folder_without_dicom_is_a_failure(run, tmp_path):
    done = run("explain", tmp_path, "--out", tmp_path / "out")
    assert done.code == 1
    assert "no DICOM file there" in done.err
