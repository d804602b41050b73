"""The region knee: x medial, y down with the joint line at 0, z anterior."""

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.region import Look, Place, Region
from triage_agent.simulation.phantom.rigid import X, Y, turn
from triage_agent.simulation.phantom.scene import Bone, Joint, Scene, Tissue
from triage_agent.simulation.phantom.solids import Bend, Ellipsoid, Loft, Solid, ball, profile

_LEG = frozenset({"leg"})
_FLEXION_AXIS_AT = (0.0, -22.0, -14.0)

# (along from the top, lateral, medial, posterior, anterior, shell, density), mm
_FEMUR = (
    (0.0, -14.5, 14.5, -14.0, 15.0, 5.0, 0.02),
    (60.0, -14.6, 14.8, -14.2, 15.0, 4.8, 0.02),
    (100.0, -15.8, 16.8, -15.0, 16.0, 3.8, 0.04),
    (125.0, -18.5, 20.5, -17.5, 18.0, 2.4, 0.09),
    (146.0, -25.0, 28.5, -20.0, 21.0, 1.3, 0.15),
    (158.0, -33.0, 36.5, -23.0, 24.0, 0.9, 0.18),
    (167.0, -38.0, 40.5, -29.0, 25.0, 0.8, 0.20),
    (178.0, -38.0, 39.0, -33.0, 24.0, 0.5, 0.21),
    (186.0, -35.0, 36.0, -33.0, 22.0, 0.0, 0.21),
)
_TIBIA = (
    (0.0, -36.0, 36.5, -24.0, 21.0, 1.3, 0.30),
    (4.0, -37.0, 38.0, -25.0, 22.5, 0.9, 0.27),
    (12.0, -36.8, 37.8, -24.5, 22.0, 0.8, 0.21),
    (21.0, -34.0, 35.0, -22.0, 22.0, 0.9, 0.18),
    (31.0, -28.0, 30.0, -19.0, 23.0, 1.2, 0.15),
    (41.0, -22.6, 25.0, -16.5, 23.5, 1.7, 0.12),
    (53.0, -18.2, 20.6, -14.5, 20.5, 2.4, 0.08),
    (68.0, -15.4, 17.4, -13.3, 17.6, 3.2, 0.04),
    (90.0, -13.5, 15.0, -12.5, 15.5, 4.0, 0.02),
    (190.0, -12.5, 12.5, -12.0, 13.5, 4.4, 0.02),
)
_FIBULA = (
    (0.0, -4.0, 5.0, -6.0, 5.0, 0.8, 0.24),
    (6.0, -8.5, 8.0, -9.0, 8.0, 0.7, 0.22),
    (14.0, -9.0, 8.0, -9.0, 8.5, 0.8, 0.18),
    (26.0, -6.6, 5.8, -6.5, 6.5, 1.3, 0.09),
    (40.0, -5.2, 5.0, -5.5, 5.5, 2.0, 0.04),
    (180.0, -6.5, 6.0, -6.5, 6.5, 2.6, 0.02),
)
_PATELLA = (
    (0.0, -14.0, 14.0, -7.0, 8.0, 0.9, 0.30),
    (10.0, -21.0, 21.0, -9.5, 9.5, 0.9, 0.28),
    (22.0, -20.0, 20.0, -9.5, 10.0, 0.9, 0.28),
    (34.0, -11.0, 11.0, -5.0, 9.0, 0.9, 0.28),
    (42.0, -4.0, 4.0, -2.0, 6.0, 0.9, 0.28),
)
_THIGH = (
    (0.0, -72, 74, -70, 66, 11, 0),
    (80, -66, 68, -64, 62, 10, 0),
    (150, -56, 58, -50, 54, 7, 0),
    (185, -52, 54, -46, 52, 5, 0),
    (225, -50, 51, -46, 44, 5, 0),
    (280, -54, 54, -58, 36, 6, 0),
    (400, -52, 52, -58, 34, 6, 0),
)


def _femur(body: Body) -> Bone:
    size = body.scale
    made = profile(body.varied("femur", _FEMUR), caps=(0.0, 14.0), power=(2.0, 2.0))
    gap = _gap(body) / 2
    origin = np.array([0.0, -gap - 11.0 * size - made.length, 0.0])
    shaft = Loft(made, origin, np.eye(3), boxy=0.6, end=Bend(curve=(0.009, 0.0), reach=22.0))
    parts: list[Solid] = [shaft]
    for side, x, radii in ((-1, -19.5, (19.5, 15.5, 27.0)), (1, 20.5, (19.5, 16.0, 28.5))):
        down = -gap - 15.5 * size
        parts.append(_condyle(body, (x * size, down, -4.0 * size), radii))
        parts.append(_condyle(body, ((x + side) * size, down + 1.0 - 2.0 * size, -20.0 * size), (15.0, 16.5, 18.5)))
    return Bone("femur", "thigh", tuple(parts), texture=0.11)


def _condyle(body: Body, at: tuple[float, float, float], radii: tuple[float, float, float]) -> Ellipsoid:
    return ball(at, np.array(radii) * body.scale, wall=1.1 * body.mineral, density=0.2 * body.mineral)


def _gap(body: Body) -> float:
    return 5.0 * body.cartilage * body.scale


def _tibia(body: Body) -> Bone:
    size = body.scale
    made = profile(body.varied("tibia", _TIBIA), caps=(7.0, 0.0), power=(2.8, 2.0))
    top = np.array([0.0, _gap(body) / 2, -2.0 * size])
    plateau = Bend(slope=(0.0, -0.17), curve=(-0.0018, 0.001), reach=14.0)
    parts: list[Solid] = [Loft(made, top, np.eye(3), boxy=0.45, start=plateau)]
    for x, height in ((-5.5, 6.0), (6.0, 7.5)):
        parts.append(
            ball(
                (x * size, top[1] + 1.5 * size, -4.0 * size),
                np.array([4.2, height, 8.0]) * size,
                wall=0.8,
                density=0.25 * body.mineral,
            )
        )
    return Bone("tibia", "leg", tuple(parts), texture=0.12)


def _fibula(body: Body) -> Bone:
    made = profile(body.varied("fibula", _FIBULA, long_as="tibia"), caps=(5.0, 0.0), power=(2.0, 2.0))
    origin = np.array([-35.0, 15.0, -19.0]) * body.scale
    return Bone("fibula", "leg", (Loft(made, origin, np.eye(3), boxy=0.1),), texture=0.2)


def _patella(body: Body) -> Bone:
    made = profile(body.varied("patella", _PATELLA), caps=(5.0, 5.0), power=(2.2, 2.0))
    origin = np.array([0.0, -48.0, 36.5]) * body.scale
    return Bone("patella", "patella", (Loft(made, origin, np.eye(3), boxy=0.3),), texture=0.12)


def _flesh(body: Body) -> Tissue:
    thick = body.scale * (0.5 + 0.5 * body.flesh)
    rows = [(row[0] * body.scale, *(edge * thick for edge in row[1:5]), row[5] * body.flesh, 0.0) for row in _THIGH]
    return Tissue("thigh", Loft(profile(rows, caps=(0.0, 0.0)), np.array([0.0, -205.0, 0.0]) * body.scale, np.eye(3)))


def _build(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    size = body.scale
    bones = {bone.name: bone for bone in (_femur(body), _tibia(body), _fibula(body), _patella(body))}
    half = {"half_width": 36.0 * size, "half_depth": 22.0 * size}
    joints = {
        "knee": Joint(np.zeros(3), Y, X, **half, gap=_gap(body), moves=_LEG, near="femur", far="tibia"),
        "patellofemoral": Joint(
            np.array([0.0, -34.0, 26.0]) * size,
            np.array([0.0, 0.0, 1.0]),
            X,
            half_width=16.0 * size,
            half_depth=14.0 * size,
            gap=4.0 * size,
            moves=frozenset({"patella"}),
            near="femur",
            far="patella",
        ),
    }
    for name, side in (("medial", 1.0), ("lateral", -1.0)):
        centre = np.array([side * 21.0 * size, 0.0, 0.0])
        joints[name] = Joint(centre, Y, X * side, 16.0 * size, 20.0 * size, _gap(body), _LEG, "femur", "tibia")
    width, centre_z = (150.0, 0.0) if look.name != "lateral" else (152.0, 2.0)
    scene = Scene(bones, (_flesh(body),), np.array([0.0, -6.0, centre_z]) * size, (width * size, 206.0 * size), joints)
    bend = float(rng.normal(17.0, 6.0)) if look.name == "lateral" else float(rng.uniform(0.0, 4.0))
    return _flexed(scene, body, bend)


def _flexed(scene: Scene, body: Body, degrees: float) -> Scene:
    """The scene with the leg bent back about the condyles."""
    by = turn(np.array(_FLEXION_AXIS_AT) * body.scale, X, -degrees)
    bent = scene.moving(_LEG, by)
    joints = {
        name: Joint(
            by.point(joint.centre),
            by.direction(joint.axis),
            joint.side,
            joint.half_width,
            joint.half_depth,
            joint.gap,
            joint.moves,
            joint.near,
            joint.far,
        )
        if joint.moves == _LEG
        else joint
        for name, joint in scene.joints.items()
    }
    return Scene(bent.bones, bent.soft, bent.centre, bent.size, joints)


_TIBIAL_PLATEAU = Place("tibia", 0.06, 0.22, 2.0)

KNEE = Region(
    build=_build,
    looks=(Look("frontal", "AP", 0.0), Look("oblique", "{}LO", 38.0, routine=False), Look("lateral", "{}L", 90.0)),
    fractures=(
        Place("femur", 0.68, 0.84, 2.0),
        _TIBIAL_PLATEAU,
        Place("tibia", 0.22, 0.4, 2.0),
        Place("fibula", 0.12, 0.3),
        Place("patella", 0.4, 0.6),
    ),
    lesions=(Place("femur", 0.7, 0.92, 3.0), Place("tibia", 0.08, 0.3, 3.0), Place("fibula", 0.06, 0.2)),
    wires=(Place("patella", 0.45, 0.55), Place("tibia", 0.1, 0.2)),
    plates=(Place("tibia", 0.26, 0.3), Place("femur", 0.64, 0.7)),
    prostheses=("knee",),
    dislocations={"knee": 24.0, "patellofemoral": 30.0},
    arthritis=(("medial",), ("medial", "patellofemoral"), ("lateral",), ("medial", "lateral", "patellofemoral")),
)
