"""How the body's axes fall on the pixels of an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Box = tuple[slice, slice]


def single(values: NDArray[np.floating]) -> Map:
    """The values in single precision."""
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Camera:
    """Parallel rays.

    Attributes:
        matrix: Turns body axes into image axes.
        centre: What lies in the middle of the image, on the image plane (mm).
        pitch: mm a pixel.
        shape: Rows and columns.
    """

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


def hull(boxes: list[Box]) -> Box:
    """The smallest box that holds all of them."""
    return (
        slice(min(box[0].start for box in boxes), max(box[0].stop for box in boxes)),
        slice(min(box[1].start for box in boxes), max(box[1].stop for box in boxes)),
    )


def relative(inner: Box, outer: Box) -> Box:
    """A box in the coordinates of one that holds it."""
    return (
        slice(inner[0].start - outer[0].start, inner[0].stop - outer[0].start),
        slice(inner[1].start - outer[1].start, inner[1].stop - outer[1].start),
    )


def common(one: Box, other: Box) -> Box | None:
    """What two boxes share, or None."""
    rows = slice(max(one[0].start, other[0].start), min(one[0].stop, other[0].stop))
    columns = slice(max(one[1].start, other[1].start), min(one[1].stop, other[1].stop))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None
