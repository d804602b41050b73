"""Crops on and beside lesions."""

import pytest
import torch
from support.radiographs import write_mura

from triage_agent.learning.augment import Augmentation
from triage_agent.learning.crops import cut, draw_crops, lesions_of
from triage_agent.learning.fit import Pass, passes_of
from triage_agent.learning.mura import DataError, read_roots, read_split
from triage_agent.learning.recipe import Recipe, Stage

STILL = Augmentation(rotation=0, zoom=0, stretch=0, shift=0, mirror=False, gamma=0, contrast=0, brightness=0, noise=0)
SHARE = 0.3


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    boxed = write_mura(folder / "boxed", boxes=True, anatomies=("XR_HAND", "XR_WRIST"))
    return read_roots([boxed, write_mura(folder / "plain")], "train")


@pytest.fixture(scope="module")
def lesions(images):
    return lesions_of(images, torch.arange(len(images)))


def test_only_data_that_says_where_lesions_are_is_cropped(images, lesions):
    for index in torch.cat([lesions.abnormal, lesions.normal]).tolist():
        assert "boxed/" in images[index].patient
    assert {images[index].label for index in lesions.abnormal.tolist()} == {1}
    assert {images[index].label for index in lesions.normal.tolist()} == {0}
    assert len(lesions) == sum(image.boxed for image in images)
    assert len(lesions_of(images, torch.tensor([], dtype=torch.long))) == 0


def test_a_box_is_told_in_shares_of_the_padded_square(tmp_path):
    (image, *_) = [one for one in read_split(write_mura(tmp_path / "set", boxes=True), "train") if one.box]
    x0, y0, x1, y1 = image.box  # 56 wide, 48 high, so 4 rows of padding above; the bar is 12..44 wide and 8 high
    assert (x0, x1) == pytest.approx((12 / 56, 44 / 56))
    assert y1 - y0 == pytest.approx(8 / 56)
    assert y0 >= (12 + 4) / 56


def test_half_of_the_crops_are_on_a_lesion_and_the_others_touch_none(lesions):
    torch.manual_seed(0)
    indices, centres, labels = draw_crops(lesions, 400, SHARE)
    assert labels.sum() == 200
    low, high, boxes = centres - SHARE / 2, centres + SHARE / 2, lesions.boxes[indices]
    touches = ((low < boxes[:, 2:]) & (high > boxes[:, :2])).all(1) & (boxes[:, 2] > 0)
    assert touches[:200].all()
    assert touches[200:].float().mean() < 0.05  # a place without one may not be found in a dozen tries
    assert set(indices[200:300].tolist()) <= set(lesions.normal.tolist())
    assert set(indices[300:].tolist()) <= set(lesions.abnormal.tolist())


def test_normal_places_are_where_lesions_of_that_anatomy_lie(lesions):
    torch.manual_seed(0)
    _, centres, _ = draw_crops(lesions, 400, SHARE)
    boxes = lesions.boxes[lesions.abnormal]
    assert set(centres[200:300, 0].tolist()) <= set(((boxes[:, 0] + boxes[:, 2]) / 2).tolist())


def test_a_crop_shows_its_place_at_full_resolution():
    picture = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    picture[0, 0, 10:14, 20:30] = 255
    crop = cut(picture, torch.tensor([[25 / 40, 12 / 40]]), 10, STILL, mean=0.0, std=1.0)
    assert crop.shape == (1, 1, 10, 10)
    assert torch.allclose(crop[0, 0], picture[0, 0, 7:17, 20:30] / 255.0, atol=1e-3)


def test_crops_are_left_out_where_no_lesions_are_known():
    recipe = Recipe(stages=(Stage(size=32, crop=16, epochs=2), Stage(size=24, epochs=1)))
    assert passes_of(recipe, 32, resizable=True, lesions=True) == [Pass(32, 16), Pass(32, 16), Pass(24)]
    assert passes_of(recipe, 32, resizable=True, lesions=False) == [Pass(24)]
    assert passes_of(Recipe(epochs=2), 32, resizable=False, lesions=True) == [Pass(32)] * 2


def test_training_cannot_end_with_crops():
    with pytest.raises(ValueError, match="whole images"):
        Recipe(stages=(Stage(size=32, epochs=1), Stage(size=32, crop=16, epochs=1)))


@pytest.mark.parametrize("text", ["image,x0\n", "image,x0,y0,x1,y1\ntrain/a,1,2,3,four\n"])
def test_a_table_of_boxes_that_is_none_is_refused(tmp_path, text):
    root = write_mura(tmp_path / "set")
    (root / "train_boxes.csv").write_text(text if "four" in text else text + "train/a,1\n")
    with pytest.raises(DataError, match="boxes"):
        read_split(root, "train")
