"""Fractures, lesions and dislocations, put into a scene: the same one in every view of a study."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from triage_agent.simulation.phantom.arthritis import arthritic
from triage_agent.simulation.phantom.hardware import plated, prosthetic, wired
from triage_agent.simulation.phantom.region import Place, Region
from triage_agent.simulation.phantom.rigid import Rigid, Vector, rotation_about, shift, turn
from triage_agent.simulation.phantom.scene import Bone, Scene, Void
from triage_agent.simulation.phantom.solids import Crack, Cut, Ellipsoid, Loft, Plane, Solid, ball

Marked = tuple[Scene, list[Vector]]

DISPLACED_FRACTURE = "displaced_fracture"
HAIRLINE_FRACTURE = "hairline_fracture"
LYTIC_LESION = "lytic_lesion"
SCLEROTIC_LESION = "sclerotic_lesion"
HARDWARE = "hardware"
DISLOCATION = "dislocation"
JOINT_SPACE_NARROWING = "joint_space_narrowing"
NO_ABNORMALITY = "none"
KINDS = (
    DISPLACED_FRACTURE,
    HAIRLINE_FRACTURE,
    LYTIC_LESION,
    SCLEROTIC_LESION,
    HARDWARE,
    DISLOCATION,
    JOINT_SPACE_NARROWING,
)
_ODDS = (0.24, 0.14, 0.11, 0.09, 0.18, 0.10, 0.14)
_SHORT_BONE_MM = 60.0
_SMALLEST_LESION_MM, _LARGEST_LESION_MM = 2.0, 15.0
_SLENDER_MM = 10.0  # a bone of a smaller half-width needs a denser lesion to show
_SPLINTERS_BELOW = 0.5  # subtlety
_SLOW_SHARE = 0.4  # of lytic lesions: they have a sclerotic border
_MIDDLE = 0.5
_LARGEST_TILT = 14.0  # degrees a fragment turns before it also slides


@dataclass(frozen=True, eq=False)
class Plan:
    """What is wrong with a patient: a kind, how hard it is to see (0..1), where, and the numbers that shape it."""

    kind: str
    subtlety: float
    place: Place
    at: float  # fraction of the bone's length
    joints: tuple[str, ...]
    device: str
    chance: tuple[float, ...]  # uniform numbers in 0..1

    def between(self, obvious: float, subtle: float) -> float:
        """A size that shrinks from `obvious` to `subtle` as the finding gets harder."""
        return obvious + (subtle - obvious) * self.subtlety


def draw_plan(region: Region, scene: Scene, rng: np.random.Generator, kind: str | None = None) -> Plan:
    """A random abnormality that this region offers; `scene` says which of its bones the patient's views show."""
    chosen = kind or str(rng.choice(KINDS, p=_ODDS))
    device = _draw_device(region, rng)
    places = {"plate": region.plates, "wire": region.wires}.get(device, region.lesions)
    if chosen in {DISPLACED_FRACTURE, HAIRLINE_FRACTURE}:
        places = region.fractures
    elif chosen != HARDWARE:
        places = region.lesions
    present = [place for place in places if place.bone in scene.bones]
    weights = np.array([place.weight for place in present])
    place = present[int(rng.choice(len(present), p=weights / weights.sum()))]
    return Plan(
        kind=chosen,
        subtlety=float(rng.beta(1.2, 1.3)),
        place=place,
        at=float(rng.uniform(place.low, place.high)),
        joints=_draw_joints(region, scene, chosen, rng),
        device=device,
        chance=tuple(rng.random(24).tolist()),
    )


def _draw_device(region: Region, rng: np.random.Generator) -> str:
    devices = [*(["plate"] * 3 if region.plates else []), *["wire"] * 2, *region.prostheses * 2]
    return devices[int(rng.integers(len(devices)))]


def _draw_joints(region: Region, scene: Scene, kind: str, rng: np.random.Generator) -> tuple[str, ...]:
    if kind == DISLOCATION:
        names = [name for name in region.dislocations if name in scene.joints]
        return (names[int(rng.integers(len(names)))],)
    groups = [group for group in region.arthritis if all(name in scene.joints for name in group)]
    return groups[int(rng.integers(len(groups)))]


def afflict(scene: Scene, plan: Plan, region: Region) -> Marked:
    """The scene with the abnormality, and body points that span it."""
    if plan.kind == JOINT_SPACE_NARROWING:
        return arthritic(scene, plan.joints, plan.subtlety, plan.chance)
    if plan.kind == DISLOCATION:
        return _dislocated(scene, plan, region.dislocations[plan.joints[0]])
    if plan.kind == HARDWARE:
        return _implanted(scene, plan)
    change: dict[str, Callable[[Scene, Plan], Marked]] = {
        DISPLACED_FRACTURE: _displaced,
        HAIRLINE_FRACTURE: _hairline,
        LYTIC_LESION: _lytic,
        SCLEROTIC_LESION: _sclerotic,
    }
    return change[plan.kind](scene, plan)


def _implanted(scene: Scene, plan: Plan) -> Marked:
    if plan.device == "plate":
        return plated(scene, plan.place.bone, plan.at, plan.subtlety, plan.chance)
    if plan.device == "wire":
        return wired(scene, plan.place.bone, plan.at, plan.subtlety, plan.chance)
    return prosthetic(scene, plan.device)


def _displaced(scene: Scene, plan: Plan) -> Marked:
    """Two fragments, the shorter one slid and tilted, with a shard or two."""
    bone = scene.bones[plan.place.bone]
    width = bone.shaft.half_width(plan.at * bone.shaft.profile.length)
    slide = min(plan.between(1.3, 0.2) * width, plan.between(15.0, 5.0))
    gap = plan.between(0.35, 0.1) * width if bone.shaft.profile.length < _SHORT_BONE_MM else 0.0
    broken = _broken(bone, plan, slide=slide, gap=gap, jag=0.06 * width)
    shards = _shards(bone, plan, width) if plan.subtlety < _SPLINTERS_BELOW else ()
    broken = replace(broken, parts=broken.parts + shards)
    return scene.with_bone(broken), _around(bone, plan.at, 1.5 * width + slide)


def _hairline(scene: Scene, plan: Plan) -> Marked:
    """A fine line with the least of steps."""
    bone = scene.bones[plan.place.bone]
    width = bone.shaft.half_width(plan.at * bone.shaft.profile.length)
    broken = _broken(bone, plan, slide=plan.between(0.16, 0.04) * min(width, 10.0), gap=0.0, jag=0.05 * width)
    crack = Crack(
        _plane(bone, plan, 0.05 * width),
        width=plan.between(0.8, 0.35) * float(np.clip(width / 8.0, 0.6, 1.0)) + 0.1,
        strength=0.9,
    )
    parts = tuple(
        replace(part, cracks=(crack,)) if isinstance(part, Loft) and part.cuts else part for part in broken.parts
    )
    return scene.with_bone(replace(broken, parts=parts)), _around(bone, plan.at, 1.4 * width)


def _plane(bone: Bone, plan: Plan, jag: float) -> Plane:
    steep = 0.9 if bone.shaft.profile.length > _SHORT_BONE_MM else 0.35
    slopes = ((2 * plan.chance[0] - 1) * steep, (2 * plan.chance[1] - 1) * steep * 0.5)
    return Plane(plan.at * bone.shaft.profile.length, slopes, jag, 6.0 * plan.chance[2])


def _broken(bone: Bone, plan: Plan, *, slide: float, gap: float, jag: float) -> Bone:
    """The bone in two fragments; the shorter one turns about its far end so that joints stay together."""
    shaft = bone.shaft
    plane = _plane(bone, plan, jag)
    length = shaft.profile.length
    moves_end = plan.at > _MIDDLE
    pivot = shaft.point(length if moves_end else 0.0)
    angle = 2 * np.pi * plan.chance[3]
    across = np.cos(angle) * shaft.axes[0] + np.sin(angle) * shaft.axes[2]
    arm = max(length * (1 - plan.at if moves_end else plan.at), 4.0)
    tilt = min(np.rad2deg(slide / arm), _LARGEST_TILT)
    hinge = np.cross(across, shaft.axes[1]) * (1.0 if moves_end else -1.0)
    by = turn(pivot, hinge, tilt)
    rest = slide - np.deg2rad(tilt) * arm
    apart = gap * (1.0 if moves_end else -1.0)
    by = by.then(shift(across * rest * 0.8 + shaft.axes[1] * apart))
    parts: list[Solid] = []
    for part in bone.parts:
        parts += _split(part, shaft, plane, by, moves_end=moves_end)
    return replace(bone, parts=tuple(parts))


def _split(part: Solid, shaft: Loft, plane: Plane, by: Rigid, *, moves_end: bool) -> list[Solid]:
    """One part of a broken bone: the shaft is cut, the others go with the fragment they sit on."""
    if part is shaft:
        near = replace(shaft, cuts=(Cut(plane, keep_end=False),))
        far = replace(shaft, cuts=(Cut(plane, keep_end=True),))
        return [near, far.moved(by)] if moves_end else [near.moved(by), far]
    centre = part.centre if isinstance(part, Ellipsoid) else part.point(part.profile.length / 2)
    is_beyond = float((centre - shaft.origin) @ shaft.axes[1]) > plane.at
    return [part.moved(by) if is_beyond == moves_end else part]


def _shards(bone: Bone, plan: Plan, width: float) -> tuple[Solid, ...]:
    """Splinters beside the fracture."""
    shaft = bone.shaft
    shards = []
    for number in range(1 + int(2 * plan.chance[4])):
        angle = 2 * np.pi * plan.chance[5 + number]
        side, deep = 1.15 * np.cos(angle), 1.15 * np.sin(angle)
        at = plan.at * shaft.profile.length + (plan.chance[8 + number] - 0.5) * width
        radii = np.array([0.16, 0.45, 0.2]) * width
        axes = shaft.axes @ rotation_about(shaft.axes[2], 80 * (plan.chance[11 + number] - 0.5)).T
        shards.append(Ellipsoid(shaft.point(at, side, deep), radii, axes, wall=0.06 * width, density=0.5))
    return tuple(shards)


def _blob(bone: Bone, plan: Plan, size: float, wall: float = 0.0) -> Ellipsoid:
    """A lumpy region inside a bone."""
    shaft = bone.shaft
    at = plan.at * shaft.profile.length
    centre = shaft.point(at, 0.7 * (plan.chance[0] - 0.5), 0.5 * (plan.chance[1] - 0.5))
    radius = float(np.clip(size * shaft.half_width(at), _SMALLEST_LESION_MM, _LARGEST_LESION_MM))
    radii = radius * np.array([0.8 + 0.4 * plan.chance[2], 1.0 + 0.7 * plan.chance[3], 0.8 + 0.4 * plan.chance[4]])
    lumps = (0.14 * plan.chance[5], 0.10 * plan.chance[6], 0.08 * plan.chance[7])
    return Ellipsoid(centre, radii, shaft.axes, wall=wall, density=1.0, lumps=lumps)


def _lytic(scene: Scene, plan: Plan) -> Marked:
    bone = scene.bones[plan.place.bone]
    has_rim = plan.chance[8] < _SLOW_SHARE
    blob = _blob(bone, plan, plan.between(0.95, 0.5), wall=0.7)
    void = Void(blob, strength=plan.between(0.92, 0.65), rim=0.35 if has_rim else 0.0)
    return scene.with_bone(replace(bone, voids=(*bone.voids, void))), _span(blob)


def _sclerotic(scene: Scene, plan: Plan) -> Marked:
    bone = scene.bones[plan.place.bone]
    slender = np.clip(_SLENDER_MM / bone.shaft.half_width(plan.at * bone.shaft.profile.length), 1.0, 2.0)
    blob = replace(_blob(bone, plan, plan.between(0.8, 0.4)), density=plan.between(0.45, 0.22) * float(slender))
    lumps = []
    for number in range(4):
        away = (np.array(plan.chance[9 + 3 * number : 12 + 3 * number]) - 0.5) * 1.3 * blob.radii
        size = 0.4 + 0.35 * plan.chance[21 - number]
        lumps.append(replace(blob, centre=blob.centre + away @ blob.axes, radii=blob.radii * size))
    return scene.with_bone(replace(bone, deposits=(*bone.deposits, blob, *lumps))), _span(blob)


def _dislocated(scene: Scene, plan: Plan, largest: float) -> Marked:
    """Everything beyond a joint slid past it, overlapping and turned."""
    joint = scene.joints[plan.joints[0]]
    depth = np.cross(joint.side, joint.axis)
    angle = 2 * np.pi * plan.chance[0]
    if joint.near == "scapula":  # the head goes down and forward
        angle = np.pi * (plan.chance[0] - 0.5) * 0.6
    amount = plan.between(1.0, 0.4) * largest
    slide = amount * (np.cos(angle) * joint.side + np.sin(angle) * depth)
    overlap = -joint.axis * amount * (0.25 + 0.3 * plan.chance[1])
    swing = (plan.chance[2] - 0.5) * 2 * plan.between(28.0, 8.0)
    by = turn(joint.centre, depth, swing).then(shift(slide + overlap))
    reach = joint.half_width + 0.5 * amount
    corners = [joint.centre + slide / 2 + reach * step for step in (*np.eye(3), *-np.eye(3))]
    return scene.moving(joint.moves, by), corners


def _around(bone: Bone, at: float, reach: float) -> list[Vector]:
    centre = bone.shaft.point(at * bone.shaft.profile.length)
    return _span(ball(centre, reach))


def _span(blob: Ellipsoid) -> list[Vector]:
    return [
        blob.centre + sign * radius * axis
        for radius, axis in zip(blob.radii, blob.axes, strict=True)
        for sign in (-1.0, 1.0)
    ]
