"""The humerus in its own frame: x medial, y distal with the elbow's axis at 0, z anterior."""

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.scene import Bone, Void
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft, Solid, ball, profile

# (along from the top, lateral, medial, posterior, anterior edge, shell, density), mm
_HUMERUS = (
    (0.0, -17.0, -4.0, -11.0, 12.0, 0.8, 0.22),
    (8.0, -21.0, 6.0, -16.0, 16.0, 0.7, 0.22),
    (22.0, -24.0, 16.0, -19.0, 19.0, 0.8, 0.20),
    (38.0, -21.0, 17.0, -18.0, 18.0, 1.0, 0.16),
    (54.0, -15.5, 13.5, -14.0, 14.0, 2.2, 0.09),
    (78.0, -12.5, 11.5, -11.8, 12.0, 3.6, 0.04),
    (120.0, -11.6, 10.8, -11.0, 11.4, 4.4, 0.02),
    (180.0, -10.8, 10.6, -10.4, 10.4, 4.6, 0.02),
    (230.0, -11.6, 11.4, -9.6, 9.4, 4.2, 0.03),
    (258.0, -16.5, 15.5, -8.6, 9.0, 2.8, 0.07),
    (276.0, -23.5, 22.5, -6.4, 10.5, 1.6, 0.14),
    (290.0, -28.0, 30.5, -4.4, 11.5, 1.0, 0.20),
    (297.0, -26.0, 29.0, -4.0, 11.5, 0.6, 0.22),
    (304.0, -22.0, 22.0, -3.0, 11.0, 0.0, 0.24),
)


def build_humerus(body: Body) -> Bone:
    """Head, tubercles, shaft, epicondyles, capitellum and trochlea."""
    size = body.scale
    made = profile(body.varied("humerus", _HUMERUS), caps=(14.0, 7.0), power=(2.0, 2.4))
    shaft = Loft(made, np.array([0.0, 2.0 * size - made.length, 0.0]), np.eye(3), boxy=0.1)
    head_at = np.array([11.0 * size, 2.0 * size - made.length + 22.0 * size, -3.0 * size])
    parts: list[Solid] = [
        shaft,
        ball(head_at, np.array([23.0, 23.5, 22.5]) * size, wall=0.9 * body.mineral, density=0.21 * body.mineral),
        _knuckle(body, (-13.5, 0.0, 6.0), (11.5, 10.8, 10.8)),
        _knuckle(body, (2.0, 0.5, 4.0), (10.0, 10.2, 10.2)),
        _knuckle(body, (10.0, 0.5, 4.0), (11.0, 10.4, 10.0)),
        _knuckle(body, (16.0, 1.0, 4.0), (9.0, 12.8, 12.4)),
    ]
    fossa = Void(ball(np.array([4.0, -17.0, 0.0]) * size, np.array([12.0, 8.5, 10.0]) * size), strength=0.62)
    return Bone("humerus", "arm", tuple(parts), texture=0.16, voids=(fossa,))


def head_of(humerus: Bone) -> Ellipsoid:
    """The humeral head."""
    return next(part for part in humerus.parts if isinstance(part, Ellipsoid))


def _knuckle(body: Body, at: tuple[float, float, float], radii: tuple[float, float, float]) -> Solid:
    return ball(
        np.array(at) * body.scale, np.array(radii) * body.scale, wall=0.9 * body.mineral, density=0.24 * body.mineral
    )
