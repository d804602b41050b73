"""Path lengths of each tissue along parallel rays: one thickness map (mm) a tissue."""

from dataclasses import dataclass

import numpy as np

from triage_agent.simulation.phantom.camera import Box, Camera, Map, common, hull, relative
from triage_agent.simulation.phantom.scene import Bone, Scene, Void
from triage_agent.simulation.phantom.shadows import Patch, cast
from triage_agent.simulation.phantom.solids import Ellipsoid, Solid
from triage_agent.simulation.phantom.texture import weave

_THINNEST_MM = 0.01
_SEAM_OPEN = 0.75  # how much of the walls between two solids of one bone is spongy, not compact
_HOLLOW_DEPTH = 0.65  # a hollow through this much of a bone has also thinned both its walls
_BLEND_MM = 14.0  # paths through soft tissue that differ by less run into each other


@dataclass(frozen=True, eq=False)
class Thickness:
    """Path lengths (mm, H x W).

    `bone` is all of the bone and `mineral` its cortical equivalent; `soft` is all of the limb and `fat` a part of it.
    """

    bone: Map
    mineral: Map
    soft: Map
    fat: Map
    air: Map
    metal: Map


def project(scene: Scene, camera: Camera) -> Thickness:
    """Path lengths through everything in the scene."""
    maps = [np.zeros(camera.shape, dtype=np.float32) for _ in range(6)]
    bone_map, mineral, soft, muscle, air, metal = maps
    for tissue in scene.soft:
        _merge(tissue.solid, camera, soft, muscle)
    for number, bone in enumerate(scene.bones.values()):
        _add_bone(bone, camera, bone_map, mineral, number)
    for bubble in scene.air:
        _merge(bubble, camera, air, None)
    for tissue in scene.metal:
        _add(tissue.solid, camera, metal)
    return Thickness(bone_map, mineral, soft, np.maximum(soft - muscle, 0.0), air, metal)


def _merge(solid: Solid, camera: Camera, outer: Map, inner: Map | None) -> None:
    patch = cast(solid, camera)
    if patch is None:
        return
    outer[patch.box] = _blended(outer[patch.box], patch.outer)
    if inner is not None:
        inner[patch.box] = _blended(inner[patch.box], patch.inner)


def _blended(one: Map, other: Map) -> Map:
    """The larger of two paths, without a crease where they are equal and without growing at their outlines."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    reach = np.minimum(low, np.float32(_BLEND_MM))
    overlap = np.maximum(reach - (high - low), 0.0)
    return np.asarray(high + overlap * overlap / (4.0 * np.maximum(reach, np.float32(0.1))), dtype=np.float32)


def _add(solid: Solid, camera: Camera, total: Map) -> None:
    patch = cast(solid, camera)
    if patch is not None:
        total[patch.box] += patch.outer - patch.inner


def _add_bone(bone: Bone, camera: Camera, total: Map, mineral: Map, number: int) -> None:
    """Add one bone: its parts are one body (the longest path counts), its shell is compact, its inside woven."""
    patches = [patch for part in bone.parts if (patch := cast(part, camera)) is not None]
    if not patches:
        return
    box = hull([patch.box for patch in patches])
    whole = _Union(box)
    for patch in patches:
        whole.add(patch, bone.texture, number)
    outer, compact = whole.outer, np.maximum(whole.outer - whole.inner, 0.0) + np.maximum(whole.spongy, 0.0)
    for deposit in bone.deposits:
        _deposit(deposit, camera, box, outer, compact)
    for void in bone.voids:
        _hollow(void, camera, box, outer, compact)
    total[box] += outer
    mineral[box] += compact


class _Union:
    """Paths through several solids that are one body: what lies in both counts once."""

    def __init__(self, box: Box) -> None:
        self._box = box
        shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
        self.outer, self.inner, self.spongy, self._low, self._high = (
            np.zeros(shape, dtype=np.float32) for _ in range(5)
        )

    def add(self, patch: Patch, texture: float, number: int) -> None:
        """Add a solid whose inside is woven with `texture`."""
        inside = relative(patch.box, self._box)
        filling = patch.density * (1.0 + np.float32(texture) * weave(patch.along, patch.across, number))
        low, high = self._low[inside], self._high[inside]
        half = patch.outer * np.float32(0.5)
        near, far = patch.depth - half, patch.depth + half
        extent = np.maximum(high - low, np.float32(_THINNEST_MM))
        common_path = np.maximum(np.minimum(high, far) - np.maximum(low, near), 0.0)
        share = common_path / extent  # how much of what is there already lies in the new solid, too
        fresh, hit = high <= low, patch.outer > 0
        grown = np.maximum(patch.outer - share * self.outer[inside], 0.0)
        gained = np.maximum(patch.inner - share * self.inner[inside], 0.0)
        seam = np.where(fresh, 0.0, np.float32(_SEAM_OPEN) * np.maximum(grown - gained, 0.0))
        self.outer[inside] += grown
        self.inner[inside] += gained + seam
        self.spongy[inside] += gained * filling
        self._low[inside] = np.where(hit, np.where(fresh, near, np.minimum(low, near)), low)
        self._high[inside] = np.where(hit, np.where(fresh, far, np.maximum(high, far)), high)


def _deposit(deposit: Ellipsoid, camera: Camera, box: Box, outer: Map, compact: Map) -> None:
    patch = cast(deposit, camera)
    if patch is None or (shared := common(patch.box, box)) is None:
        return
    here, there = relative(shared, box), relative(shared, patch.box)
    added = np.minimum(patch.outer[there], outer[here]) * np.float32(deposit.density)
    compact[here] = np.minimum(compact[here] + added, np.maximum(outer[here], compact[here]))


def _hollow(void: Void, camera: Camera, box: Box, outer: Map, compact: Map) -> None:
    patch = cast(void.shape, camera)
    if patch is None or (shared := common(patch.box, box)) is None:
        return
    here, there = relative(shared, box), relative(shared, patch.box)
    share = np.clip(patch.outer[there] / np.maximum(_HOLLOW_DEPTH * outer[here], 0.5), 0.0, 1.0)
    compact[here] *= 1.0 - np.float32(void.strength) * share
    if void.rim:
        border = np.minimum(patch.outer[there] - patch.inner[there], outer[here])
        compact[here] += np.float32(void.rim) * border
