"""The shadow of one solid: how far each ray runs through its outside and its inside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom.camera import Box, Camera, Map, single
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft, Plane, Solid, safe, table_index

_MIN_FORESHORTENING = 0.3  # a loft seen nearly end-on is drawn as if tilted no further than this
_SOFTEST_EDGE_MM = 0.25


@dataclass(frozen=True, eq=False)
class Patch:
    """One solid's shadow.

    Attributes:
        box: The pixels it covers; the maps below have its shape.
        outer: Path through the solid (mm).
        inner: Path through its inside (mm).
        density: Of the inside, as a fraction of cortical bone.
        along: Position along the solid (mm).
        across: Position across it (mm).
        depth: Of the middle of the path, towards the tube (mm).
    """

    box: Box
    outer: Map
    inner: Map
    density: Map | float
    along: Map
    across: Map
    depth: Map


def cast(solid: Solid, camera: Camera) -> Patch | None:
    """The shadow of a solid, or None where it misses the image."""
    return _loft(solid, camera) if isinstance(solid, Loft) else _ellipsoid(solid, camera)


def _ellipsoid(solid: Ellipsoid, camera: Camera) -> Patch | None:
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
    if 0.0 < solid.wall < float(solid.radii.min()):
        shrunk = axes.T @ np.diag((solid.radii - solid.wall) ** 2) @ axes
        inner = _ellipse_chord(shrunk, x, y, solid.lumps)
    else:
        inner = np.zeros_like(outer) if solid.wall > 0.0 else outer * np.float32(solid.density > 0.0)
    lean = np.linalg.solve(spread[:2, :2], spread[:2, 2])
    depth = single((camera.matrix @ solid.centre)[2] + np.float32(lean[0]) * x + np.float32(lean[1]) * y)
    across, along = np.broadcast_arrays(x, y)
    return Patch(box, outer, inner, solid.density, along, across, depth)


def _ellipse_chord(spread: NDArray[np.float64], x: Map, y: Map, lumps: tuple[float, float, float]) -> Map:
    flat = np.linalg.inv(spread[:2, :2])
    depth = 2.0 * np.sqrt(np.linalg.det(spread) / np.linalg.det(spread[:2, :2]))
    distance = np.float32(flat[0, 0]) * x * x + np.float32(flat[1, 1]) * y * y + np.float32(2 * flat[0, 1]) * x * y
    if any(lumps):
        angle = np.arctan2(y, x)
        wave = sum(size * np.cos((order + 2) * angle + 7.0 * order) for order, size in enumerate(lumps))
        distance = distance / np.square(1.0 + wave)
    return single(np.float32(depth) * np.sqrt(np.maximum(1.0 - distance, 0.0)))


def _loft(solid: Loft, camera: Camera) -> Patch | None:
    """Chords of a loft whose axis lies near the image plane: the cross-section at each ray's foot on the axis."""
    shadow = _Shadow(solid, camera)
    box = shadow.box()
    if box is None:
        return None
    x, y = camera.grid(box)
    x, y = x - np.float32(shadow.start[0]), y - np.float32(shadow.start[1])
    along = single((x * np.float32(shadow.along[0]) + y * np.float32(shadow.along[1])) / shadow.foreshortening)
    across = single(x * np.float32(shadow.across[0]) + y * np.float32(shadow.across[1]))
    index = table_index(shadow.straightened(along, across), len(solid.profile.half_x))
    offset = single(across - shadow.centre[index])
    outer = _chord(offset, index, shadow.outer, solid.boxy)
    inner = _chord(offset, index, shadow.inner, solid.boxy)
    for cut in solid.cuts:
        kept = _side_of(cut.plane, along, offset, outer, shadow.tilt(cut.plane))
        kept = kept if cut.keep_end else 1.0 - kept
        outer, inner = single(outer * kept), single(inner * kept)
    density: Map = solid.profile.density[index]
    for crack in solid.cracks:
        slope, deep = shadow.tilt(crack.plane)
        blur = np.sqrt(crack.width**2 + np.square(0.3 * deep * outer))
        gap = (along - crack.plane.height(offset, slope)) / blur
        loss = np.float32(crack.strength) * (crack.width / blur) * np.exp(-np.square(gap))
        inner = single(inner + (outer - inner) * loss)
        density = single(density * (1.0 - loss))
    return Patch(box, outer, inner, density, along, across, shadow.depth(along, index))


def _side_of(plane: Plane, along: Map, offset: Map, outer: Map, tilt: tuple[float, float]) -> Map:
    """Share (0..1) of each ray's path that lies beyond a plane."""
    slope, deep = tilt
    blur = np.maximum(np.abs(np.float32(deep)) * outer, _SOFTEST_EDGE_MM)
    return single(np.clip((along - plane.height(offset, slope)) / blur + np.float32(0.5), 0.0, 1.0))


def _chord(offset: Map, index: NDArray[np.intp], widths: tuple[Map, Map], boxy: float) -> Map:
    half, path = widths
    ratio = np.square(offset / half[index])
    inside = np.maximum(1.0 - ratio, 0.0)
    if boxy:
        inside = inside * (1.0 + np.float32(boxy) * ratio)
    return single(path[index] * np.sqrt(inside))


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
        self._start_depth, self._rise = float((camera.matrix @ solid.origin)[2]), float(axes[1, 2])
        self._centre_depth = single(at.centre_x * axes[0, 2] + at.centre_z * axes[2, 2])
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

    def depth(self, along: Map, index: NDArray[np.intp]) -> Map:
        """How deep (mm, towards the tube) the middle of each ray's path lies."""
        return single(np.float32(self._start_depth) + np.float32(self._rise) * along + self._centre_depth[index])

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
            offset = across - self.centre[table_index(np.array([end], dtype=np.float32), len(self.centre))[0]]
            slope = bend.slope[0] * self._side + bend.slope[1] * self._deep
            curve = bend.curve[0] * self._side**2 + bend.curve[1] * self._deep**2
            near = np.clip(1.0 - np.abs(along - np.float32(end)) / np.float32(bend.reach), 0.0, 1.0)
            along = single(along - (np.float32(slope) * offset + np.float32(curve) * offset * offset) * near)
        return along
