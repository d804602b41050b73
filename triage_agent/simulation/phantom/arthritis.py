"""Worn joints: the space narrows, spurs grow at the margins, the bone below hardens."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from triage_agent.simulation.phantom.rigid import Vector, shift, turn
from triage_agent.simulation.phantom.scene import Joint, Scene
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft

_COMPARTMENTS = frozenset({"medial", "lateral"})  # of the knee: one closes while the other stays
_END_IS_NEAR = 1.0  # a bone ends at a joint if it does so within this many of the joint's half-widths
_CAP_MM = 1.5  # how far the rounded end of a bone is from its full width


def arthritic(
    scene: Scene, joints: Sequence[str], subtlety: float, chance: Sequence[float]
) -> tuple[Scene, list[Vector]]:
    """The scene with worn joints, and body points that span them.

    Args:
        scene: What the beam sees.
        joints: Names of the joints, nearest first.
        subtlety: 0 is bone on bone with large spurs, 1 the least visible.
        chance: Uniform numbers in 0..1 that vary the spurs.
    """
    points: list[Vector] = []
    for number, name in enumerate(joints):
        joint = scene.joints[name]
        closing = joint.gap * (1.0 - 0.5 * subtlety)
        scene = _hardened(_spurred(scene, joint, subtlety, chance[3 * number % 18 :]), joint, subtlety)
        scene = _closed(scene, name, joint, closing)
        reach = 1.25 * joint.half_width
        ways = (joint.side, joint.axis * 0.5, np.cross(joint.side, joint.axis) * 0.7)
        points += [joint.centre + sign * reach * way for way in ways for sign in (-1, 1)]
    return scene, points


def _closed(scene: Scene, name: str, joint: Joint, closing: float) -> Scene:
    if name not in _COMPARTMENTS:
        return scene.moving(joint.moves, shift(-joint.axis * closing))
    hinge = np.cross(joint.side, joint.axis)
    pivot = joint.centre - joint.side * 42.0
    return scene.moving(joint.moves, turn(pivot, hinge, -float(np.rad2deg(closing / 42.0))))


def _spurred(scene: Scene, joint: Joint, subtlety: float, chance: Sequence[float]) -> Scene:
    """Spurs at the margins of both bones."""
    size = joint.half_width * (0.26 - 0.17 * subtlety)
    depth = np.cross(joint.side, joint.axis)
    axes = np.stack([joint.side, joint.axis, depth])
    for name, way in ((joint.near, -1.0), (joint.far, 1.0)):
        bone = scene.bones[name]
        spurs = []
        for side in (-1.0, 1.0):
            grown = size * (0.6 + 0.8 * chance[int(side > 0)])
            at = _margin(bone.shaft, joint, side, way * (joint.gap / 2 + 0.6 * grown), 0.6 * grown)
            spurs.append(Ellipsoid(at, np.array([1.3, 0.75, 2.2]) * grown, axes, density=0.5))
        scene = scene.with_bone(replace(bone, parts=(*bone.parts, *spurs)))
    return scene


def _margin(shaft: Loft, joint: Joint, side: float, away: float, inset: float) -> Vector:
    """The edge of a joint surface: of the bone's end where that is at the joint, else of the joint's own width."""
    for end, inward in ((0.0, 1.0), (shaft.profile.length, -1.0)):
        if float(np.linalg.norm(shaft.point(end) - joint.centre)) < _END_IS_NEAR * joint.half_width:
            return shaft.point(end + inward * (inset + _CAP_MM), side)
    return np.asarray(joint.centre + joint.axis * away + joint.side * side * 0.92 * joint.half_width)


def _hardened(scene: Scene, joint: Joint, subtlety: float) -> Scene:
    """Dense bone under both joint surfaces."""
    depth = np.cross(joint.side, joint.axis)
    axes = np.stack([joint.side, joint.axis, depth])
    thick = 0.22 * joint.half_width
    radii = np.array([0.85 * joint.half_width, thick, 0.7 * joint.half_depth])
    density = 0.55 - 0.4 * subtlety
    for name, way in ((joint.near, -1.0), (joint.far, 1.0)):
        bone = scene.bones[name]
        at = joint.centre + joint.axis * way * (joint.gap / 2 + 0.7 * thick)
        scene = scene.with_bone(replace(bone, deposits=(*bone.deposits, Ellipsoid(at, radii, axes, density=density))))
    return scene
