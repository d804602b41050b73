"""The regions humerus and shoulder."""

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.humerus import build_humerus, head_of
from triage_agent.simulation.phantom.region import Look, Place, Region
from triage_agent.simulation.phantom.rigid import Rigid, X, Y, Z, shift, turn
from triage_agent.simulation.phantom.scene import Joint, Scene
from triage_agent.simulation.phantom.shoulder import build_girdle, chest_flesh, lung
from triage_agent.simulation.phantom.upper_limb_middle import elbow_joint, forearm_parts, upper_arm_flesh


def _arm_hanging(body: Body, abduction: float, rotation: float) -> Scene:
    """Trunk and arm with the humeral head at the origin; the arm is rotated about itself and abducted."""
    bones = build_girdle(body)
    lower, soft = forearm_parts(body)
    arm_bones = [build_humerus(body), *lower]
    arm_soft = [upper_arm_flesh(body), *soft]
    by = shift(-head_of(arm_bones[0]).centre).then(turn(np.zeros(3), Y, rotation)).then(turn(np.zeros(3), Z, abduction))
    for bone in arm_bones:
        bones[bone.name] = bone.moved(by)
    tissues = (*chest_flesh(body), *(tissue.moved(by) for tissue in arm_soft))
    joints = {
        "glenohumeral": _glenohumeral(body),
        "elbow": _moved(elbow_joint(body), by),
        "ac": _acromioclavicular(body),
    }
    return Scene(bones, tissues, np.zeros(3), (0.0, 0.0), joints, air=(lung(body),))


def _glenohumeral(body: Body) -> Joint:
    return Joint(
        centre=np.array([22.8, 2.0, -2.0]) * body.scale,
        axis=-X,
        side=Y,
        half_width=16.0 * body.scale,
        half_depth=11.0 * body.scale,
        gap=3.0 * body.cartilage * body.scale,
        moves=frozenset({"arm", "forearm"}),
        near="scapula",
        far="humerus",
    )


def _acromioclavicular(body: Body) -> Joint:
    return Joint(
        centre=np.array([-7.5, -42.0, 0.0]) * body.scale,
        axis=X,
        side=Y,
        half_width=7.5 * body.scale,
        half_depth=9.0 * body.scale,
        gap=2.0,
        moves=frozenset({"clavicle"}),
        near="scapula",
        far="clavicle",
    )


def _moved(joint: Joint, by: Rigid) -> Joint:
    return Joint(
        by.point(joint.centre),
        by.direction(joint.axis),
        by.direction(joint.side),
        joint.half_width,
        joint.half_depth,
        joint.gap,
        joint.moves,
        joint.near,
        joint.far,
    )


def _framed(scene: Scene, centre: np.ndarray, size: tuple[float, float]) -> Scene:
    return Scene(scene.bones, scene.soft, centre, size, scene.joints, scene.air, scene.metal)


def _build_shoulder(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    rotation = {"internal": 48.0, "external": -8.0, "grashey": 20.0}[look.name] + float(rng.normal(0.0, 6.0))
    scene = _arm_hanging(body, float(rng.uniform(4.0, 16.0)), rotation)
    size = body.scale
    return _framed(scene, np.array([40.0, 36.0, 0.0]) * size, (222.0 * size, 204.0 * size))


def _build_humerus(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    abduction = float(rng.uniform(8.0, 20.0)) if look.name == "frontal" else float(rng.uniform(10.0, 22.0))
    rotation = 0.0 if look.name == "frontal" else 82.0
    scene = _arm_hanging(body, abduction, rotation + float(rng.normal(0.0, 5.0)))
    size = body.scale
    upright = turn(np.zeros(3), Z, -0.75 * abduction)
    scene = scene.moving({bone.segment for bone in scene.bones.values()}, upright)
    scene = Scene(
        scene.bones,
        scene.soft,
        scene.centre,
        scene.size,
        {name: _moved(joint, upright) for name, joint in scene.joints.items()},
        tuple(bubble.moved(upright) for bubble in scene.air),
    )
    return _framed(scene, np.array([-4.0, 136.0, 0.0]) * size, (150.0 * size, 370.0 * size))


_HUMERAL_SHAFT = Place("humerus", 0.22, 0.82, 3.0)
_HUMERAL_NECK = Place("humerus", 0.12, 0.19, 3.0)

SHOULDER = Region(
    build=_build_shoulder,
    looks=(Look("internal", "AP", 0.0), Look("external", "AP", 0.0), Look("grashey", "{}LO", 34.0, routine=False)),
    fractures=(_HUMERAL_NECK, Place("clavicle", 0.35, 0.65, 2.0)),
    lesions=(Place("humerus", 0.1, 0.28, 3.0), Place("clavicle", 0.2, 0.6)),
    wires=(Place("humerus", 0.12, 0.16), Place("clavicle", 0.15, 0.3)),
    plates=(Place("humerus", 0.17, 0.22, 2.0), Place("clavicle", 0.42, 0.55)),
    prostheses=("humeral_head",),
    dislocations={"glenohumeral": 38.0},
    arthritis=(("glenohumeral",), ("ac",), ("glenohumeral", "ac")),
)
HUMERUS = Region(
    build=_build_humerus,
    looks=(Look("frontal", "AP", 0.0), Look("lateral", "{}L", 0.0)),
    fractures=(_HUMERAL_SHAFT, _HUMERAL_NECK),
    lesions=(_HUMERAL_SHAFT, _HUMERAL_NECK),
    wires=(Place("humerus", 0.84, 0.92),),
    plates=(Place("humerus", 0.4, 0.65),),
    prostheses=("humeral_nail", "humeral_head"),
    dislocations={"glenohumeral": 38.0, "elbow": 26.0},
    arthritis=(("glenohumeral",), ("elbow",)),
)
