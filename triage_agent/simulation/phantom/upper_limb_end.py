"""The regions hand, finger and wrist."""

from dataclasses import replace

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.forearm import build_forearm
from triage_agent.simulation.phantom.hand import FINGERS, HandParts, HandPose, all_segments, build_hand
from triage_agent.simulation.phantom.region import Look, Place, Region
from triage_agent.simulation.phantom.rigid import Rigid, Vector, frame_along, rotation_about
from triage_agent.simulation.phantom.scene import Joint, Scene, Tissue
from triage_agent.simulation.phantom.solids import Loft, profile

_LONG_FINGERS = (2, 3, 4, 5)
_CHAIN = ("mc", "pp", "mp", "dp")
_RADIOCARPAL_GAP_MM = 1.8
_WRIST_AT = (-9.0, 249.0, 0.0)  # the radius' joint surface in the forearm's frame


def _with_forearm(parts: HandParts, body: Body) -> None:
    """Hang radius and ulna below the hand, and join them."""
    size = body.scale
    flip = np.diag([1.0, -1.0, 1.0])
    gap = _RADIOCARPAL_GAP_MM * body.cartilage * size
    forearm = build_forearm(body)
    radial = forearm.radius.shaft
    end = radial.point(radial.profile.length)
    by = Rigid(flip, np.array([-2.0 * size, gap, 0.0]) - flip @ np.array([end[0], end[1], 0.0]))
    for bone in (forearm.radius, forearm.ulna):
        parts.bones[bone.name] = bone.moved(by)
    parts.soft.append(Tissue("forearm", _sleeve(body)))
    parts.joints["radiocarpal"] = Joint(
        centre=np.array([-2.0, -1.0, 0.0]) * size,
        axis=np.array([0.0, -1.0, 0.0]),
        side=np.array([1.0, 0.0, 0.0]),
        half_width=14.0 * size,
        half_depth=9.0 * size,
        gap=gap,
        moves=all_segments(parts) - {"forearm"},
        near="radius",
        far="scaphoid",
    )
    base = parts.bones["mc1"].shaft
    parts.joints["cmc1"] = Joint(
        centre=base.point(-1.0),
        axis=base.axes[1],
        side=base.axes[0],
        half_width=7.5 * size,
        half_depth=6.0 * size,
        gap=1.6 * body.cartilage * size,
        moves=frozenset({"f1pp", "f1dp"}),
        near="trapezium",
        far="mc1",
    )


def _sleeve(body: Body) -> Loft:
    """Muscle and fat of the forearm, from the middle down to the wrist."""
    size = body.scale
    thick = size * (0.55 + 0.45 * body.flesh)
    rows = [
        (0.0, -40, 44, -30, 34, 4, 0),
        (120, -40, 40, -28, 30, 4, 0),
        (190, -32, 34, -22, 20, 3, 0),
        (225, -28, 30, -20, 14, 2.5, 0),
        (284, -27, 28, -19, 12, 2.5, 0),
    ]
    scaled = [(a * size, xl * thick, xh * thick, zl * thick, zh * thick, s, d) for a, xl, xh, zl, zh, s, d in rows]
    return Loft(
        profile(scaled, caps=(0, 36)),
        np.array([3.0, 238.0, 0.0]) * size,
        np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]]),
        boxy=0.3,
    )


def _pose(look: Look, rng: np.random.Generator) -> HandPose:
    """Fingers flat for the frontal view, slightly bent for the oblique one, fanned for the lateral one."""
    loose = {finger: rng.uniform(0.0, 7.0, 3) for finger in FINGERS}
    bend = {"frontal": 1.0, "oblique": 2.0, "lateral": 1.4}[look.name]
    fan = {2: 34.0, 3: 22.0, 4: 11.0, 5: 0.0, 1: 4.0} if look.name == "lateral" else dict.fromkeys(FINGERS, 0.0)
    flexion = {
        finger: (
            bend * loose[finger][0] + fan[finger],
            bend * loose[finger][1] + 0.3 * fan[finger],
            bend * loose[finger][2] * 0.7,
        )
        for finger in FINGERS
    }
    splay = {finger: float(rng.normal(0.0, 1.6)) for finger in FINGERS}
    return HandPose(flexion, splay)


def _scene(parts: HandParts, centre: np.ndarray, size: tuple[float, float]) -> Scene:
    return Scene(parts.bones, tuple(parts.soft), centre, size, parts.joints)


def _build_hand(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    parts = build_hand(body, _pose(look, rng))
    _with_forearm(parts, body)
    widths = {"frontal": 178.0, "oblique": 158.0, "lateral": 140.0}
    across = {"frontal": -10.0, "oblique": -6.0, "lateral": 0.0}[look.name]
    centre = np.array([across, -75.0, 0.0]) * body.scale
    if look.name == "lateral":
        centre = np.array([0.0, -72.0, -14.0]) * body.scale
    return _scene(parts, centre, (widths[look.name] * body.scale, 236.0 * body.scale))


def _build_wrist(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    parts = build_hand(body, _pose(Look("frontal", "", 0.0), rng))
    _with_forearm(parts, body)
    deviation = float(rng.normal(0.0, 4.0))
    width = {"frontal": 108.0, "oblique": 100.0, "lateral": 92.0}[look.name]
    scene = _scene(parts, np.array([2.0, -14.0, 0.0]) * body.scale, (width * body.scale, 146.0 * body.scale))
    joint = scene.joints["radiocarpal"]
    spin = rotation_about(np.array([0.0, 0.0, 1.0]), deviation)
    pivot = np.array([0.0, -18.0, 0.0]) * body.scale
    return scene.moving(joint.moves, Rigid(spin, pivot - spin @ pivot))


def _build_finger(body: Body, look: Look, rng: np.random.Generator) -> Scene:
    finger = FINGERS[int(abs(body.numbers("which")[0]) * 1e4) % len(FINGERS)]
    parts = build_hand(body, _pose(Look("frontal", "", 0.0), rng))
    _with_forearm(parts, body)
    if look.name != "frontal":  # the others are folded away
        _drop_other_fingers(parts, finger)
    chain = [parts.bones[name].shaft for kind in _CHAIN if (name := f"{kind}{finger}") in parts.bones]
    base, tip = chain[0].point(chain[0].profile.length * 0.62), chain[-1].point(chain[-1].profile.length)
    by = _upright(tip - base, chain[1].axes[2])
    width = (56.0 if look.name == "frontal" else 44.0) * body.scale
    size = (width, float(np.linalg.norm(tip - base)) + 20.0 * body.scale)
    scene = _scene(parts, by.point((base + tip) / 2), size)
    scene = scene.moving({"palm", *(bone.segment for bone in parts.bones.values())}, by)
    bones = {_plain(name, finger): replace(bone, name=_plain(name, finger)) for name, bone in scene.bones.items()}
    joints = {_plain(name, finger): _renamed(joint, by, finger) for name, joint in parts.joints.items()}
    return replace(scene, bones=bones, joints=joints)


def _drop_other_fingers(parts: HandParts, finger: int) -> None:
    gone = {f"f{other}{kind}" for other in FINGERS if other != finger for kind in _CHAIN}
    parts.bones = {name: bone for name, bone in parts.bones.items() if bone.segment not in gone}
    parts.soft = [tissue for tissue in parts.soft if tissue.segment not in gone]


def _plain(name: str, finger: int) -> str:
    """The name of a bone or joint of the finger in question, without the finger's number."""
    return name[:-1] if name.endswith(str(finger)) else name


def _renamed(joint: Joint, by: Rigid, finger: int) -> Joint:
    return replace(
        joint,
        centre=by.point(joint.centre),
        axis=by.direction(joint.axis),
        side=by.direction(joint.side),
        near=_plain(joint.near, finger),
        far=_plain(joint.far, finger),
    )


def _upright(direction: Vector, back: Vector) -> Rigid:
    """The rotation that makes a finger point up, its back towards the tube."""
    axes = frame_along(direction, back, mirrored=True)
    upright = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    return Rigid(upright.T @ axes, np.zeros(3))


_LOOKS = (
    Look("frontal", "PA", 0.0),
    Look("oblique", "{}LO", 42.0, routine=False),
    Look("lateral", "{}L", 88.0),
)
_RAYS_PLACES = (*(Place(f"mc{finger}", 0.25, 0.88, 0.7) for finger in FINGERS[:-1]), Place("mc5", 0.25, 0.88, 1.5))
_PHALANX_PLACES = tuple(Place(f"{kind}{finger}", 0.15, 0.85) for kind in ("pp", "mp") for finger in _LONG_FINGERS)
_LOW_RADIUS = Place("radius", 0.86, 0.955, 6.0)
_ARTHRITIC_HAND = (
    ("cmc1",),
    ("dip2", "dip3", "dip4", "dip5"),
    ("pip2", "pip3", "pip5"),
    ("dip2", "dip3", "pip3"),
    ("mcp2", "mcp3"),
)

HAND = Region(
    build=_build_hand,
    looks=_LOOKS,
    fractures=(*_RAYS_PLACES, *_PHALANX_PLACES),
    lesions=(*_RAYS_PLACES, *_PHALANX_PLACES),
    wires=(*_RAYS_PLACES, *_PHALANX_PLACES),
    plates=_RAYS_PLACES[1:],
    dislocations={**{f"mcp{finger}": 9.0 for finger in FINGERS}, **{f"pip{finger}": 7.0 for finger in _LONG_FINGERS}},
    arthritis=_ARTHRITIC_HAND,
)
FINGER = Region(
    build=_build_finger,
    looks=_LOOKS,
    fractures=(Place("pp", 0.12, 0.88), Place("mp", 0.12, 0.88), Place("dp", 0.15, 0.85)),
    lesions=(Place("pp", 0.15, 0.85, 2.0), Place("mp", 0.2, 0.8), Place("dp", 0.3, 0.8, 0.5)),
    wires=(Place("pp", 0.2, 0.8), Place("mp", 0.2, 0.8), Place("dp", 0.2, 0.8)),
    plates=(Place("pp", 0.4, 0.6),),
    dislocations={"mcp": 8.0, "pip": 7.0, "dip": 5.5},
    arthritis=(("dip",), ("pip",), ("dip", "pip"), ("mcp",)),
)
WRIST = Region(
    build=_build_wrist,
    looks=_LOOKS,
    fractures=(_LOW_RADIUS, Place("ulna", 0.88, 0.96, 1.0), Place("scaphoid", 0.35, 0.65, 1.5)),
    lesions=(Place("radius", 0.84, 0.95, 3.0), Place("ulna", 0.84, 0.95), Place("mc3", 0.1, 0.4)),
    wires=(_LOW_RADIUS, Place("scaphoid", 0.4, 0.6)),
    plates=(Place("radius", 0.86, 0.9, 3.0),),
    dislocations={"radiocarpal": 14.0},
    arthritis=(("radiocarpal",), ("cmc1",), ("radiocarpal", "cmc1")),
)
