"""A first quality gate: images that no reader, human or machine, could use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from triage_agent.imaging.shown import Shown

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
_BAND = 32  # rows looked at together


def reason_to_refuse(image: NDArray[np.float32] | Shown) -> str | None:
    """Why a display image cannot be scored; None when nothing is obviously wrong with it.

    Args:
        image: float32 [H, W] in [0, 1]; of one that is `Shown`, only what has to be looked at is looked up.
    """
    shown = image if isinstance(image, Shown) else Shown(image)
    height, width = shown.shape
    if min(height, width) < SMALLEST_SIDE:
        return f"the image is too small to read ({width} x {height} pixels)"
    rows = shown.part(slice(None, None, max(1, height // _SAMPLED_ROWS)))
    if rows.min() == rows.max() and _is_blank(shown):
        return "the image is blank: every pixel has the same value"
    return _wrong_greys(rows) or _wrong_structure(shown, rows)


def _is_blank(shown: Shown) -> bool:
    image = shown.whole()
    return bool(image.min() == image.max())


def _wrong_greys(rows: NDArray[np.float32]) -> str | None:
    if not np.isfinite(rows).all():
        return "the image has values that are no numbers"
    if np.mean((rows > 0.0) & (rows < 1.0)) < _LEAST_GREY:
        return "the image is clipped: almost every pixel is black or white"
    levels = _levels(rows[:, :: max(1, rows.shape[1] // _SAMPLED_COLUMNS)])
    return f"the image has only {levels} grey levels" if levels < _FEWEST_LEVELS else None


def _levels(values: NDArray[np.float32]) -> int:
    """How many distinct values there are; of many, at least that they are not too few."""
    some = len(np.unique(values[:: max(1, len(values) // _FEWEST_LEVELS)]))  # sorting all takes longest of all
    return some if some >= _FEWEST_LEVELS else len(np.unique(values))


def _wrong_structure(shown: Shown, rows: NDArray[np.float32]) -> str | None:
    missing = _missing_below(shown)
    if missing > _MOST_MISSING:
        return f"the lower {missing:.0%} of the image is missing"
    if _roughness(rows) > _NOISE:
        return "the image is noise: neighbouring pixels have nothing in common"
    return None


def _missing_below(shown: Shown) -> float:
    """Share of the height below the last row of a transfer that broke off; 0 where it did not.

    Collimated images have constant borders too, but theirs are on more than one side: here the row above the constant
    part must have content over its whole width.
    """
    height, _ = shown.shape
    filler = shown.part((-1, slice(-1, None)))[0]
    last = _last_row_of_content(shown, filler)
    above = shown.part(max(0, last - 1))  # the last row itself may be half there
    if np.mean(above != filler) < _FULL_WIDTH:
        return 0.0
    return 1.0 - (last + 1) / height


def _last_row_of_content(shown: Shown, filler: np.float32) -> int:
    """The lowest row that is not all filler; there is one. Mostly that is the last."""
    height, _ = shown.shape
    for end in range(height, 0, -_BAND):
        start = max(0, end - _BAND)
        content = np.flatnonzero((shown.part(slice(start, end)) != filler).any(axis=1))
        if len(content):
            return start + int(content[-1])
    return 0


def _roughness(rows: NDArray[np.float32]) -> float:
    """Mean squared difference of horizontal neighbours over that of unrelated pixels."""
    variance = _mean_square(rows - np.float32(rows.mean(dtype=np.float64)))
    if variance == 0:
        return 0.0
    return _mean_square(np.diff(rows, axis=1)) / (2 * variance)


def _mean_square(values: NDArray[np.float32]) -> float:
    """In float32 within a row and in float64 over rows: no copy of all in float64 is made."""
    return float(np.einsum("ij,ij->i", values, values).sum(dtype=np.float64)) / values.size
