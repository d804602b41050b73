"""A first quality gate: images that no reader, human or machine, could use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SIDE = 64  # pixels
_LEAST_GREY = 0.01  # share of pixels that are neither black nor white
_FEWEST_LEVELS = 8  # distinct grey values
_MOST_MISSING = 0.4  # share of the height that may be one value to the lower edge
_NOISE = 0.7  # E[(x - neighbour)^2] / (2 var x): 0 for a flat image, 1 for white noise
_FULL_WIDTH = 0.95  # share of the last row that has content
_SAMPLED_ROWS = 512
_SAMPLED_COLUMNS = 256


def reason_to_refuse(image: NDArray[np.float32]) -> str | None:
    """Why a display image cannot be scored; None when nothing is obviously wrong with it.

    Args:
        image: float32 [H, W] in [0, 1].
    """
    height, width = image.shape
    if min(height, width) < SMALLEST_SIDE:
        return f"the image is too small to read ({width} x {height} pixels)"
    if image.min() == image.max():
        return "the image is blank: every pixel has the same value"
    rows = image[:: max(1, height // _SAMPLED_ROWS)]
    return _wrong_greys(rows) or _wrong_structure(image, rows)


def _wrong_greys(rows: NDArray[np.float32]) -> str | None:
    if not np.isfinite(rows).all():
        return "the image has values that are no numbers"
    if np.mean((rows > 0.0) & (rows < 1.0)) < _LEAST_GREY:
        return "the image is clipped: almost every pixel is black or white"
    levels = len(np.unique(rows[:, :: max(1, rows.shape[1] // _SAMPLED_COLUMNS)]))
    return f"the image has only {levels} grey levels" if levels < _FEWEST_LEVELS else None


def _wrong_structure(image: NDArray[np.float32], rows: NDArray[np.float32]) -> str | None:
    missing = _missing_below(image)
    if missing > _MOST_MISSING:
        return f"the lower {missing:.0%} of the image is missing"
    if _roughness(rows) > _NOISE:
        return "the image is noise: neighbouring pixels have nothing in common"
    return None


def _missing_below(image: NDArray[np.float32]) -> float:
    """Share of the height below the last row of a transfer that broke off; 0 where it did not.

    Collimated images have constant borders too, but theirs are on more than one side: here the row above the constant
    part must have content over its whole width.
    """
    filler = image[-1, -1]
    content = (image != filler).any(axis=1)
    last = int(np.flatnonzero(content)[-1])
    above = image[max(0, last - 1)]  # the last row itself may be half there
    if np.mean(above != filler) < _FULL_WIDTH:
        return 0.0
    return 1.0 - (last + 1) / len(image)


def _roughness(rows: NDArray[np.float32]) -> float:
    """Mean squared difference of horizontal neighbours over that of unrelated pixels."""
    variance = float(np.var(rows, dtype=np.float64))
    if variance == 0:
        return 0.0
    difference = np.diff(rows, axis=1)
    return float(np.mean(np.square(difference, dtype=np.float64))) / (2 * variance)
