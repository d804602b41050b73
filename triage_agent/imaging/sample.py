"""A square of a model's size, taken straight from stored pixels: of a large radiograph that is a few in a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from triage_agent.imaging.shown import Shown

_HALF = np.float32(0.5)


def sampled(shown: Shown, side: int) -> NDArray[np.float32]:
    """The image on a centred square of zeros, resized to `side`: bilinear without anti-aliasing.

    What `models.siglip.pad_and_resize` gives, and torch's `interpolate` in it, but for the last digits of float32: each
    value comes of four pixels, and no other is looked at.

    Args:
        shown: an image of any size.
        side: of the result, in pixels.

    Returns:
        float32 [side, side] in [0, 1].
    """
    height, width = shown.shape
    square = max(height, width)
    (upper, over), (lower, under) = _axis(height, square, side)
    (left, before), (right, behind) = _axis(width, square, side)
    above = shown.at(upper, left) * before + shown.at(upper, right) * behind
    below = shown.at(lower, left) * before + shown.at(lower, right) * behind
    between: NDArray[np.float32] = np.clip(above * over[:, None] + below * under[:, None], 0.0, 1.0)
    return between


_Side = tuple["NDArray[np.intp]", "NDArray[np.float32]"]


def _axis(length: int, square: int, side: int) -> tuple[_Side, _Side]:
    """For each of `side` places on one axis: the two pixels that it lies between, and the weight of each.

    Pixels are counted on the image, which has `length` of them in the middle of `square`; what lies outside weighs
    nothing, as zeros would. Places are computed in float32, as torch does.
    """
    scale = np.float32(square) / np.float32(side)
    place = np.maximum(scale * (np.arange(side, dtype=np.float32) + _HALF) - _HALF, np.float32(0))
    first = np.minimum(place.astype(np.intp), square - 1)
    second = np.minimum(first + 1, square - 1)
    share = np.clip(place - first.astype(np.float32), np.float32(0), np.float32(1))
    margin = (square - length) // 2
    return _on_image(first - margin, np.float32(1) - share, length), _on_image(second - margin, share, length)


def _on_image(pixel: NDArray[np.intp], weight: NDArray[np.float32], length: int) -> _Side:
    is_inside = (pixel >= 0) & (pixel < length)
    return np.clip(pixel, 0, length - 1), np.where(is_inside, weight, np.float32(0))
