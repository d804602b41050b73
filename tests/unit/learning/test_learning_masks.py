"""What the shortcut probes take out of an image, on drawn radiographs."""

import numpy as np
import pytest

from triage_agent.learning.masks import CENTRE_BOX, FOREGROUND, anatomy, without_anatomy, without_border, without_marker

SIDE = 200
LIMB = (slice(20, 180), slice(70, 130))
BONE = (slice(20, 180), slice(90, 110))


@pytest.fixture
def limb():
    """Noisy air, a strip of soft tissue, a brighter bone in it."""
    picture = np.full((SIDE, SIDE), 0.05, dtype=np.float32)
    picture[LIMB] = 0.4
    picture[BONE] = 0.8
    return np.clip(picture + np.random.default_rng(0).normal(0, 0.02, picture.shape), 0, 1).astype(np.float32)


def with_letter(picture, row, column):
    """A lead L of 16 x 10 pixels."""
    changed = picture.copy()
    changed[row : row + 16, column : column + 4] = 1.0
    changed[row + 12 : row + 16, column : column + 10] = 1.0
    return changed


def test_the_outer_tenth_is_blank_and_the_rest_as_it_was(limb):
    inside = without_border(limb)
    assert not inside[:20].any()
    assert not inside[:, 180:].any()
    assert np.array_equal(inside[20:180, 20:180], limb[20:180, 20:180])


def test_the_anatomy_is_soft_tissue_and_bone_with_a_margin(limb):
    found = anatomy(limb)
    assert found[LIMB].all()
    assert not found[:, :55].any()
    assert not found[:, 145:].any()


def test_background_only_keeps_the_marker_and_nothing_of_the_limb(limb):
    left, how = without_anatomy(with_letter(limb, 30, 20))
    assert how == FOREGROUND
    assert not left[LIMB].any()
    assert (left[30:46, 20:24] == 1).all()


def test_a_picture_that_is_all_anatomy_loses_its_middle(limb):
    close = limb[40:160, 75:125]
    left, how = without_anatomy(close)
    assert how == CENTRE_BOX
    assert not left[12:108, 5:45].any()
    assert np.array_equal(left[:12], close[:12])


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_flat_image_has_no_anatomy(value):
    flat = np.full((60, 80), value, dtype=np.float32)
    assert not anatomy(flat).any()
    assert np.array_equal(without_anatomy(flat)[0], flat)


@pytest.mark.parametrize(("row", "column"), [(5, 5), (30, 20), (175, 180), (90, 15)])
def test_a_side_marker_is_painted_over_and_nothing_else(limb, row, column):
    marked = with_letter(limb, row, column)
    cleaned = without_marker(marked)
    assert np.abs(cleaned - limb)[row : row + 16, column : column + 10].max() < 0.15
    away = np.ones((SIDE, SIDE), dtype=bool)
    away[max(0, row - 4) : row + 20, max(0, column - 4) : column + 14] = False
    assert np.array_equal(cleaned[away], marked[away])


def test_without_a_marker_nothing_is_painted(limb):
    assert without_marker(limb) is None


def test_a_bright_spot_in_the_anatomy_is_no_marker(limb):
    screw = limb.copy()
    screw[100:108, 98:104] = 1.0
    assert without_marker(screw) is None
