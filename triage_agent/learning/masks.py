"""Parts of a radiograph taken away: its border, its side marker, its anatomy. Heuristics, and described as such.

What is blanked is black, as the padding is that encoders add. All take and give display images: float32 [H, W] in
[0, 1], bone bright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterator

Display: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

BORDER = 0.10  # of each side
FOREGROUND, CENTRE_BOX = "foreground", "centre_box"

_LEVELS = 256
_APART = 0.8  # share of the variance between classes above which a second split is believed; one normal bell gives 0.64
_LIMB = 0.03  # share of the image that a piece must have to be anatomy, not a marker
_MARGIN = 0.04  # of the longer side: what is blanked around the anatomy
_ALL_ANATOMY = 0.75  # share of the image above which there is no background to speak of
_AIR = 0.35  # air has at most this share of the anatomy's brightness; soft tissue beside bone has more
_BOX = 0.8  # of each side

_OUTER = 0.25  # of each side: where markers lie
_MARKER_SIDE = 0.18  # of the longer side at most
_MARKER_AREA = (1e-4, 0.02)  # share of the image
_MARKER_BRIGHT = 0.6  # of the way from the image's median to its brightest
_DARKER_AROUND = 0.5  # what lies around a marker has at most this share of its brightness


def without_border(display: Display) -> Display:
    """The outer tenth of every side blank."""
    height, width = display.shape
    rows, columns = round(height * BORDER), round(width * BORDER)
    kept = np.zeros_like(display)
    inside = (slice(rows, height - rows), slice(columns, width - columns))
    kept[inside] = display[inside]
    return kept


def without_marker(display: Display) -> Display | None:
    """The image with what looks like a side marker painted over in the grey around it; None where nothing does.

    A marker is taken to be a bright, compact blob on much darker ground with its middle in the outer quarter of the
    image. One that lies on the anatomy is not found, and a bright fragment by itself near the edge (a finger's tip on
    a black ground, an external fixator's end) may be taken for one.
    """
    painted: Display | None = None
    for box, blob in _bright_blobs(display):
        near = _around(box, display.shape, reach=max(2, round(0.02 * max(display.shape))))
        patch = np.zeros(display.shape, dtype=bool)
        patch[box] = blob
        area, ground = patch[near], display[near]
        ring = ndimage.binary_dilation(area, iterations=max(2, round(0.01 * max(display.shape)))) & ~area
        if not ring.any() or np.median(ground[ring]) > _DARKER_AROUND * np.median(ground[area]):
            continue
        painted = display.copy() if painted is None else painted
        painted[near][ndimage.binary_dilation(area, iterations=2)] = np.median(ground[ring])
    return painted


def without_anatomy(display: Display) -> tuple[Display, str]:
    """The image with its anatomy blank, and how it was found.

    `foreground`: the large pieces above a threshold (Otsu 1979, split once more where the darker part is itself two),
    holes filled, with a margin. `centre_box`: where they leave less than a quarter of the image, or nothing as dark as
    air, the picture is all anatomy and a box of 80 % of each side is blanked instead; the frame that is left still
    shows some of it.
    """
    left = display.copy()
    limb = anatomy(display)
    if not limb.any() or (limb.mean() <= _ALL_ANATOMY and np.median(display[~limb]) <= _AIR * np.median(display[limb])):
        left[limb] = 0
        return left, FOREGROUND
    (height, width), share = display.shape, (1 - _BOX) / 2
    rows, columns = round(height * share), round(width * share)
    left[rows : height - rows, columns : width - columns] = 0
    return left, CENTRE_BOX


def anatomy(display: Display) -> Mask:
    """Where the body is, generously."""
    smooth = ndimage.gaussian_filter(display, max(display.shape) / 200)
    threshold, _ = _otsu(smooth)
    darker = smooth[smooth <= threshold]
    if darker.size > 1:
        lower, apart = _otsu(darker)
        threshold = lower if apart > _APART else threshold
    pieces, count = ndimage.label(smooth > threshold)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    large = sizes >= _LIMB * display.size
    large[0] = False
    filled = ndimage.binary_fill_holes(large[pieces])
    distance = ndimage.distance_transform_edt(~filled)
    near: Mask = distance <= _MARGIN * max(display.shape)
    return near if large.any() else np.zeros(display.shape, dtype=bool)


def _otsu(values: NDArray[np.float32]) -> tuple[float, float]:
    """Otsu's threshold and the share of the variance that lies between the two classes."""
    counts, edges = np.histogram(values, bins=_LEVELS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * middles)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * gap**2) / float(total) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # an empty valley between the classes is all alike
    variance = float(np.var(values, dtype=np.float64))
    place = int(best[len(best) // 2])
    return float(edges[place + 1]), float(between[place]) / variance if variance else 0.0


def _bright_blobs(display: Display) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Compact bright pieces whose middle is in the outer part: the box of each and its pixels in it."""
    median, brightest = float(np.median(display)), float(display.max())
    bright = display > median + _MARKER_BRIGHT * (brightest - median)
    # Letters of one marker count as one piece.
    joined = ndimage.binary_dilation(bright, iterations=max(1, round(0.006 * max(display.shape))))
    pieces, _ = ndimage.label(joined)
    longest = _MARKER_SIDE * max(display.shape)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        blob = (pieces[box] == number) & bright[box]
        share = blob.sum() / display.size
        sides = [one.stop - one.start for one in box]
        if max(sides) <= longest and _MARKER_AREA[0] <= share <= _MARKER_AREA[1] and _outside(box, display.shape):
            yield box, blob


def _outside(box: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    middles = [(one.start + one.stop) / 2 / side for one, side in zip(box, shape, strict=True)]
    return any(middle < _OUTER or middle > 1 - _OUTER for middle in middles)


def _around(box: tuple[slice, slice], shape: tuple[int, ...], reach: int) -> tuple[slice, slice]:
    rows, columns = (
        slice(max(0, one.start - reach), min(side, one.stop + reach)) for one, side in zip(box, shape, strict=True)
    )
    return rows, columns
