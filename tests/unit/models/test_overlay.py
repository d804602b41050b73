import io

import numpy as np
import pytest
from PIL import Image

from triage_agent.models.overlay import STRONGEST, overlay, png


def test_where_the_map_is_empty_the_image_is_as_it_was_and_grey():
    display = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    laid = overlay(display, np.zeros_like(display))
    assert (laid.shape, laid.dtype) == ((3, 4, 3), np.uint8)
    assert np.array_equal(laid[..., 0], np.round(display * 255))
    assert np.array_equal(laid[..., 0], laid[..., 2])


def test_the_bone_can_still_be_seen_under_the_strongest_colour():
    black, white = (np.full((2, 2), value, np.float32) for value in (0, 1))
    seen = overlay(white, white).astype(int) - overlay(black, white)
    assert seen == pytest.approx(255 * (1 - STRONGEST), abs=1)
    assert len(set(overlay(black, white)[0, 0])) == 3


def test_a_map_of_another_image_is_refused():
    with pytest.raises(ValueError, match="map"):
        overlay(np.zeros((3, 4), np.float32), np.zeros((4, 3), np.float32))


def test_a_png_holds_the_picture_and_no_text():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    found = Image.open(io.BytesIO(png(picture)))
    assert np.array_equal(np.asarray(found), picture)
    assert found.info == {}


def test_a_caption_has_a_strip_of_its_own_and_covers_nothing():
    picture = np.full((60, 90, 3), 7, dtype=np.uint8)
    found = np.asarray(Image.open(io.BytesIO(png(picture, "A map is not a finding, whatever it looks like."))))
    assert np.array_equal(found[:60], picture)
    assert (found[60:] < 128).any()
    assert (found[60:, -1] == 255).all()


def test_a_large_picture_is_reduced():
    assert Image.open(io.BytesIO(png(np.zeros((100, 50), np.uint8), largest=20))).size == (10, 20)
