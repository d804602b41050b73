"""Bones and flesh of the hand: carpus, metacarpals, phalanges, seen from the back with the fingers up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.hand_tables import (
    CARPAL_DENSITY,
    CARPAL_SHELL,
    CARPUS,
    DISTAL,
    GAPS,
    LENGTHS,
    METACARPAL,
    MIDDLE,
    PROXIMAL,
    RAYS,
    SPREAD,
    STOUTNESS,
)
from triage_agent.simulation.phantom.rigid import Vector, frame_along, rotation_about, unit
from triage_agent.simulation.phantom.scene import Bone, Joint, Tissue
from triage_agent.simulation.phantom.solids import Bend, Ellipsoid, Loft, ball, profile

FINGERS = (1, 2, 3, 4, 5)  # thumb to little finger
_UP = np.array([0.0, -1.0, 0.0])
_BACK = np.array([0.0, 0.0, 1.0])


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
    for name in CARPUS:
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
    centre, angle, length, outline = CARPUS[name]
    rows = [(f * length, *edges, CARPAL_SHELL, CARPAL_DENSITY) for f, *edges in outline]
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
    base, angle, roll = RAYS[finger]
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
    gap = GAPS[label] * body.cartilage * body.scale
    if number == 1:
        splay = SPREAD[finger] + pose.splay.get(finger, 0.0)
        turn = rotation_about(np.array([0.0, 0.0, 1.0]), splay)
        axes = axes @ turn.T
    moves = frozenset(f"f{finger}{kind}" for kind in kinds[number:])
    half = 6.0 * STOUTNESS[finger] * body.scale
    parts.joints[f"{label}{finger}"] = Joint(
        centre=at + axes[1] * gap / 2,
        axis=axes[1],
        side=axes[0],
        half_width=half,
        half_depth=half * 0.8,
        gap=gap,
        moves=moves,
        near=near,
        far=f"{kinds[number]}{finger}",
    )
    return axes, at + axes[1] * gap


def _flexed(axes: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Axes after bending towards the palm."""
    side, along, back = axes
    angle = np.deg2rad(degrees)
    return np.stack([side, np.cos(angle) * along - np.sin(angle) * back, np.cos(angle) * back + np.sin(angle) * along])


def _tubular(body: Body, kind: str, finger: int, name: str, at: Vector, axes: NDArray[np.float64]) -> Loft:
    table, slot = {"mc": (METACARPAL, 0), "pp": (PROXIMAL, 1), "mp": (MIDDLE, 2), "dp": (DISTAL, 3)}[kind]
    length, stout = LENGTHS[finger][slot], STOUTNESS[finger]
    if finger == 1 and kind == "dp":
        stout *= 1.15
    rows = [
        (f * length, *(edge * stout for edge in edges), shell * stout, density) for f, *edges, shell, density in table
    ]
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
    wide = {"mc": 11.0, "pp": 10.0, "mp": 9.3, "dp": 8.6}[kind] * (1.12 if finger == 1 else 1.0) * STOUTNESS[finger]
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
    rows = [
        (0.0, -25, 26, -19, 12, 2.5, 0),
        (20, -27, 27, -20, 12, 2.5, 0),
        (44, -31, 32, -19, 12, 2.5, 0),
        (70, -34, 34, -17, 11, 2.5, 0),
        (98, -38, 35, -14, 11, 2.5, 0),
        (114, -37, 31, -12, 10, 2.5, 0),
        (128, -31, 22, -10, 9, 2.5, 0),
    ]
    scaled = [(a * size, xl * size, xh * size, zl * thick, zh * thick, s, d) for a, xl, xh, zl, zh, s, d in rows]
    palm = Loft(profile(scaled, caps=(16.0, 16.0)), np.array([0.0, 24.0, 0.0]) * size, _axes(0.0, 0.0), boxy=0.45)
    parts.soft.append(Tissue("palm", palm))
    ball_of_thumb = ball(_place(body, (-21.0, 48.0, -12.0)), np.array([19.0, 32.0, 15.0]) * thick, wall=2.0)
    parts.soft.append(Tissue("palm", ball_of_thumb))
    web = ball(_place(body, (-30.0, 70.0, -6.0)), np.array([16.0, 24.0, 7.0]) * thick, wall=1.5)
    parts.soft.append(Tissue("palm", web))


def finger_direction(parts: HandParts, finger: int) -> Vector:
    """Where a finger's proximal phalanx points."""
    return unit(parts.bones[f"pp{finger}"].shaft.axes[1])
