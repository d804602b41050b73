"""The regions elbow and forearm."""

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.forearm import build_forearm
from triage_agent.simulation.phantom.hand import HandPose, all_segments, build_hand
from triage_agent.simulation.phantom.humerus import build_humerus
from triage_agent.simulation.phantom.region import Look, Place, Region
from triage_agent.simulation.phantom.rigid import Rigid, X, Y, turn
from triage_agent.simulation.phantom.scene import Bone, Joint, Scene, Tissue
from triage_agent.simulation.phantom.solids import Loft, ball, profile

_SUPINE = np.diag([1.0, 1.0, -1.0])  # the palm faces the tube: what is dorsal lies away from it
_HAND_DOWN = np.diag([1.0, -1.0, -1.0])
_BEYOND_ELBOW = frozenset({"forearm"})
_CARPUS_AND_METACARPALS = "hand"
_HAND_FLESH = frozenset({"hand", "palm"})

_UPPER_ARM = (
    (0.0, -40, 44, -52, 48, 7, 0),
    (60, -47, 50, -52, 50, 7, 0),
    (140, -46, 48, -48, 50, 7, 0),
    (215, -42, 44, -42, 44, 6, 0),
    (260, -42, 44, -36, 40, 5, 0),
    (300, -42, 42, -33, 37, 5, 0),
    (345, -38, 38, -30, 32, 4, 0),
)
_LOWER_ARM = (
    (0.0, -36, 38, -30, 32, 4, 0),
    (30, -43, 43, -36, 34, 5, 0),
    (55, -45, 44, -40, 34, 5, 0),
    (90, -42, 40, -38, 32, 5, 0),
    (150, -35, 35, -30, 26, 4, 0),
    (205, -28, 30, -22, 20, 3, 0),
    (245, -27, 28, -18, 17, 2.5, 0),
    (300, -34, 34, -14, 15, 2.5, 0),
)


def upper_arm_flesh(body: Body) -> Tissue:
    """Muscle and fat around the humerus, in the humerus' frame."""
    return Tissue("arm", _sleeve(body, _UPPER_ARM, np.array([0.0, -308.0, 0.0]) * body.scale, (70.0, 30.0)))


def forearm_parts(body: Body) -> tuple[list[Bone], list[Tissue]]:
    """Radius, ulna and their flesh, supinated, below the elbow's axis."""
    forearm = build_forearm(body)
    over = Rigid(_SUPINE, np.zeros(3))
    bones = [bone.moved(over) for bone in (forearm.radius, forearm.ulna)]
    sleeve = _sleeve(body, _LOWER_ARM, np.array([-1.0, -36.0, -8.0]) * body.scale, (34.0, 30.0))
    return bones, [Tissue("forearm", sleeve)]


def _sleeve(body: Body, table: tuple[tuple[float, ...], ...], origin: np.ndarray, caps: tuple[float, float]) -> Loft:
    thick = body.scale * (0.45 + 0.55 * body.flesh)
    rows = [(row[0] * body.scale, *(edge * thick for edge in row[1:5]), row[5] * body.flesh, 0.0) for row in table]
    return Loft(profile(rows, caps=caps), origin, np.eye(3), boxy=0.2)


def elbow_joint(body: Body) -> Joint:
    """The hinge between humerus and forearm."""
    size = body.scale
    return Joint(
        centre=np.array([0.0, 11.0, 0.0]) * size,
        axis=Y,
        side=X,
        half_width=22.0 * size,
        half_depth=11.0 * size,
        gap=2.2 * body.cartilage * size,
        moves=_BEYOND_ELBOW,
        near="humerus",
        far="ulna",
    )


def _build_elbow(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    bones, soft = forearm_parts(body)
    humerus = build_humerus(body)
    bones.append(humerus)
    soft.append(upper_arm_flesh(body))
    bend = float(rng.normal(88.0, 6.0)) if look.name == "lateral" else float(rng.uniform(2.0, 12.0))
    size = body.scale
    centre, field = np.array([0.0, 6.0, 0.0]) * size, (132.0 * size, 190.0 * size)
    if look.name == "lateral":
        centre, field = np.array([0.0, -12.0, 30.0]) * size, (160.0 * size, 168.0 * size)
        soft.append(
            Tissue("arm", ball(np.array([0.0, 2.0, -2.0]) * size, np.array([38.0, 34.0, 33.0]) * size, wall=4.0))
        )
    scene = Scene({bone.name: bone for bone in bones}, tuple(soft), centre, field, {"elbow": elbow_joint(body)})
    return _flexed(scene, bend)


def _flexed(scene: Scene, degrees: float) -> Scene:
    """The scene with the forearm bent forward about the elbow."""
    by = turn(np.zeros(3), X, degrees)
    bent = scene.moving(_BEYOND_ELBOW, by)
    joint = scene.joints["elbow"]
    half = turn(np.zeros(3), X, degrees / 2)
    axis, centre = half.direction(joint.axis), half.point(joint.centre)
    hinge = Joint(
        centre, axis, joint.side, joint.half_width, joint.half_depth, joint.gap, joint.moves, joint.near, joint.far
    )
    return Scene(bent.bones, bent.soft, bent.centre, bent.size, {**bent.joints, "elbow": hinge})


def _build_forearm(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    bones, soft = forearm_parts(body)
    hand = build_hand(body, HandPose())
    radius_end = bones[0].shaft.point(bones[0].shaft.profile.length)
    down = Rigid(_HAND_DOWN, radius_end + np.array([2.0, 1.8 * body.cartilage, 0.0]) * body.scale)
    bones += [bone.moved(down) for bone in hand.bones.values() if bone.segment == _CARPUS_AND_METACARPALS]
    soft += [part.moved(down) for part in hand.soft if part.segment in _HAND_FLESH]
    bones.append(build_humerus(body))
    soft.append(upper_arm_flesh(body))
    size = body.scale
    joints = {
        "elbow": elbow_joint(body),
        "wrist": Joint(
            centre=radius_end,
            axis=Y,
            side=X,
            half_width=14.0 * size,
            half_depth=9.0 * size,
            gap=1.8 * size,
            moves=all_segments(hand),
            near="radius",
            far="scaphoid",
        ),
    }
    field = ((116.0 if look.name == "frontal" else 108.0) * size, 318.0 * size)
    scene = Scene({bone.name: bone for bone in bones}, tuple(soft), np.array([0.0, 116.0, -6.0]) * size, field, joints)
    if look.name == "lateral":  # the elbow is bent, so the upper arm leaves to the side
        bend = turn(np.zeros(3), X, -float(rng.normal(85.0, 6.0)))
        return scene.moving({"arm"}, bend)
    return scene


_FRONTAL = Look("frontal", "AP", 0.0)
_LATERAL = Look("lateral", "{}L", 90.0)
_SHAFTS = (Place("radius", 0.25, 0.85, 2.0), Place("ulna", 0.25, 0.85, 2.0))

ELBOW = Region(
    build=_build_elbow,
    looks=(_FRONTAL, Look("oblique", "{}LO", 40.0, routine=False), _LATERAL),
    fractures=(Place("radius", 0.055, 0.1, 3.0), Place("humerus", 0.86, 0.92, 3.0), Place("ulna", 0.055, 0.08, 2.0)),
    lesions=(Place("humerus", 0.78, 0.92, 2.0), Place("ulna", 0.1, 0.2), Place("radius", 0.12, 0.22)),
    wires=(Place("humerus", 0.9, 0.94), Place("ulna", 0.06, 0.1)),
    plates=(Place("humerus", 0.84, 0.86), Place("ulna", 0.18, 0.22)),
    prostheses=("radial_head", "elbow"),
    dislocations={"elbow": 26.0},
    arthritis=(("elbow",),),
)
FOREARM = Region(
    build=_build_forearm,
    looks=(_FRONTAL, _LATERAL),
    fractures=_SHAFTS,
    lesions=_SHAFTS,
    wires=_SHAFTS,
    plates=(Place("radius", 0.42, 0.65), Place("ulna", 0.4, 0.65)),
    dislocations={"elbow": 26.0, "wrist": 16.0},
    arthritis=(("elbow",), ("wrist",)),
)
