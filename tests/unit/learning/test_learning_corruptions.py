"""Corruptions as pure functions on drawn images."""

import numpy as np
import pytest
from scipy import ndimage

from triage_agent.learning.corruptions import CORRUPTIONS, SEVERITIES, corrupt


@pytest.fixture
def display():
    """A soft picture with an edge, 90 rows of 120."""
    y, x = np.mgrid[:90, :120]
    soft = 0.45 + 0.25 * np.sin(x / 9) * np.cos(y / 7)
    soft[30:60, 40:70] += 0.2
    return soft.astype(np.float32)


def made(display, kind, severity, seed=0):
    return corrupt(display, kind, severity, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_leaves_a_display_image_and_the_original_alone(display, kind):
    before = display.copy()
    for severity in SEVERITIES:
        changed = made(display, kind, severity)
        assert changed.dtype == np.float32
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert kind == "crop" or changed.shape == display.shape
        assert kind == "crop" or not np.array_equal(changed, display)
        assert np.array_equal(changed, made(display, kind, severity))
    assert np.array_equal(display, before)


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if kind != "crop"])
def test_a_higher_severity_changes_more(display, kind):
    changes = [float(np.mean((made(display, kind, severity) - display) ** 2)) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[-1] > 2 * changes[0]


@pytest.mark.parametrize("kind", ["gaussian_noise", "speckle_noise", "motion_blur", "crop", "burned_in_text"])
def test_what_is_drawn_depends_on_the_generator_only(display, kind):
    assert not np.array_equal(made(display, kind, 5, seed=1), made(display, kind, 5, seed=3))


def test_noise_has_the_deviation_that_it_states():
    grey = np.full((200, 200), 0.5, dtype=np.float32)
    assert made(grey, "gaussian_noise", 3).std() == pytest.approx(0.08, rel=0.05)
    assert made(grey, "speckle_noise", 3).std() == pytest.approx(0.5 * 0.15, rel=0.05)
    assert made(grey / 2, "speckle_noise", 3).std() == pytest.approx(0.25 * 0.15, rel=0.05)


def test_blur_and_motion_scale_with_the_image(display):
    large = ndimage.zoom(display, 2, order=1)
    for kind in ("blur", "motion_blur"):
        small_after = made(large, kind, 4)[::2, ::2][:90, :120]
        assert np.abs(small_after - made(display, kind, 4))[8:-8, 8:-8].mean() < 0.02


def test_crop_keeps_the_stated_share_of_each_side_and_its_pixels(display):
    cropped = made(display, "crop", 5)
    assert cropped.shape == (54, 72)
    places = [
        (top, left)
        for top in range(90 - 54 + 1)
        for left in range(120 - 72 + 1)
        if np.array_equal(display[top : top + 54, left : left + 72], cropped)
    ]
    assert len(places) == 1


def test_burned_in_text_only_adds_white_and_stays_off_the_middle(display):
    added = made(display, "burned_in_text", 5) - display
    assert added.min() >= 0
    assert added.max() > 0.2
    assert np.abs(added[38:52, 55:65]).max() == 0


def test_rotation_turns_about_the_middle(display):
    spot = np.zeros((101, 101), dtype=np.float32)
    spot[48:53, 88:93] = 1
    y, x = ndimage.center_of_mass(made(spot, "rotation", 5))
    assert abs(np.degrees(np.arctan2(y - 50, x - 50))) == pytest.approx(25, abs=0.5)
