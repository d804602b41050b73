"""Path lengths of each tissue along parallel rays: one thickness map (mm) a tissue."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom.scene import Bone, Scene, Void
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft, Plane, Solid, safe, table_index
from triage_agent.simulation.phantom.texture import weave

Map = NDArray[np.float32]
Box = tuple[slice, slice]

_MIN_FORESHORTENING = 0.3  # a loft seen nearly end-on is drawn as if tilted no further than this
_CORTEX_WEAVE = 0.12  # how much of the trabecular texture shows in compact bone
_SOFTEST_EDGE_MM = 0.25
_HOLLOW_DEPTH = 0.65  # a hollow through this much of a bone has also thinned both its walls
_BLEND_MM = 14.0  # paths through soft tissue that differ by less run into each other


@dataclass(frozen=True, eq=False)
class Camera:
    """Parallel rays: `matrix` turns body axes into image axes, `centre` (mm) is at the middle of `shape`, `pitch` mm a pixel."""

    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    pitch: float
    shape: tuple[int, int]

    def pixel(self, point: NDArray[np.float64]) -> tuple[float, float]:
        """Column and row where a body position projects."""
        x, y = (self.matrix @ point)[:2] - self.centre
        return x / self.pitch + (self.shape[1] - 1) / 2, y / self.pitch + (self.shape[0] - 1) / 2

    def box(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box | None:
        """Pixels that cover a rectangle of the image plane (mm), or None where it misses the image."""
        middle = np.array([self.shape[1] - 1, self.shape[0] - 1]) / 2
        first = np.floor((low - self.centre) / self.pitch + middle).astype(int)
        last = np.ceil((high - self.centre) / self.pitch + middle).astype(int) + 1
        columns = slice(max(int(first[0]), 0), min(int(last[0]), self.shape[1]))
        rows = slice(max(int(first[1]), 0), min(int(last[1]), self.shape[0]))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def grid(self, box: Box) -> tuple[Map, Map]:
        """Image-plane x (1, w) and y (h, 1) in mm over a box."""
        x = (np.arange(box[1].start, box[1].stop) - (self.shape[1] - 1) / 2) * self.pitch + self.centre[0]
        y = (np.arange(box[0].start, box[0].stop) - (self.shape[0] - 1) / 2) * self.pitch + self.centre[1]
        return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


@dataclass(frozen=True, eq=False)
class Thickness:
    """Path lengths (mm, H x W): `bone` all of it, `mineral` its cortical equivalent, `soft` all of the limb, `fat` of it."""

    bone: Map
    mineral: Map
    soft: Map
    fat: Map
    air: Map
    metal: Map


@dataclass(frozen=True, eq=False)
class _Patch:
    """One solid's shadow: outer and inner path (mm), density of the inside, and where on the weave it lies."""

    box: Box
    outer: Map
    inner: Map
    density: Map | float
    along: Map
    across: Map


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
    patch = _patch(solid, camera)
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
    patch = _patch(solid, camera)
    if patch is not None:
        total[patch.box] += patch.outer - patch.inner


def _add_bone(bone: Bone, camera: Camera, total: Map, mineral: Map, number: int) -> None:
    """Add one bone: its parts are one body (the longest path counts), its shell is compact, its inside woven."""
    patches = [patch for part in bone.parts if (patch := _patch(part, camera)) is not None]
    if not patches:
        return
    box = _hull([patch.box for patch in patches])
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
    outer, inner, spongy = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    for patch in patches:
        inside = _relative(patch.box, box)
        texture = weave(patch.along, patch.across, number)
        np.maximum(outer[inside], patch.outer, out=outer[inside])
        np.maximum(inner[inside], patch.inner, out=inner[inside])
        filling = patch.inner * patch.density * (1.0 + bone.texture * texture)
        np.maximum(spongy[inside], filling, out=spongy[inside])
    compact = np.maximum(outer - inner, 0.0) + np.maximum(spongy, 0.0)
    for deposit in bone.deposits:
        _deposit(deposit, camera, box, outer, compact)
    for void in bone.voids:
        _hollow(void, camera, box, outer, compact)
    total[box] += outer
    mineral[box] += compact


def _deposit(deposit: Ellipsoid, camera: Camera, box: Box, outer: Map, compact: Map) -> None:
    patch = _patch(deposit, camera)
    if patch is None or (common := _common(patch.box, box)) is None:
        return
    here, there = _relative(common, box), _relative(common, patch.box)
    added = np.minimum(patch.outer[there], outer[here]) * np.float32(deposit.density)
    compact[here] = np.minimum(compact[here] + added, np.maximum(outer[here], compact[here]))


def _hollow(void: Void, camera: Camera, box: Box, outer: Map, compact: Map) -> None:
    patch = _patch(void.shape, camera)
    if patch is None or (common := _common(patch.box, box)) is None:
        return
    here, there = _relative(common, box), _relative(common, patch.box)
    share = np.clip(patch.outer[there] / np.maximum(_HOLLOW_DEPTH * outer[here], 0.5), 0.0, 1.0)
    compact[here] *= 1.0 - np.float32(void.strength) * share
    if void.rim:
        border = np.minimum(patch.outer[there] - patch.inner[there], outer[here])
        compact[here] += np.float32(void.rim) * border


def _patch(solid: Solid, camera: Camera) -> _Patch | None:
    return _loft(solid, camera) if isinstance(solid, Loft) else _ellipsoid(solid, camera)


def _ellipsoid(solid: Ellipsoid, camera: Camera) -> _Patch | None:
    """Chords of an ellipsoid: closed form for any direction of view."""
    axes = solid.axes @ camera.matrix.T
    centre = (camera.matrix @ solid.centre)[:2]
    spread = axes.T @ np.diag(solid.radii**2) @ axes
    swell = 1.0 + sum(solid.lumps)
    reach = np.sqrt(np.diag(spread)[:2]) * swell
    box = camera.box(centre - reach, centre + reach)
    if box is None:
        return None
    x, y = camera.grid(box)
    x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
    outer = _ellipse_chord(spread, x, y, solid.lumps)
    if 0.0 < solid.shell < float(solid.radii.min()):
        shrunk = axes.T @ np.diag((solid.radii - solid.shell) ** 2) @ axes
        inner = _ellipse_chord(shrunk, x, y, solid.lumps)
    else:
        inner = np.zeros_like(outer) if solid.shell > 0.0 else outer * np.float32(solid.density > 0.0)
    across, along = np.broadcast_arrays(x, y)
    return _Patch(box, outer, inner, solid.density, along, across)


def _ellipse_chord(spread: NDArray[np.float64], x: Map, y: Map, lumps: tuple[float, float, float]) -> Map:
    flat = np.linalg.inv(spread[:2, :2])
    depth = 2.0 * np.sqrt(np.linalg.det(spread) / np.linalg.det(spread[:2, :2]))
    distance = np.float32(flat[0, 0]) * x * x + np.float32(flat[1, 1]) * y * y + np.float32(2 * flat[0, 1]) * x * y
    if any(lumps):
        angle = np.arctan2(y, x)
        wave = sum(size * np.cos((order + 2) * angle + 7.0 * order) for order, size in enumerate(lumps))
        distance = distance / np.square(1.0 + wave)
    return np.asarray(np.float32(depth) * np.sqrt(np.maximum(1.0 - distance, 0.0)), dtype=np.float32)


def _loft(solid: Loft, camera: Camera) -> _Patch | None:
    """Chords of a loft whose axis lies near the image plane: the cross-section at each ray's foot on the axis."""
    shadow = _Shadow(solid, camera)
    box = shadow.box()
    if box is None:
        return None
    x, y = camera.grid(box)
    x, y = x - np.float32(shadow.start[0]), y - np.float32(shadow.start[1])
    along = (x * np.float32(shadow.along[0]) + y * np.float32(shadow.along[1])) / np.float32(shadow.foreshortening)
    across = x * np.float32(shadow.across[0]) + y * np.float32(shadow.across[1])
    index = table_index(shadow.straightened(along, across), len(solid.profile.half_x))
    offset = across - shadow.centre[index]
    outer = _chord(offset, index, shadow.outer, solid.boxy)
    inner = _chord(offset, index, shadow.inner, solid.boxy)
    for cut in solid.cuts:
        kept = _side_of(cut.plane, along, offset, outer, shadow.tilt(cut.plane))
        kept = kept if cut.keep_end else 1.0 - kept
        outer, inner = outer * kept, inner * kept
    density: Map = solid.profile.density[index]
    for crack in solid.cracks:
        slope, deep = shadow.tilt(crack.plane)
        blur = np.sqrt(crack.width**2 + np.square(0.3 * deep * outer))
        gap = (along - crack.plane.height(offset, slope)) / blur
        loss = np.float32(crack.strength) * (crack.width / blur) * np.exp(-np.square(gap))
        inner = inner + (outer - inner) * loss
        density = density * (1.0 - loss)
    return _Patch(box, outer, inner, density, along, across)


def _side_of(plane: Plane, along: Map, offset: Map, outer: Map, tilt: tuple[float, float]) -> Map:
    """Share (0..1) of each ray's path that lies beyond a plane."""
    slope, deep = tilt
    blur = np.maximum(np.abs(np.float32(deep)) * outer, _SOFTEST_EDGE_MM)
    return np.clip((along - plane.height(offset, slope)) / blur + np.float32(0.5), 0.0, 1.0)


def _chord(offset: Map, index: NDArray[np.intp], widths: tuple[Map, Map], boxy: float) -> Map:
    half, path = widths
    ratio = np.square(offset / half[index])
    inside = np.maximum(1.0 - ratio, 0.0)
    if boxy:
        inside = inside * (1.0 + np.float32(boxy) * ratio)
    return np.asarray(path[index] * np.sqrt(inside), dtype=np.float32)


class _Shadow:
    """How a loft's axis and cross-sections fall on the image plane."""

    def __init__(self, solid: Loft, camera: Camera) -> None:
        self._solid, self._camera = solid, camera
        axes = solid.axes @ camera.matrix.T
        self.start = (camera.matrix @ solid.origin)[:2]
        flat = axes[1, :2]
        length = float(np.hypot(*flat))
        self.foreshortening = max(length, _MIN_FORESHORTENING)
        self.along = flat / length if length > 0 else np.array([0.0, 1.0])
        self.across = np.array([-self.along[1], self.along[0]])
        self._side = float(axes[0, :2] @ self.across)
        self._deep = float(axes[2, :2] @ self.across)
        at = solid.profile
        self.centre: Map = (at.centre_x * self._side + at.centre_z * self._deep).astype(np.float32)
        self.outer = self._widths(at.half_x, at.half_z)
        self.inner = self._widths(at.inner_x, at.inner_z)

    def _widths(self, half_x: Map, half_z: Map) -> tuple[Map, Map]:
        half = np.hypot(half_x * self._side, half_z * self._deep).astype(np.float32)
        path = (2.0 * half_x * half_z / (safe(half) * self.foreshortening)).astype(np.float32)
        return safe(half), path

    def box(self) -> Box | None:
        """Pixels that the shadow can reach."""
        solid = self._solid
        reach = self._end_reach(solid)
        along = np.linspace(-reach, solid.profile.length + reach, 24) * self.foreshortening
        widest = float(np.max(np.abs(self.centre) + self.outer[0]))
        middle = self.start + along[:, None] * self.along
        near, far = middle - widest * self.across, middle + widest * self.across
        corners = np.concatenate([near, far])
        return self._camera.box(corners.min(axis=0), corners.max(axis=0))

    def _end_reach(self, solid: Loft) -> float:
        width = float(np.max(self.outer[0]))
        return max(
            abs(float(np.hypot(*bend.slope))) * width + float(np.hypot(*bend.curve)) * width**2
            for bend in (solid.start, solid.end)
        )

    def tilt(self, plane: Plane) -> tuple[float, float]:
        """Slopes of a fracture plane across the image and along the ray."""
        across = plane.slopes[0] * self._side + plane.slopes[1] * self._deep
        deep = plane.slopes[1] * self._side - plane.slopes[0] * self._deep
        return across, deep

    def straightened(self, along: Map, across: Map) -> Map:
        """Positions along the axis as if both ends were cut flat."""
        solid, length = self._solid, self._solid.profile.length
        for bend, end in ((solid.start, 0.0), (solid.end, length)):
            if bend.is_flat:
                continue
            offset = across - self.centre[table_index(np.float32([end]), len(self.centre))[0]]
            slope = bend.slope[0] * self._side + bend.slope[1] * self._deep
            curve = bend.curve[0] * self._side**2 + bend.curve[1] * self._deep**2
            near = np.clip(1.0 - np.abs(along - np.float32(end)) / np.float32(bend.reach), 0.0, 1.0)
            along = along - (np.float32(slope) * offset + np.float32(curve) * offset * offset) * near
        return along


def _hull(boxes: list[Box]) -> Box:
    return (
        slice(min(box[0].start for box in boxes), max(box[0].stop for box in boxes)),
        slice(min(box[1].start for box in boxes), max(box[1].stop for box in boxes)),
    )


def _relative(inner: Box, outer: Box) -> Box:
    return (
        slice(inner[0].start - outer[0].start, inner[0].stop - outer[0].start),
        slice(inner[1].start - outer[1].start, inner[1].stop - outer[1].start),
    )


def _common(one: Box, other: Box) -> Box | None:
    rows = slice(max(one[0].start, other[0].start), min(one[0].stop, other[0].stop))
    columns = slice(max(one[1].start, other[1].start), min(one[1].stop, other[1].stop))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None
