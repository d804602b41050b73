"""The outlines of a map, in the coordinates of the image that it belongs to."""

from collections.abc import Sequence

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray
from PIL import Image

LEVEL = 0.5  # of a map's largest value
_FINEST = 96  # cells a side: maps are coarser, and what is sent stays small
_MOST = 5  # outlines an image, the largest
_LEAST_AREA = 0.001  # of the image

Outline = NDArray[np.float64]
"""[N, 2] of column and row, closed: the first point is the last."""


def outlines(heat: NDArray[np.float32], columns: int, rows: int) -> list[Outline]:
    r"""Where a map is above half of its largest value, the largest places first, each without its holes.

    Args:
        heat: float32 [H, W] in [0, 1] over all of the image, whatever its resolution.
        columns: of the image.
        rows: of the image.

    Returns:
        Points in pixels of the image, from 0\0 at the corner above left to columns\rows (PS3.3 C.10.5.1.2).
    """
    cells = _coarse(heat)
    height, width = cells.shape
    # A frame of zeros closes what runs off the edge.
    lines = contour_generator(z=np.pad(cells, 1), line_type=LineType.Separate).lines(LEVEL)
    found: Sequence[Outline] = [np.asarray(line, np.float64) for line in lines]
    areas = [_area(line) / (height * width) for line in found]
    if not areas:
        return []
    outward = np.sign(areas[int(np.argmax(np.abs(areas)))])  # holes run the other way round
    kept = [
        (area * outward, line)
        for area, line in zip(areas, found, strict=True)
        if area * outward >= _LEAST_AREA and np.array_equal(line[0], line[-1])
    ]
    kept.sort(key=lambda one: -one[0])
    # A cell's value stands at its middle, and the frame is one cell wide.
    scale, limit = np.array([columns / width, rows / height]), np.array([columns, rows])
    return [np.clip((line - 0.5) * scale, 0, limit) for _, line in kept[:_MOST]]


def _coarse(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = heat.shape
    share = min(1.0, _FINEST / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BOX))


def _area(line: Outline) -> float:
    """Signed, in cells."""
    columns, rows = line[:, 0], line[:, 1]
    return float(np.dot(columns[:-1], rows[1:]) - np.dot(columns[1:], rows[:-1])) / 2
