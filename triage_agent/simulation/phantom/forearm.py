"""Radius and ulna in their own frame: x ulnar, y distal (down an AP forearm), z dorsal."""

from dataclasses import dataclass

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.scene import Bone
from triage_agent.simulation.phantom.solids import Bend, Loft, ball, profile

RADIUS_LENGTH, ULNA_LENGTH = 238.0, 265.0
ULNA_NOTCH = 17.0  # the middle of the trochlear notch, from the olecranon's tip

# (along from the elbow, radial, ulnar, palmar, dorsal edge, shell, density), mm
_RADIUS = (
    (0.0, -10.8, 10.8, -10.8, 10.8, 0.9, 0.30),
    (7.0, -11.4, 11.4, -11.2, 11.2, 0.7, 0.27),
    (12.0, -9.4, 9.6, -9.4, 9.4, 0.9, 0.20),
    (18.0, -6.8, 7.2, -7.0, 7.0, 1.3, 0.12),
    (27.0, -6.4, 9.8, -9.4, 6.4, 1.5, 0.10),
    (38.0, -7.2, 8.0, -7.6, 6.2, 2.2, 0.05),
    (60.0, -9.2, 5.4, -6.4, 6.2, 2.8, 0.03),
    (95.0, -12.2, 2.8, -6.6, 5.6, 3.0, 0.02),
    (135.0, -13.2, 2.4, -7.0, 5.4, 3.0, 0.02),
    (175.0, -12.6, 4.0, -7.2, 5.8, 2.6, 0.03),
    (203.0, -12.8, 7.6, -7.4, 7.4, 1.7, 0.08),
    (219.0, -14.8, 11.2, -8.8, 9.2, 1.0, 0.17),
    (230.0, -16.8, 13.4, -10.6, 10.6, 0.7, 0.26),
    (235.0, -17.2, 13.6, -11.2, 10.8, 0.7, 0.30),
    (238.0, -16.8, 13.2, -11.0, 10.2, 1.2, 0.34),
)
_ULNA = (
    (0.0, -10.0, 10.0, 8.0, 19.0, 1.2, 0.26),
    (4.0, -11.5, 11.5, -2.0, 23.0, 1.4, 0.26),
    (9.0, -12.0, 12.0, 6.0, 24.5, 1.5, 0.26),
    (17.0, -11.5, 11.5, 11.8, 25.0, 1.6, 0.26),
    (25.0, -11.5, 11.5, 8.0, 25.0, 1.5, 0.26),
    (31.0, -11.5, 11.0, -7.0, 25.0, 1.2, 0.26),
    (36.0, -10.5, 10.0, -4.0, 24.6, 1.3, 0.22),
    (46.0, -9.0, 8.4, 4.0, 24.0, 1.8, 0.12),
    (65.0, -7.4, 7.2, 7.0, 22.4, 2.6, 0.05),
    (100.0, -7.0, 6.4, 6.0, 19.6, 3.0, 0.02),
    (148.0, -6.4, 6.2, 2.6, 15.2, 2.9, 0.02),
    (202.0, -5.4, 5.4, -1.4, 9.6, 2.4, 0.03),
    (237.0, -5.2, 5.2, -3.6, 7.0, 1.6, 0.08),
    (252.0, -7.2, 7.0, -5.6, 7.4, 0.9, 0.20),
    (260.0, -8.4, 8.2, -6.6, 8.2, 0.7, 0.28),
    (265.0, -8.0, 8.0, -6.2, 7.8, 0.9, 0.32),
)


@dataclass(frozen=True, eq=False)
class Forearm:
    """Both bones; the radius' head is centred at the origin of its frame."""

    radius: Bone
    ulna: Bone


def build_forearm(body: Body) -> Forearm:
    """Radius and ulna side by side, the elbow's axis at y = 0, the radius' wrist surface near (-8, 235, 0)."""
    size = body.scale
    radius = profile(body.varied("radius", _RADIUS), caps=(2.4, 3.0), power=(3.0, 4.0))
    ulna = profile(body.varied("ulna", _ULNA, long_as="radius"), caps=(4.0, 4.0), power=(2.5, 2.6))
    radial_start = np.array([-13.0, 13.0, 0.0]) * size
    ulnar_start = np.array([7.5, -ULNA_NOTCH, 0.0]) * size
    radial_loft = Loft(
        radius,
        radial_start,
        _axes_to(radial_start, np.array([-9.0, 249.0, 0.0]) * size),
        boxy=0.15,
        start=Bend(curve=(-0.012, -0.012), reach=6.0),
        end=Bend(slope=(-0.33, 0.16), curve=(0.0135, 0.006), reach=26.0),
    )
    ulnar_loft = Loft(ulna, ulnar_start, _axes_to(ulnar_start, np.array([11.5, 248.0, 0.0]) * size), boxy=0.1)
    styloid = ball(ulnar_loft.point(ulna.length + 0.5, 0.72, 0.35), np.array([2.6, 5.0, 2.6]) * size, wall=0.7)
    return Forearm(
        Bone("radius", "forearm", (radial_loft,), texture=0.17),
        Bone("ulna", "forearm", (ulnar_loft, styloid), texture=0.17),
    )


def _axes_to(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = (end - start) / np.linalg.norm(end - start)
    side = np.array([along[1], -along[0], 0.0])
    return np.stack([side, along, np.array([0.0, 0.0, 1.0])])
