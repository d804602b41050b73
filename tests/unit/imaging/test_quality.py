import numpy as np
import pytest

from triage_agent.imaging.quality import reason_to_refuse
from triage_agent.imaging.shown import Shown

RANDOM = np.random.default_rng(3)


@pytest.fixture
def image(limb):
    return (limb(256, 224) / 4095).astype(np.float32)


def test_a_radiograph_passes(image):
    assert reason_to_refuse(image) is None


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_image_is_blank(value):
    assert "blank" in reason_to_refuse(np.full((300, 300), value, np.float32))


@pytest.mark.parametrize("shape", [(10, 10), (63, 500), (500, 63), (1, 1)])
def test_a_stamp_is_too_small(shape):
    assert reason_to_refuse(np.ones(shape, np.float32)) == (
        f"the image is too small to read ({shape[1]} x {shape[0]} pixels)"
    )


def test_an_image_of_black_and_white_is_clipped(image):
    assert "clipped" in reason_to_refuse((image > 0.5).astype(np.float32))


def test_an_image_that_a_window_pushed_out_of_sight_is_clipped(image):
    assert "clipped" in reason_to_refuse(np.clip((image - image.max() + 0.001) * 1000, 0, 1))


def test_a_test_pattern_of_few_greys_is_refused():
    steps = np.repeat(np.linspace(0.2, 0.8, 5, dtype=np.float32), 50)
    assert reason_to_refuse(np.tile(steps, (200, 1))) == "the image has only 5 grey levels"


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_an_image_whose_lower_half_never_came_is_refused(image, fill):
    image[128:] = fill
    assert reason_to_refuse(image) == "the lower 50% of the image is missing"


def test_a_transfer_that_breaks_off_within_a_row_is_refused(image):
    image[128, 40:] = 0
    image[129:] = 0
    assert "is missing" in reason_to_refuse(image)


def test_a_collimated_image_passes(image):
    framed = np.zeros((600, 400), np.float32)
    framed[100:356, 80:304] = image
    assert reason_to_refuse(framed) is None


def test_an_image_with_a_black_margin_below_passes(image):
    assert reason_to_refuse(np.pad(image, ((0, 60), (0, 0)))) is None


@pytest.mark.parametrize(
    "noise", [RANDOM.random((256, 256)), np.clip(RANDOM.normal(0.5, 0.1, (256, 256)), 0, 1)], ids=["uniform", "normal"]
)
def test_pure_noise_is_refused(noise):
    assert "noise" in reason_to_refuse(noise.astype(np.float32))


def test_a_grainy_radiograph_passes(image):
    grain = RANDOM.normal(0, 0.08, image.shape)
    assert reason_to_refuse(np.clip(image + grain, 0, 1).astype(np.float32)) is None


def test_values_that_are_no_numbers_are_refused(image):
    image[::2, 3] = np.nan
    assert "no numbers" in reason_to_refuse(image)


@pytest.mark.parametrize("change", ["none", "lower half", "one row", "clipped", "constant"])
def test_an_image_that_is_looked_up_is_judged_like_the_whole(limb, change):
    stored = limb(256, 224).astype(np.uint16)
    shades = (np.arange(4096) / 4095).astype(np.float32)
    if change == "lower half":
        stored[128:] = 7
    elif change == "one row":
        stored[1:] = 7
    elif change == "clipped":
        shades = np.round(shades)
    elif change == "constant":
        shades = np.full_like(shades, 0.25)
    shown = Shown(stored, shades)
    assert np.array_equal(shown.whole(), shades[stored])
    assert reason_to_refuse(shown) == reason_to_refuse(shades[stored])
    assert (reason_to_refuse(shown) is None) is (change == "none")
