"""Bones and flesh of the hand: carpus, metacarpals, phalanges, seen from the back with the fingers up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.rigid import Vector, frame_along, rotation_about, unit
from triage_agent.simulation.phantom.scene import Bone, Joint, Tissue
from triage_agent.simulation.phantom.solids import Bend, Ellipsoid, Loft, ball, profile

FINGERS = (1, 2, 3, 4, 5)  # thumb to little finger
_UP = np.array([0.0, -1.0, 0.0])
_BACK = np.array([0.0, 0.0, 1.0])

# Where each metacarpal starts (x ulnar, y distal, z dorsal) and points (degrees from the long axis, ulnar positive).
_RAYS = {
    1: ((-21.0, 31.0, -9.0), -38.0, 62.0),
    2: ((-10.0, 32.5, 1.0), -8.5, 6.0),
    3: ((1.0, 34.5, 2.0), -1.0, 0.0),
    4: ((10.5, 33.0, 1.0), 5.0, -6.0),
    5: ((18.5, 30.0, -2.0), 11.5, -14.0),
}
_LENGTHS = {  # metacarpal, proximal, middle, distal phalanx (mm)
    1: (45.0, 31.0, 0.0, 22.0),
    2: (67.0, 40.0, 23.5, 17.0),
    3: (64.0, 44.5, 28.0, 18.0),
    4: (57.0, 41.5, 27.0, 18.0),
    5: (53.0, 33.0, 19.0, 16.5),
}
_STOUTNESS = {1: 1.18, 2: 1.04, 3: 1.03, 4: 0.94, 5: 0.88}
_SPREAD = {1: 8.0, 2: -1.5, 3: 0.0, 4: 2.0, 5: 4.0}  # extra splay of the phalanges beyond the metacarpal (degrees)
_GAPS = {"mcp": 2.0, "pip": 1.5, "dip": 1.3}

# (fraction of length, x low, x high, z low, z high, shell, density); widths in mm for an average long finger
_METACARPAL = (
    (0.0, -6.8, 6.6, -6.6, 6.8, 0.6, 0.30),
    (0.07, -6.8, 6.7, -6.4, 6.8, 0.6, 0.26),
    (0.18, -5.4, 5.3, -5.0, 6.0, 0.9, 0.14),
    (0.34, -4.3, 4.2, -3.4, 5.4, 1.6, 0.05),
    (0.52, -4.0, 4.0, -3.0, 5.4, 1.9, 0.03),
    (0.68, -4.3, 4.3, -3.6, 5.2, 1.5, 0.05),
    (0.82, -5.8, 5.7, -5.6, 5.2, 0.8, 0.16),
    (0.92, -7.2, 7.1, -7.4, 5.6, 0.5, 0.27),
    (1.0, -6.8, 6.8, -7.4, 4.8, 0.6, 0.30),
)
_PROXIMAL = (
    (0.0, -7.2, 7.2, -6.2, 5.8, 0.7, 0.30),
    (0.06, -7.3, 7.3, -6.2, 5.8, 0.5, 0.27),
    (0.18, -5.8, 5.8, -4.6, 4.9, 0.8, 0.14),
    (0.38, -4.7, 4.7, -2.8, 4.4, 1.4, 0.05),
    (0.6, -4.2, 4.2, -2.6, 4.0, 1.6, 0.03),
    (0.78, -4.4, 4.4, -3.2, 3.4, 1.1, 0.08),
    (0.91, -5.7, 5.7, -4.6, 3.2, 0.5, 0.24),
    (1.0, -5.6, 5.6, -4.8, 2.6, 0.6, 0.30),
)
_MIDDLE = (
    (0.0, -6.6, 6.6, -5.0, 5.0, 0.7, 0.30),
    (0.08, -6.6, 6.6, -4.8, 4.8, 0.5, 0.27),
    (0.22, -5.0, 5.0, -3.4, 4.0, 0.8, 0.14),
    (0.45, -3.8, 3.8, -2.2, 3.4, 1.2, 0.05),
    (0.65, -3.6, 3.6, -2.2, 3.0, 1.2, 0.05),
    (0.8, -4.0, 4.0, -2.8, 2.8, 0.8, 0.12),
    (0.92, -4.9, 4.9, -3.6, 2.8, 0.5, 0.26),
    (1.0, -4.8, 4.8, -3.6, 2.4, 0.6, 0.30),
)
_DISTAL = (
    (0.0, -5.6, 5.6, -3.6, 3.8, 0.7, 0.30),
    (0.1, -5.6, 5.6, -3.4, 3.6, 0.5, 0.26),
    (0.3, -3.4, 3.4, -2.0, 2.6, 0.7, 0.14),
    (0.55, -2.3, 2.3, -1.5, 2.0, 0.8, 0.08),
    (0.72, -2.6, 2.6, -1.5, 1.8, 0.6, 0.12),
    (0.88, -4.0, 4.0, -1.6, 1.6, 0.5, 0.24),
    (1.0, -3.6, 3.6, -1.4, 1.4, 0.5, 0.26),
)

# name: centre (x ulnar, y distal, z dorsal), direction (degrees from distal, ulnar positive), outline rows, end powers.
_Outline = tuple[tuple[float, ...], ...]
_CARPUS: dict[str, tuple[tuple[float, float, float], float, float, _Outline]] = {
    "scaphoid": ((-9.5, 10.0, -3.0), -38.0, 25.0, (
        (0.0, -5.5, 5.5, -5, 5), (0.22, -6.4, 6.6, -6, 6), (0.5, -5.2, 5.0, -5, 5), (0.78, -6.2, 5.6, -6, 5),
        (1.0, -5.0, 4.5, -5, 4))),
    "lunate": ((4.0, 6.8, 0.0), 4.0, 12.5, (
        (0.0, -6.6, 6.4, -7, 6), (0.35, -8.0, 7.6, -8, 7), (0.75, -7.6, 7.2, -8, 6), (1.0, -6.4, 6.6, -7, 5))),
    "triquetrum": ((16.0, 11.0, -1.0), 20.0, 15.5, (
        (0.0, -4.5, 5.0, -5, 5), (0.3, -6.4, 6.4, -7, 6), (0.65, -6.6, 5.8, -7, 6), (1.0, -4.2, 3.6, -5, 5))),
    "pisiform": ((18.5, 11.5, -12.0), 5.0, 11.5, (
        (0.0, -3.5, 3.5, -3, 3), (0.4, -4.6, 4.6, -4.5, 4.5), (1.0, -3.5, 3.5, -3, 3))),
    "trapezium": ((-17.5, 23.5, -8.0), -32.0, 14.5, (
        (0.0, -5.2, 5.6, -5, 5), (0.35, -6.6, 7.0, -7, 6), (0.75, -7.8, 7.2, -7, 6), (1.0, -6.8, 6.2, -6, 5))),
    "trapezoid": ((-8.5, 24.5, 1.5), -12.0, 13.5, (
        (0.0, -3.8, 4.0, -5, 5), (0.4, -5.2, 5.0, -7, 7), (0.8, -6.2, 5.4, -8, 7), (1.0, -5.4, 4.6, -7, 6))),
    "capitate": ((2.0, 21.8, 1.0), -2.0, 24.5, (
        (0.0, -4.6, 4.6, -5, 5), (0.2, -6.2, 6.0, -7, 7), (0.42, -5.6, 5.8, -6, 6), (0.75, -7.0, 6.2, -8, 8),
        (1.0, -6.6, 6.0, -7, 7))),
    "hamate": ((13.0, 22.5, -1.0), 8.0, 20.5, (
        (0.0, -2.4, 2.6, -5, 4), (0.25, -4.2, 4.6, -7, 6), (0.6, -6.2, 7.4, -8, 7), (0.88, -7.6, 8.4, -8, 7),
        (1.0, -7.0, 7.4, -7, 6))),
}
_CARPAL_SHELL, _CARPAL_DENSITY = 0.6, 0.36


@dataclass(frozen=True)
class HandPose:
    """Flexion (degrees) of each finger's joints (mcp, pip, dip), extra splay of each finger, and bend of the wrist."""

    flexion: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    splay: Mapping[int, float] = field(default_factory=dict)


@dataclass(eq=False)
class HandParts:
    """What `build_hand` makes."""

    bones: dict[str, Bone] = field(default_factory=dict)
    soft: list[Tissue] = field(default_factory=list)
    joints: dict[str, Joint] = field(default_factory=dict)


def build_hand(body: Body, pose: HandPose) -> HandParts:
    """Carpus and five rays, with the middle of the radius' joint surface at the origin."""
    parts = HandParts()
    for name in _CARPUS:
        parts.bones[name] = _carpal(body, name)
    for finger in FINGERS:
        _add_ray(parts, body, pose, finger)
    _add_sesamoids(parts, body)
    _add_palm(parts, body)
    return parts


def all_segments(parts: HandParts) -> frozenset[str]:
    """Everything beyond the wrist."""
    return frozenset(bone.segment for bone in parts.bones.values())


def _carpal(body: Body, name: str) -> Bone:
    centre, angle, length, outline = _CARPUS[name]
    rows = [(f * length, *edges, _CARPAL_SHELL, _CARPAL_DENSITY) for f, *edges in outline]
    made = profile(body.varied(name, rows), caps=(5.0, 4.5), power=(2.3, 2.3))
    axes = _axes(angle + 3.0 * float(body.numbers(name)[5]), 0.0)
    middle = _place(body, centre)
    return Bone(name, "hand", (Loft(made, middle - axes[1] * made.length / 2, axes, boxy=0.5),), texture=0.16)


def _place(body: Body, at: tuple[float, float, float]) -> Vector:
    """Body position of a point given as (ulnar, distal, dorsal) mm of a reference hand."""
    return np.array([at[0], -at[1], at[2]]) * body.scale


def _axes(angle: float, roll: float) -> NDArray[np.float64]:
    direction = np.array([np.sin(np.deg2rad(angle)), -np.cos(np.deg2rad(angle)), 0.0])
    return frame_along(direction, _BACK, roll=roll, mirrored=True)


def _add_ray(parts: HandParts, body: Body, pose: HandPose, finger: int) -> None:
    """One metacarpal and its phalanges, each turned about the joint before it."""
    base, angle, roll = _RAYS[finger]
    noise = body.numbers(f"ray{finger}")
    axes = _axes(angle + 1.2 * float(noise[4]), -roll)
    at = _place(body, base)
    kinds = ("mc", "pp", "mp", "dp") if finger > 1 else ("mc", "pp", "dp")
    flexion = pose.flexion.get(finger, (0.0, 0.0, 0.0))
    near = ""
    for number, kind in enumerate(kinds):
        name, segment = f"{kind}{finger}", "hand" if kind == "mc" else f"f{finger}{kind}"
        if number > 0:
            axes, at = _beyond_joint(parts, body, pose, (finger, number, kinds), axes, at, near)
            axes = _flexed(axes, flexion[number - 1])
        loft = _tubular(body, kind, finger, name, at, axes)
        parts.bones[name] = Bone(name, segment, (loft,), texture=0.22)
        parts.soft.append(Tissue(segment, _finger_flesh(body, kind, finger, loft)))
        at = loft.point(loft.profile.length)
        near = name


def _beyond_joint(
    parts: HandParts,
    body: Body,
    pose: HandPose,
    which: tuple[int, int, tuple[str, ...]],
    axes: NDArray[np.float64],
    at: Vector,
    near: str,
) -> tuple[NDArray[np.float64], Vector]:
    """Axes and start of the next phalanx, and the joint before it."""
    finger, number, kinds = which
    label = ("mcp", "pip", "dip")[number - 1] if finger > 1 else ("mcp", "dip")[number - 1]
    gap = _GAPS[label] * body.cartilage * body.scale
    if number == 1:
        splay = _SPREAD[finger] + pose.splay.get(finger, 0.0)
        turn = rotation_about(np.array([0.0, 0.0, 1.0]), splay)
        axes = axes @ turn.T
    moves = frozenset(f"f{finger}{kind}" for kind in kinds[number:])
    half = 6.0 * _STOUTNESS[finger] * body.scale
    parts.joints[f"{label}{finger}"] = Joint(
        centre=at + axes[1] * gap / 2, axis=axes[1], side=axes[0], half_width=half, half_depth=half * 0.8,
        gap=gap, moves=moves, near=near, far=f"{kinds[number]}{finger}",
    )
    return axes, at + axes[1] * gap


def _flexed(axes: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Axes after bending towards the palm."""
    side, along, back = axes
    angle = np.deg2rad(degrees)
    return np.stack([side, np.cos(angle) * along - np.sin(angle) * back, np.cos(angle) * back + np.sin(angle) * along])


def _tubular(body: Body, kind: str, finger: int, name: str, at: Vector, axes: NDArray[np.float64]) -> Loft:
    table, slot = {"mc": (_METACARPAL, 0), "pp": (_PROXIMAL, 1), "mp": (_MIDDLE, 2), "dp": (_DISTAL, 3)}[kind]
    length, stout = _LENGTHS[finger][slot], _STOUTNESS[finger]
    if finger == 1 and kind == "dp":
        stout *= 1.15
    rows = [(f * length, *(edge * stout for edge in edges), shell * stout, density)
            for f, *edges, shell, density in table]
    caps, power = ((2.0, 7.0), (3.0, 2.0)) if kind == "mc" else ((1.6, 3.6), (4.0, 2.4))
    if kind == "dp":
        caps, power = (1.4, 3.0), (4.0, 2.0)
    made = profile(body.varied(name, rows), caps=caps, power=power)
    cup = Bend(curve=(0.022, 0.03), reach=5.0) if kind != "mc" else Bend(slope=(0.12, 0.0), reach=8.0)
    notch = Bend(curve=(-0.012, 0.0), reach=4.0) if kind == "pp" else Bend()
    return Loft(made, at, axes, boxy=0.2, start=_reversed(cup), end=notch)


def _reversed(bend: Bend) -> Bend:
    """A cup at a bone's start bends the other way from one at its end."""
    return Bend((-bend.slope[0], -bend.slope[1]), (-bend.curve[0], -bend.curve[1]), bend.reach)


def _finger_flesh(body: Body, kind: str, finger: int, bone: Loft) -> Loft:
    """Skin, fat and tendon around one bone of a ray."""
    wide = {"mc": 11.0, "pp": 10.0, "mp": 9.3, "dp": 8.6}[kind] * (1.12 if finger == 1 else 1.0) * _STOUTNESS[finger]
    wide *= body.scale * (0.6 + 0.4 * body.flesh)
    tip = 4.5 * body.scale if kind == "dp" else 5.0
    length = bone.profile.length + tip + 6.0
    rows = [
        (0.0, -wide, wide, -1.05 * wide, 0.9 * wide, 1.6, 0.0),
        (length * 0.5, -0.93 * wide, 0.93 * wide, -1.0 * wide, 0.82 * wide, 1.6, 0.0),
        (length, -0.94 * wide, 0.94 * wide, -0.95 * wide, 0.78 * wide, 1.6, 0.0),
    ]
    round_tip = wide * 1.1 if kind == "dp" else 8.0
    return Loft(profile(rows, caps=(8.0, round_tip)), bone.origin - bone.axes[1] * 6.0, bone.axes, boxy=0.2)


def _add_sesamoids(parts: HandParts, body: Body) -> None:
    head = parts.bones["mc1"].shaft
    for side in (-0.55, 0.55):
        centre = head.point(head.profile.length - 3.0 * body.scale, side, -1.25)
        name = f"sesamoid{'a' if side < 0 else 'b'}"
        pea = Ellipsoid(centre, np.array([2.2, 3.0, 2.0]) * body.scale, head.axes, 0.5, 0.35)
        parts.bones[name] = Bone(name, "hand", (pea,), texture=0.1)


def _add_palm(parts: HandParts, body: Body) -> None:
    """The palm, the ball of the thumb, and the wrist's flesh."""
    size, thick = body.scale, body.scale * (0.6 + 0.4 * body.flesh)
    rows = [(0.0, -25, 26, -19, 12, 2.5, 0), (20, -27, 27, -20, 12, 2.5, 0), (44, -31, 32, -19, 12, 2.5, 0),
            (70, -34, 34, -17, 11, 2.5, 0), (98, -38, 35, -14, 11, 2.5, 0), (114, -37, 31, -12, 10, 2.5, 0),
            (128, -31, 22, -10, 9, 2.5, 0)]
    scaled = [(a * size, xl * size, xh * size, zl * thick, zh * thick, s, d) for a, xl, xh, zl, zh, s, d in rows]
    palm = Loft(profile(scaled, caps=(16.0, 16.0)), np.array([0.0, 24.0, 0.0]) * size, _axes(0.0, 0.0), boxy=0.45)
    parts.soft.append(Tissue("palm", palm))
    ball_of_thumb = ball(_place(body, (-21.0, 48.0, -12.0)), np.array([19.0, 32.0, 15.0]) * thick, shell=2.0)
    parts.soft.append(Tissue("palm", ball_of_thumb))
    web = ball(_place(body, (-30.0, 70.0, -6.0)), np.array([16.0, 24.0, 7.0]) * thick, shell=1.5)
    parts.soft.append(Tissue("palm", web))


def finger_direction(parts: HandParts, finger: int) -> Vector:
    """Where a finger's proximal phalanx points."""
    return unit(parts.bones[f"pp{finger}"].shaft.axes[1])
