import numpy as np
import pytest

from triage_agent.simulation.phantom.camera import Camera
from triage_agent.simulation.phantom.projection import project
from triage_agent.simulation.phantom.rigid import rotation_about
from triage_agent.simulation.phantom.scene import Bone, Scene, Tissue, Void
from triage_agent.simulation.phantom.solids import Crack, Cut, Loft, Plane, ball, profile

PITCH = 0.25


def camera(turn=0.0):
    return Camera(rotation_about((0, 1, 0), turn), np.zeros(2), PITCH, (240, 240))


def scene_of(*parts, voids=(), soft=()):
    bone = Bone("bone", "limb", parts, texture=0.0, voids=voids)
    return Scene({"bone": bone}, tuple(Tissue("limb", solid) for solid in soft), np.zeros(3), (60.0, 60.0))


def cylinder(radius=6.0, length=30.0, wall=2.0, density=0.1, **rest):
    rows = [(at * length, -radius, radius, -radius, radius, wall, density) for at in (0.0, 0.5, 1.0)]
    return Loft(profile(rows, caps=(0, 0)), np.array([0.0, -length / 2, 0.0]), np.eye(3), **rest)


def volume(path):
    return float(path.sum()) * PITCH**2


@pytest.mark.parametrize("turn", [0.0, 30.0, 90.0])
def test_the_path_through_an_ellipsoid_adds_up_to_its_volume_from_every_side(turn):
    paths = project(scene_of(ball((0, 0, 0), (8.0, 12.0, 5.0))), camera(turn))
    assert volume(paths.bone) == pytest.approx(4 / 3 * np.pi * 8 * 12 * 5, rel=0.01)


def test_the_longest_path_through_a_ball_is_its_diameter():
    assert project(scene_of(ball((0, 0, 0), 10.0)), camera()).bone.max() == pytest.approx(20.0, rel=0.005)


@pytest.mark.parametrize("turn", [0.0, 55.0])
def test_the_path_through_a_shaft_adds_up_to_its_volume(turn):
    paths = project(scene_of(cylinder()), camera(turn))
    assert volume(paths.bone) == pytest.approx(np.pi * 36 * 30, rel=0.02)


def test_a_shaft_is_densest_along_its_edges_and_its_canal_is_darker():
    mineral = project(scene_of(cylinder()), camera()).mineral[120]
    edge, middle = mineral[120 - 19], mineral[120]
    assert edge > 1.5 * middle > 0


def test_what_lies_in_two_parts_of_a_bone_counts_once():
    one, both = (project(scene_of(*[ball((0, 0, 0), 10.0)] * count), camera()) for count in (1, 2))
    np.testing.assert_allclose(both.bone, one.bone, atol=1e-3)


def test_parts_behind_each_other_add_up():
    paths = project(scene_of(ball((0, 0, -20), 8.0), ball((0, 0, 20), 8.0)), camera())
    assert paths.bone.max() == pytest.approx(32.0, rel=0.01)


def test_the_two_sides_of_a_fracture_make_the_whole_bone():
    plane = Plane(15.0, (0.3, 0.2), 0.4, 1.0)
    halves = [cylinder(cuts=(Cut(plane, keep_end=end),)) for end in (False, True)]
    whole = project(scene_of(cylinder()), camera())
    broken = [project(scene_of(half), camera()).bone for half in halves]
    np.testing.assert_allclose(broken[0] + broken[1], whole.bone, atol=1e-3)


def test_a_crack_takes_mineral_away_along_its_plane_only():
    crack = Crack(Plane(15.0, (0.0, 0.0), 0.0, 0.0), width=0.6, strength=0.9)
    whole, cracked = (project(scene_of(cylinder(cracks=cracks)), camera()).mineral for cracks in ((), (crack,)))
    assert cracked[120].sum() < 0.4 * whole[120].sum()
    np.testing.assert_allclose(cracked[80], whole[80], atol=1e-3)


def test_a_void_hollows_the_bone_and_nothing_else():
    void = Void(ball((0, 0, 0), 4.0), strength=0.9)
    whole, hollow = (project(scene_of(cylinder(), voids=voids), camera()) for voids in ((), (void,)))
    assert hollow.mineral[120, 120] < 0.2 * whole.mineral[120, 120]
    np.testing.assert_array_equal(hollow.bone, whole.bone)


def test_fat_is_the_rind_of_the_soft_tissue():
    paths = project(scene_of(soft=(cylinder(radius=12.0, wall=3.0),)), camera())
    assert paths.soft[120, 120] == pytest.approx(24.0, rel=0.01)
    assert paths.fat[120, 120] == pytest.approx(6.0, rel=0.05)


def test_a_solid_outside_the_image_casts_no_shadow():
    assert not project(scene_of(ball((500, 0, 0), 5.0)), camera()).bone.any()
