"""Metal that surgeons leave: plates with screws, wires, nails, prostheses."""

from collections.abc import Sequence

import numpy as np

from triage_agent.simulation.phantom.rigid import Vector, frame_along
from triage_agent.simulation.phantom.scene import Scene
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft, Solid, profile

_SOLID = 99.0  # a shell thicker than any implant: metal all through
_OPPOSITE = 0.95
_LONGEST_PLATE_MM, _LONGEST_WIRE_MM = 84.0, 80.0


def rod(start: Vector, end: Vector, half: tuple[float, float], depth: Vector, tip: float = 1.0) -> Loft:
    """A straight piece of metal with half-widths (across, along `depth`) in mm."""
    length = float(np.linalg.norm(end - start))
    rows = [(at * length, -half[0], half[0], -half[1], half[1], _SOLID, 0.0) for at in (0.0, 0.5, 1.0)]
    return Loft(profile(rows, caps=(tip, tip)), start, frame_along(end - start, depth), boxy=0.6)


def _tapered(start: Vector, end: Vector, wide: float, narrow: float) -> Loft:
    length = float(np.linalg.norm(end - start))
    rows = [
        (0.0, -wide, wide, -wide, wide, _SOLID, 0.0),
        (length * 0.4, *(sign * (wide + narrow) / 2 for sign in (-1, 1, -1, 1)), _SOLID, 0.0),
        (length, -narrow, narrow, -narrow, narrow, _SOLID, 0.0),
    ]
    other = np.array([0.0, 0.0, 1.0]) if abs((end - start)[2]) < 0.9 * length else np.array([1.0, 0.0, 0.0])
    return Loft(profile(rows, caps=(1.0, narrow)), start, frame_along(end - start, other))


def plated(scene: Scene, bone: str, at: float, subtlety: float, chance: Sequence[float]) -> tuple[Scene, list[Vector]]:
    """A plate on a bone's surface with screws through both cortices, and points that span it."""
    shaft = scene.bones[bone].shaft
    length = shaft.profile.length
    middle = at * length
    width = shaft.half_width(middle)
    half = min((3.0 + 2.5 * (1 - subtlety)) * width, 0.4 * length, _LONGEST_PLATE_MM / 2)
    low, high = max(middle - half, 0.04 * length), min(middle + half, 0.96 * length)
    angle = 2 * np.pi * chance[0]
    normal = np.cos(angle) * shaft.axes[0] + np.sin(angle) * shaft.axes[2]
    thick, broad = 0.09 * width + 0.4, 0.38 * width
    where = [shaft.point(step, np.cos(angle), np.sin(angle)) + normal * thick for step in (low, high)]
    pieces: list[Solid] = [rod(where[0], where[1], (broad, thick), normal, tip=broad)]
    screws = 3 + int(4 * (1 - subtlety) * chance[1] + 0.5)
    for step in np.linspace(0.06, 0.94, screws):
        head = where[0] + (where[1] - where[0]) * step
        far = head - normal * (2.0 * width * (0.85 + 0.3 * chance[2]))
        pieces.append(rod(head, far, (0.12 * width + 0.2,) * 2, shaft.axes[1]))
        pieces.append(Ellipsoid(head, np.full(3, 0.26 * width + 0.3), np.eye(3)))
    points = [point + sign * width * way for point in where for way in (normal, shaft.axes[0]) for sign in (-1.0, 1.0)]
    return scene.with_metal(*pieces, segment=scene.bones[bone].segment), points


def wired(scene: Scene, bone: str, at: float, subtlety: float, chance: Sequence[float]) -> tuple[Scene, list[Vector]]:
    """One to three Kirschner wires through a bone, and points that span them."""
    shaft = scene.bones[bone].shaft
    middle = at * shaft.profile.length
    width = shaft.half_width(middle)
    radius = 0.045 * width + 0.3
    reach = min((2.6 + 2.4 * (1 - subtlety)) * width, _LONGEST_WIRE_MM / 2)
    pieces: list[Solid] = []
    points: list[Vector] = []
    for number in range(1 + int(2.2 * (1 - subtlety) + 0.5 * chance[3])):
        tilt = np.deg2rad((1 if number % 2 else -1) * (12 + 28 * chance[4 + number]))
        spin = 2 * np.pi * chance[8]
        side = np.cos(spin) * shaft.axes[0] + np.sin(spin) * shaft.axes[2]
        way = np.cos(tilt) * shaft.axes[1] + np.sin(tilt) * side
        centre = shaft.point(middle, 0.4 * (chance[10 + number] - 0.5), 0.0)
        ends = centre - reach * way, centre + reach * (0.6 + 0.5 * chance[14]) * way
        pieces.append(rod(ends[0], ends[1], (radius, radius), np.cross(way, side), tip=2 * radius))
        points += list(ends)
    return scene.with_metal(*pieces, segment=scene.bones[bone].segment), points


def prosthetic(scene: Scene, device: str) -> tuple[Scene, list[Vector]]:
    """A joint prosthesis or a nail, and points that span it."""
    made = {
        "humeral_head": _humeral_head,
        "humeral_nail": _humeral_nail,
        "radial_head": _radial_head,
        "elbow": _elbow,
        "knee": _knee,
    }[device]
    pieces, segment = made(scene)
    points: list[Vector] = []
    for piece in pieces:
        if isinstance(piece, Loft):
            points += [piece.origin, piece.point(piece.profile.length)]
        else:
            points += [piece.centre + sign * piece.radii[0] * axis for axis in np.eye(3) for sign in (-1.0, 1.0)]
    return scene.with_metal(*pieces, segment=segment), points


def _humeral_head(scene: Scene) -> tuple[list[Solid], str]:
    bone = scene.bones["humerus"]
    head = next(part for part in bone.parts if isinstance(part, Ellipsoid))
    shaft, length = bone.shaft, bone.shaft.profile.length
    cup = Ellipsoid(head.centre, head.radii * _OPPOSITE, head.axes)
    stem = _tapered(shaft.point(0.07 * length), shaft.point(0.42 * length), 9.0, 4.0)
    return [cup, stem], bone.segment


def _humeral_nail(scene: Scene) -> tuple[list[Solid], str]:
    bone = scene.bones["humerus"]
    shaft, length = bone.shaft, bone.shaft.profile.length
    pieces: list[Solid] = [_tapered(shaft.point(0.01 * length), shaft.point(0.84 * length), 5.0, 3.6)]
    pieces += [
        rod(shaft.point(step * length, -1.1), shaft.point(step * length, 1.0), (1.9, 1.9), shaft.axes[2])
        for step in (0.06, 0.11, 0.78)
    ]
    return pieces, bone.segment


def _radial_head(scene: Scene) -> tuple[list[Solid], str]:
    shaft = scene.bones["radius"].shaft
    length = shaft.profile.length
    head = rod(shaft.point(0.0), shaft.point(0.05 * length), (10.5, 10.5), shaft.axes[2], tip=2.0)
    return [head, _tapered(shaft.point(0.05 * length), shaft.point(0.19 * length), 3.6, 2.2)], "forearm"


def _elbow(scene: Scene) -> tuple[list[Solid], str]:
    upper, lower = scene.bones["humerus"].shaft, scene.bones["ulna"].shaft
    hinge = Ellipsoid(upper.point(0.985 * upper.profile.length), np.array([17.0, 8.5, 8.5]), upper.axes)
    stems: list[Solid] = [
        _tapered(upper.point(0.95 * upper.profile.length), upper.point(0.66 * upper.profile.length), 6.0, 3.4),
        _tapered(lower.point(0.09 * lower.profile.length), lower.point(0.34 * lower.profile.length), 4.2, 2.6),
    ]
    return [hinge, *stems], "arm"


def _knee(scene: Scene) -> tuple[list[Solid], str]:
    femur, tibia = scene.bones["femur"], scene.bones["tibia"].shaft
    pieces: list[Solid] = [
        Ellipsoid(part.centre, part.radii + 0.8, part.axes, wall=3.2, density=1.0)
        for part in femur.parts
        if isinstance(part, Ellipsoid)
    ]
    wide, length = 0.97 * tibia.profile.half_x.max(), tibia.profile.length
    pieces.append(rod(tibia.point(4.0, -0.97), tibia.point(4.0, 0.97), (2.2, 0.6 * wide), tibia.axes[2], tip=2.0))
    pieces.append(_tapered(tibia.point(4.0), tibia.point(0.24 * length), 7.5, 5.0))
    return pieces, "thigh"
