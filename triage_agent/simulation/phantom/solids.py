"""The solids that bones, soft tissue and metal are made of, in millimetres.

Axes of the body frame: x to the right of the image, y down the image, z towards the X-ray tube; always a right limb.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from triage_agent.simulation.phantom.rigid import Rigid, Vector

Table = NDArray[np.float32]

STEP_MM = 0.2  # how finely a loft's profile is tabulated along its axis
_PAD = 2  # zero entries at both ends, so that clipped look-ups outside the solid find nothing
_MIN_HALF_WIDTH = 0.05
_PROFILES_KEPT = 256
# (size, radians a mm, multiple of the phase) of the waves that make a fracture line ragged
_TEETH = ((1.3, 0.29, 1.0), (0.9, 0.77, 2.3), (0.55, 1.83, 3.7), (0.35, 4.1, 5.9))


@dataclass(frozen=True)
class Plane:
    """A jagged fracture plane across a loft, at `at` mm of its axis; `slopes` are mm a mm, sideways and in depth."""

    at: float
    slopes: tuple[float, float]
    jag: float
    phase: float

    def height(self, offset: NDArray[np.float32], slope: float) -> NDArray[np.float32]:
        """Axial position (mm) of the plane at a perpendicular `offset` (mm)."""
        teeth = sum(size * np.sin(pitch * offset + turn * self.phase) for size, pitch, turn in _TEETH)
        return np.asarray(self.at + slope * offset + self.jag * teeth, dtype=np.float32)


@dataclass(frozen=True)
class Cut:
    """What remains of a loft on one side of a plane."""

    plane: Plane
    keep_end: bool


@dataclass(frozen=True)
class Crack:
    """A fine lucent line along a plane; `width` in mm, `strength` in 0..1."""

    plane: Plane
    width: float
    strength: float


@dataclass(frozen=True)
class Bend:
    """How an end face departs from a flat cut: `slope` and `curve` sideways and in depth, over `reach` mm."""

    slope: tuple[float, float] = (0.0, 0.0)
    curve: tuple[float, float] = (0.0, 0.0)
    reach: float = 20.0

    @property
    def is_flat(self) -> bool:
        """Whether the end is a plain cut."""
        return not any((*self.slope, *self.curve))


@dataclass(frozen=True, eq=False)
class Profile:
    """A loft's tables, one entry each STEP_MM: half-widths and centres, sideways (x) and in depth (z)."""

    length: float
    half_x: Table
    half_z: Table
    inner_x: Table
    inner_z: Table
    centre_x: Table
    centre_z: Table
    density: Table


@dataclass(frozen=True, eq=False)
class Loft:
    """A solid with elliptic cross-sections along a straight axis; `axes` rows are side, along, depth."""

    profile: Profile
    origin: Vector
    axes: NDArray[np.float64]
    boxy: float = 0.0
    start: Bend = Bend()
    end: Bend = Bend()
    cuts: tuple[Cut, ...] = ()
    cracks: tuple[Crack, ...] = ()

    def moved(self, by: Rigid) -> "Loft":
        """The same solid after a rigid motion."""
        return replace(self, origin=by.point(self.origin), axes=self.axes @ by.rotation.T)

    def point(self, along: float, side: float = 0.0, depth: float = 0.0) -> Vector:
        """Body position of the centre line at `along` mm, offset by multiples of the half-widths."""
        index = min(max(round(along / STEP_MM) + _PAD, _PAD), len(self.profile.half_x) - 1 - _PAD)
        at = self.profile
        across = at.centre_x[index] + side * at.half_x[index]
        deep = at.centre_z[index] + depth * at.half_z[index]
        return np.asarray(self.origin + np.array([across, along, deep]) @ self.axes)

    def half_width(self, along: float) -> float:
        """Mean outer half-width (mm) at `along`."""
        index = min(max(round(along / STEP_MM) + _PAD, _PAD), len(self.profile.half_x) - 1 - _PAD)
        return float(self.profile.half_x[index] + self.profile.half_z[index]) / 2


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid with a wall (mm); `axes` rows are the unit axes that `radii` (mm) go with.

    `lumps` roughen its outline.
    """

    centre: Vector
    radii: Vector
    axes: NDArray[np.float64]
    wall: float = 0.0
    density: float = 0.25
    lumps: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def moved(self, by: Rigid) -> "Ellipsoid":
        """The same solid after a rigid motion."""
        return replace(self, centre=by.point(self.centre), axes=self.axes @ by.rotation.T)


Solid = Loft | Ellipsoid


def ball(
    centre: ArrayLike,
    radii: ArrayLike,
    *,
    wall: float = 0.0,
    density: float = 0.25,
    lumps: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Ellipsoid:
    """An ellipsoid along the body axes (mm)."""
    size = np.broadcast_to(np.asarray(radii, dtype=np.float64), (3,)).copy()
    return Ellipsoid(np.asarray(centre, dtype=np.float64), size, np.eye(3), wall, density, lumps)


def profile(
    rows: Sequence[Sequence[float]],
    *,
    caps: tuple[float, float] = (2.0, 2.0),
    power: tuple[float, float] = (2.0, 2.0),
) -> Profile:
    """Tabulate rows of (along, x low, x high, z low, z high, shell, density), in mm and as a fraction of cortical bone.

    Args:
        rows: Control rows in ascending order of `along`; the first is at 0, the last at the length.
        caps: How many mm at the start and the end are rounded off.
        power: How the ends are rounded: 2 is a ball, more is flatter.
    """
    return _tabulated(tuple(tuple(map(float, row)) for row in rows), caps, power)


@lru_cache(maxsize=_PROFILES_KEPT)  # a study's views show the same bones
def _tabulated(rows: tuple[tuple[float, ...], ...], caps: tuple[float, float], power: tuple[float, float]) -> Profile:
    table = np.asarray(rows, dtype=np.float64)
    length = float(table[-1, 0])
    along = np.arange(round(length / STEP_MM) + 1, dtype=np.float64) * STEP_MM
    x_low, x_high, z_low, z_high, shell, density = PchipInterpolator(table[:, 0], table[:, 1:])(along).T
    outer = _caps(along, (0.0, length), caps, power)
    inner = _caps(along, (float(shell[0]), length - float(shell[-1])), caps, power)
    half_x, half_z = (x_high - x_low) / 2, (z_high - z_low) / 2
    return Profile(
        length=length,
        half_x=_padded(half_x * outer),
        half_z=_padded(half_z * outer),
        inner_x=_padded(np.maximum(half_x - shell, 0.0) * inner),
        inner_z=_padded(np.maximum(half_z - shell, 0.0) * inner),
        centre_x=_padded((x_low + x_high) / 2, edge=True),
        centre_z=_padded((z_low + z_high) / 2, edge=True),
        density=_padded(density, edge=True),
    )


def _caps(
    along: NDArray[np.float64], span: tuple[float, float], caps: tuple[float, float], power: tuple[float, float]
) -> NDArray[np.float64]:
    """Factor 0..1 that rounds both ends of a profile."""
    factor = np.where((along < span[0]) | (along > span[1]), 0.0, 1.0)
    for distance, cap, exponent in ((along - span[0], caps[0], power[0]), (span[1] - along, caps[1], power[1])):
        if cap > 0:
            missing = np.clip(1.0 - distance / cap, 0.0, 1.0)
            factor *= (1.0 - missing**exponent) ** (1.0 / exponent)
    return factor


def _padded(values: NDArray[np.float64], *, edge: bool = False) -> Table:
    padded = np.zeros(len(values) + 2 * _PAD, dtype=np.float32)
    padded[_PAD:-_PAD] = values
    if edge:
        padded[:_PAD], padded[-_PAD:] = values[0], values[-1]
    return padded


def table_index(along: NDArray[np.float32], size: int) -> NDArray[np.intp]:
    """Index into a profile's tables of `size` entries for positions along the axis (mm)."""
    index = np.rint(along * np.float32(1.0 / STEP_MM)).astype(np.intp)
    index += _PAD
    return np.asarray(np.clip(index, 0, size - 1, out=index))


def safe(half_width: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half-widths that can be divided by: empty ones become tiny."""
    return np.maximum(half_width, np.float32(_MIN_HALF_WIDTH))
