import numpy as np
import pytest

from triage_agent.simulation.phantom import ANATOMIES, KINDS, simulate_kind, simulate_study
from triage_agent.simulation.phantom.body import draw_body
from triage_agent.simulation.phantom.camera import Camera
from triage_agent.simulation.phantom.lesions import afflict, draw_plan
from triage_agent.simulation.phantom.physics import Exposure, detect, transmission
from triage_agent.simulation.phantom.projection import project
from triage_agent.simulation.phantom.study import REGIONS

SIDE = 64
ROWS = 112  # of the camera that must show the finest crack
ROOM = Exposure(photons=1e5, scatter=0.1, blur=0.15, sharpening=0.0, sharpening_range=3.0)


def frontal(anatomy):
    """One patient's scene in the first view, and a camera that looks at it."""
    region = REGIONS[anatomy]
    scene = region.build(draw_body(np.random.default_rng(4)), region.looks[0], np.random.default_rng(0))
    pitch = scene.size[1] / ROWS
    return scene, Camera(np.eye(3), scene.centre[:2], pitch, (ROWS, round(scene.size[0] / pitch)))


def test_there_are_the_seven_regions_of_mura_and_the_knee():
    assert set(ANATOMIES) == {
        f"XR_{name}" for name in ("ELBOW", "FINGER", "FOREARM", "HAND", "HUMERUS", "SHOULDER", "WRIST", "KNEE")
    }


def test_the_same_arguments_make_the_same_pixels():
    first, again = (simulate_study("XR_WRIST", abnormal=True, seed=7, long_side=SIDE) for _ in range(2))
    assert (first.kind, first.subtlety, first.age) == (again.kind, again.subtlety, again.age)
    for one, other in zip(first.views, again.views, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.lesion_box == other.lesion_box


def test_another_seed_is_another_patient():
    one, other = (simulate_study("XR_KNEE", abnormal=False, seed=seed, long_side=SIDE) for seed in (1, 2))
    assert (
        one.views[0].pixels.shape != other.views[0].pixels.shape or (one.views[0].pixels != other.views[0].pixels).any()
    )


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_every_region_has_two_or_three_views_of_twelve_bits_and_the_long_side_asked_for(anatomy):
    study = simulate_study(anatomy, abnormal=False, seed=3, long_side=SIDE)
    assert 2 <= len(study.views) <= 3
    for view in study.views:
        assert view.pixels.dtype == np.uint16
        assert max(view.pixels.shape) == SIDE
        assert view.pixels.max() <= 4095
        assert np.ptp(view.pixels) > 1500
        assert 0.1 < view.pixel_spacing_mm < 10


def test_bone_is_brighter_than_soft_tissue_and_soft_tissue_than_air():
    scene, camera = frontal("XR_KNEE")
    primary = transmission(project(scene, camera))
    seen = detect(primary, np.ones_like(primary), camera.pitch, ROOM, np.random.default_rng(0))
    shaft = scene.bones["femur"].shaft
    across = np.array([1.0, 0.0, 0.0])
    bone, tissue, air = (value_at(seen, camera, shaft.point(120.0) + step * across) for step in (0.0, 34.0, 70.0))
    assert bone > 1.2 * tissue
    assert tissue > 1.2 + air


def value_at(image, camera, point):
    column, row = camera.pixel(point)
    return float(image[round(row), round(column)])


def test_a_normal_study_says_so_and_marks_nothing():
    study = simulate_study("XR_HAND", abnormal=False, seed=5, long_side=SIDE)
    assert (study.abnormal, study.kind, study.subtlety) == (False, "none", 0.0)
    assert all(view.lesion_box is None for view in study.views)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_an_abnormality_is_boxed_inside_at_least_one_of_its_images(anatomy):
    study = simulate_study(anatomy, abnormal=True, seed=11, long_side=SIDE)
    boxes = [(view.lesion_box, view.pixels.shape) for view in study.views if view.lesion_box is not None]
    assert study.kind in KINDS
    assert boxes
    for (x0, y0, x1, y1), (height, width) in boxes:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_every_kind_of_abnormality_changes_the_bones_or_adds_metal(anatomy):
    region = REGIONS[anatomy]
    scene, camera = frontal(anatomy)
    healthy = project(scene, camera)
    for kind in KINDS:
        plan = draw_plan(region, scene, np.random.default_rng(8), kind)
        ill, points = afflict(scene, plan, region)
        paths = project(ill, camera)
        change = np.abs(paths.mineral + paths.metal - healthy.mineral - healthy.metal)
        assert change.max() > 0.3, kind
        assert len(points) >= 2, kind


def test_a_kind_can_be_asked_for():
    assert simulate_kind("XR_FINGER", "dislocation", 2, SIDE).kind == "dislocation"


def test_well_and_ill_patients_of_one_seed_are_taken_alike():
    for seed in range(3):
        well, ill = (
            simulate_study("XR_KNEE", abnormal=abnormal, seed=seed, long_side=SIDE) for abnormal in (False, True)
        )
        assert (well.laterality, well.age, well.sex) == (ill.laterality, ill.age, ill.sex)
        for one, other in zip(well.views, ill.views, strict=True):
            assert one.position == other.position
            assert one.pixel_spacing_mm == other.pixel_spacing_mm
            assert one.pixels.shape == other.pixels.shape
            assert one.window == other.window
            assert _shutter(one.pixels) == _shutter(other.pixels)


def _shutter(pixels):
    """How many border pixels are blanked: the collimation, read from the image."""
    return [int((edge == 0).sum()) for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])]


def test_away_from_a_lesion_the_ill_patients_image_is_the_well_ones():
    for seed in (1, 6):
        well, ill = (simulate_kind("XR_KNEE", kind, seed, SIDE).views[0] for kind in ("none", "hairline_fracture"))
        x0, y0, x1, y1 = ill.lesion_box
        differs = np.abs(well.pixels.astype(int) - ill.pixels) > 60
        differs[max(y0 - 4, 0) : y1 + 4, max(x0 - 4, 0) : x1 + 4] = False
        assert differs.mean() < 0.01


def test_an_unknown_region_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="XR_KNEE"):
        simulate_study("XR_SKULL", abnormal=False, seed=1)


def test_an_image_too_small_to_show_anything_is_refused():
    with pytest.raises(ValueError, match="64 or more"):
        simulate_study("XR_KNEE", abnormal=False, seed=1, long_side=10)
