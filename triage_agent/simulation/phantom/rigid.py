"""Rigid motions in three dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

X, Y, Z = np.eye(3)


@dataclass(frozen=True, eq=False)
class Rigid:
    """p -> rotation @ p + shift (mm)."""

    rotation: NDArray[np.float64]
    shift: Vector

    def point(self, point: ArrayLike) -> Vector:
        """Where a point goes."""
        return np.asarray(self.rotation @ np.asarray(point, dtype=np.float64) + self.shift)

    def direction(self, direction: ArrayLike) -> Vector:
        """Where a direction goes."""
        return np.asarray(self.rotation @ np.asarray(direction, dtype=np.float64))

    def then(self, after: "Rigid") -> "Rigid":
        """This motion followed by another."""
        return Rigid(after.rotation @ self.rotation, after.point(self.shift))


def rotation_about(axis: ArrayLike, degrees: float) -> NDArray[np.float64]:
    """The rotation matrix about an axis (Rodrigues)."""
    x, y, z = unit(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def turn(pivot: ArrayLike, axis: ArrayLike, degrees: float) -> Rigid:
    """A rotation about an axis through `pivot`."""
    rotation = rotation_about(axis, degrees)
    centre = np.asarray(pivot, dtype=np.float64)
    return Rigid(rotation, centre - rotation @ centre)


def shift(by: Sequence[float] | Vector) -> Rigid:
    """A translation (mm)."""
    return Rigid(np.eye(3), np.asarray(by, dtype=np.float64))


def unit(vector: ArrayLike) -> Vector:
    """The direction of a vector, with length 1."""
    values = np.asarray(vector, dtype=np.float64)
    return np.asarray(values / np.linalg.norm(values))


def frame_along(
    direction: ArrayLike, depth: ArrayLike = (0.0, 0.0, 1.0), *, roll: float = 0.0, mirrored: bool = False
) -> NDArray[np.float64]:
    """Axes (rows side, along, depth) of a solid that points along `direction`, turned by `roll` degrees about itself.

    A solid that points up the image is `mirrored`, so that its side still points to the image's right.
    """
    along = unit(direction)
    deep = np.asarray(depth, dtype=np.float64)
    deep = unit(deep - along * float(deep @ along))
    side = np.cross(along, deep) * (-1.0 if mirrored else 1.0)
    axes = np.stack([side, along, deep])
    return axes @ rotation_about(along, roll).T if roll else axes
