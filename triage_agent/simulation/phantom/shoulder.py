"""The shoulder girdle and chest wall in the frame of the humeral head: x medial, y down, z anterior."""

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.rigid import frame_along
from triage_agent.simulation.phantom.scene import Bone, Tissue
from triage_agent.simulation.phantom.solids import Bend, Ellipsoid, Loft, Solid, ball, profile

_FLAT_TURN = 32.0  # the scapula lies this far out of the frontal plane (degrees)

# The blade: (down from its upper edge, lateral, medial, back, front, shell, density)
_BLADE = (
    (0.0, 30.0, 78.0, -2.0, 1.0, 0.7, 0.25),
    (12.0, 24.0, 88.0, -2.6, 2.0, 1.0, 0.14),
    (30.0, 21.0, 92.0, -3.0, 2.4, 1.0, 0.12),
    (45.0, 23.0, 92.0, -3.0, 2.4, 1.0, 0.12),
    (70.0, 34.0, 90.0, -3.0, 2.4, 1.0, 0.12),
    (105.0, 50.0, 86.0, -3.0, 2.4, 1.0, 0.12),
    (130.0, 62.0, 84.0, -3.0, 2.6, 1.0, 0.14),
    (142.0, 66.0, 82.0, -2.4, 2.0, 1.0, 0.2),
)
_CLAVICLE = (
    (0.0, -8.0, 5.0, -6.0, 6.0, 0.7, 0.25),
    (12.0, -9.0, 4.0, -7.0, 5.0, 0.9, 0.18),
    (35.0, -8.0, 3.0, -9.0, 2.0, 1.6, 0.08),
    (65.0, -5.0, 6.0, -6.0, 5.0, 2.0, 0.05),
    (100.0, -2.0, 10.0, -2.0, 11.0, 1.8, 0.06),
    (130.0, -4.0, 13.0, -2.0, 13.0, 1.1, 0.16),
    (146.0, -8.0, 14.0, -4.0, 14.0, 0.8, 0.24),
)
_CONTOURS = {  # straight pieces: start, end, half-widths (across, in depth) at both, shell, density
    "spine": ((88.0, 4.0, -26.0), (-10.0, -36.0, -22.0), ((2.6, 3.0), (6.5, 5.0)), 0.8, 0.12),
    "neck": ((62.0, 10.0, -12.0), (27.0, 3.0, -4.0), ((30.0, 2.5), (15.0, 6.0)), 0.5, 0.14),
    "border": ((30.0, 14.0, -8.0), (66.0, 124.0, -24.0), ((5.0, 4.6), (2.2, 3.0)), 1.2, 0.10),
    "coracoid": ((36.0, -14.0, -2.0), (18.0, -20.0, 20.0), ((7.5, 6.5), (5.5, 5.0)), 0.8, 0.18),
}
_RIBS = 6


def build_girdle(body: Body) -> dict[str, Bone]:
    """Scapula with glenoid, acromion and coracoid; clavicle; the upper ribs."""
    bones = {"scapula": _scapula(body), "clavicle": _clavicle(body)}
    for number in range(_RIBS):
        bones[f"rib{number}"] = _rib(body, number)
    return bones


def _scapula(body: Body) -> Bone:
    size = body.scale
    blade = profile(body.varied("scapula", _BLADE), caps=(3.0, 8.0), power=(2.0, 2.0))
    axes = frame_along((0.05, 1.0, 0.0), (np.sin(np.deg2rad(_FLAT_TURN)) * -0.6, 0.0, 1.0))
    parts: list[Solid] = [
        Loft(blade, np.array([4.0, -18.0, -18.0]) * size, axes, boxy=1.0, start=Bend(slope=(-0.1, 0.0), reach=20.0)),
        _glenoid(body),
        _acromion(body),
    ]
    for start, end, half, shell, density in _CONTOURS.values():
        parts.append(_strut(body, start, end, half, shell, density))
    return Bone("scapula", "girdle", tuple(parts), texture=0.14)


def _glenoid(body: Body) -> Ellipsoid:
    rim = frame_along((0.08, 1.0, 0.0), (-0.5, 0.0, 1.0))
    centre = np.array([27.5 + 2.5 * (body.cartilage - 1.0), 3.0, -4.0]) * body.scale
    return Ellipsoid(centre, np.array([6.0, 19.0, 13.0]) * body.scale, rim, 1.0, 0.26 * body.mineral)


def _acromion(body: Body) -> Loft:
    rows = [
        (0.0, -5.5, 4.5, -10.0, 9.0, 0.8, 0.16),
        (10.0, -5.4, 5.0, -12.0, 12.0, 0.8, 0.16),
        (22.0, -4.8, 4.4, -12.0, 12.0, 0.8, 0.18),
        (30.0, -4.0, 3.6, -8.0, 9.0, 0.8, 0.2),
    ]
    made = profile(body.varied("acromion", rows), caps=(2.5, 7.0), power=(2.4, 2.0))
    axes = frame_along((-1.0, 0.26, 0.2))
    return Loft(made, np.array([-8.5, -41.5, -6.0]) * body.scale, axes, boxy=0.3)


def _strut(
    body: Body,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    half: tuple[tuple[float, float], tuple[float, float]],
    shell: float,
    density: float,
) -> Loft:
    """A straight, tapering piece with rounded ends."""
    low, high = np.array(start) * body.scale, np.array(end) * body.scale
    length = float(np.linalg.norm(high - low))
    rows = []
    for at, (wide, deep) in zip((0.0, 1.0), np.array(half) * body.scale, strict=True):
        rows.append((at * length, -wide, wide, -deep, deep, shell, density * body.mineral))
    return Loft(
        profile(rows, caps=(min(rows[0][2], 8.0), min(rows[1][2], 5.0))), low, frame_along(high - low), boxy=0.2
    )


def _clavicle(body: Body) -> Bone:
    made = profile(body.varied("clavicle", _CLAVICLE), caps=(3.5, 4.0), power=(2.4, 2.4))
    axes = frame_along((1.0, -0.03 + 0.04 * float(body.numbers("tilt")[0]), 0.25))
    start = np.array([-6.5 + 3.0 * (body.cartilage - 1.0), -42.0, 0.0]) * body.scale
    return Bone("clavicle", "clavicle", (Loft(made, start, axes, boxy=0.1),), texture=0.2)


def _rib(body: Body, number: int) -> Bone:
    """The lateral arc of one rib, from behind the lung to the chest wall."""
    size = body.scale
    top = -34.0 + 29.0 * number
    reach = (20.0, 10.0, 3.0, 0.0, 0.0, 0.0)[number]
    rows = []
    for at in np.linspace(0.0, 1.0, 7):
        bow = 26.0 * at * at * (1.0 - 0.25 * at)
        rows.append((at * 118.0 * size, (bow - 6.5) * size, (bow + 6.0) * size, -4.0, 4.0, 0.8, 0.10 * body.mineral))
    made = profile(rows, caps=(3.0, 10.0))
    start = np.array([192.0, top - 4.0, -70.0]) * size
    axes = frame_along((-1.0, 0.16 + 0.02 * number, 0.0), (0.0, 0.0, 1.0), mirrored=False)
    shifted = start + np.array([reach, 0.0, 0.0]) * size
    return Bone(f"rib{number}", "chest", (Loft(made, shifted, axes, boxy=0.2),), texture=0.15)


def chest_flesh(body: Body) -> list[Tissue]:
    """Shoulder cap, trunk and neck."""
    size, thick = body.scale, body.scale * (0.5 + 0.5 * body.flesh)
    trunk_rows = [
        (0.0, -52, 60, -34, 34, 9, 0),
        (22, -84, 90, -52, 50, 9, 0),
        (60, -112, 110, -72, 70, 10, 0),
        (110, -112, 110, -84, 84, 12, 0),
        (180, -104, 110, -92, 92, 14, 0),
        (300, -104, 110, -96, 96, 14, 0),
    ]
    rows = [(row[0] * size, *(edge * thick for edge in row[1:5]), row[5] * body.flesh, 0.0) for row in trunk_rows]
    trunk = Loft(profile(rows, caps=(20.0, 0.0)), np.array([165.0, -66.0, -18.0]) * size, np.eye(3), boxy=0.3)
    cap = ball(np.array([4.0, 4.0, -2.0]) * size, np.array([56.0, 62.0, 58.0]) * thick, wall=8.0 * body.flesh)
    slope = ball(np.array([80.0, -24.0, -20.0]) * size, np.array([86.0, 46.0, 46.0]) * thick, wall=8.0 * body.flesh)
    armpit = ball(np.array([78.0, 84.0, -10.0]) * size, np.array([56.0, 130.0, 58.0]) * thick, wall=8.0 * body.flesh)
    return [Tissue("chest", part) for part in (trunk, cap, slope, armpit)]


def lung(body: Body) -> Ellipsoid:
    """The air of the upper lung (its path is that of the missing tissue)."""
    size = body.scale
    return ball(np.array([150.0, 116.0, -18.0]) * size, np.array([70.0, 146.0, 58.0]) * size, wall=60.0, density=0.0)
