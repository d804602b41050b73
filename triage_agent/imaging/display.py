"""Stored pixel values to display values: the grayscale softcopy pipeline (PS3.3 C.7.6.3, C.11; PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging import lut
from triage_agent.imaging.shown import Shown
from triage_agent.imaging.tags import integer, is_little_endian, items, numbers, text, unreadable_on_failure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from triage_agent.imaging.decode import Pixels

_DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_PERCENTILES = (0.5, 99.5)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as YBR_FULL has it (PS3.3 C.7.6.3.1.2)
_SLICE = 1 << 20  # pixels
_TABLE_BITS = 16  # stored values of up to so many bits go through one table
_SQUARE_ENOUGH = 0.01  # relative; a hundredth is below what resampling would blur
_WIDEST_ASPECT = 4.0  # beyond it the header is wrong, not the pixel


@dataclass(frozen=True, slots=True)
class Display:
    """An image as a display shows it.

    Attributes:
        shown: values in [0, 1]; 1 is white, and attenuating (bone) is bright.
        grey_scale: what made the grey values, in a word or two, for the log.
    """

    shown: Shown
    grey_scale: str

    @property
    def image(self) -> NDArray[np.float32]:
        """All of it, float32 [H, W]."""
        return self.shown.whole()


def to_display(pixels: Pixels, header: Dataset) -> Display:
    """Render stored values as the header asks: modality LUT, VOI LUT, presentation LUT shape, padding, square pixels.

    Raises:
        UnreadableImageError: a lookup table that the values cannot be understood without is damaged.
    """
    with unreadable_on_failure("the image cannot be rendered"):
        if pixels.photometric.startswith("MONOCHROME"):
            shown, grey_scale = _monochrome(pixels, header)
        elif pixels.photometric == "PALETTE COLOR":
            shown, grey_scale = Shown(_palette(pixels, header)), "palette"
        else:
            shown, grey_scale = Shown(_colour(pixels, header)), "colour"
        aspect = _aspect(header)
        if abs(aspect - 1.0) > _SQUARE_ENOUGH:
            shown = Shown(_square_pixels(shown.whole(), aspect))
        return Display(shown, grey_scale)


def _monochrome(pixels: Pixels, header: Dataset) -> tuple[Shown, str]:
    stored = _one_sample(pixels)
    if 8 * stored.dtype.itemsize > _TABLE_BITS:
        levels, found = np.unique(stored, return_inverse=True)
        index = found.reshape(stored.shape)
    else:
        index = stored.view(f"u{stored.dtype.itemsize}")
        levels = np.arange(1 << (8 * stored.dtype.itemsize), dtype=index.dtype).view(stored.dtype)
    shades, grey_scale = _shades(levels, index, pixels.photometric, header)
    return Shown(index, shades), grey_scale


def _shades(
    levels: NDArray[Any], index: NDArray[Any], photometric: str, header: Dataset
) -> tuple[NDArray[np.float32], str]:
    """The display value of every stored value in `levels`: the pipeline is a function of the stored value alone.

    `index` says which level each pixel has.
    """
    padding = lut.padding(header, is_signed=levels.dtype.kind == "i", allocated=8 * levels.dtype.itemsize)
    padded = np.zeros(len(levels), bool) if padding is None else (levels >= padding[0]) & (levels <= padding[1])
    modality, low, high = _modality(levels, header)
    voi = _given_voi(modality, negative=low < 0, header=header)
    if voi is None and _is_for_presentation(header):
        voi = lut.stretch(modality, low, high), "full range"
    if voi is None:
        seen = np.where(padded, 0, _histogram(index, len(levels)))
        voi = lut.stretch(modality, *_percentiles(modality, seen)), "percentiles"
    shades, grey_scale = voi
    if _inverse(photometric, header):
        shades = 1.0 - shades
    return np.where(padded, 0.0, shades).astype(np.float32), grey_scale


def _histogram(index: NDArray[Any], length: int) -> NDArray[np.intp]:
    """How many pixels have each level; in slices, since numpy counts in 64-bit copies."""
    counts = np.zeros(length, np.intp)
    flat = index.reshape(-1)
    for start in range(0, len(flat), _SLICE):
        counts += np.bincount(flat[start : start + _SLICE], minlength=length)
    return counts


def _modality(levels: NDArray[Any], header: Dataset) -> tuple[NDArray[np.float64], float, float]:
    """Modality values of all stored values, and the range that Bits Stored spans (PS3.3 C.11.1)."""
    is_signed = levels.dtype.kind == "i"
    found = items(header, "ModalityLUTSequence")
    if found:
        table = lut.table(found[0], negative=is_signed, little_endian=is_little_endian(header))
        if table is None:
            raise UnreadableImageError("the modality lookup table is damaged")
        return table.apply(levels.astype(np.float64)), 0.0, float(table.top)
    bits = integer(header, "BitsStored") or 8 * levels.dtype.itemsize
    bottom = -(1 << (bits - 1)) if is_signed else 0
    slope, intercept = lut.rescale(header)
    ends = bottom * slope + intercept, (bottom + (1 << bits) - 1) * slope + intercept
    return levels.astype(np.float64) * slope + intercept, min(ends), max(ends)


def _given_voi(
    modality: NDArray[np.float64], *, negative: bool, header: Dataset
) -> tuple[NDArray[np.float64], str] | None:
    """Values of interest as 0 to 1 by the header's first valid table, else its first valid window (PS3.3 C.11.2).

    None where it has neither: then images that are made for display keep their full range, and of others the middle
    99 % is stretched.
    """
    for item in items(header, "VOILUTSequence"):
        table = lut.table(item, negative=negative, little_endian=is_little_endian(header))
        if table is not None:
            return table.apply(modality) / table.top, "VOI table"
    window = lut.window(header)
    return None if window is None else (window.apply(modality), "window")


def _is_for_presentation(header: Dataset) -> bool:
    intent = text(header, "PresentationIntentType").upper()
    if intent:
        return intent == "FOR PRESENTATION"
    return text(header, "SOPClassUID") == _DX_FOR_PRESENTATION or integer(header, "BitsStored") == 8  # noqa: PLR2004


def _percentiles(modality: NDArray[np.float64], counts: NDArray[np.intp]) -> tuple[float, float]:
    """The modality values below which `_PERCENTILES` of the counted pixels lie."""
    total = counts.sum()
    if not total:
        return 0.0, 0.0
    order = np.argsort(modality, kind="stable")
    cumulated = np.cumsum(counts[order])
    low, high = (
        modality[order[min(len(order) - 1, int(np.searchsorted(cumulated, total * percent / 100, side="left")))]]
        for percent in _PERCENTILES
    )
    return float(low), float(high)


def _inverse(photometric: str, header: Dataset) -> bool:
    """Whether low values are white.

    Presentation LUT Shape decides where it is given (PS3.3 C.8.11.3.1.2): in conforming objects it says the same as
    MONOCHROME1, and applying both would invert twice.
    """
    shape = text(header, "PresentationLUTShape").upper()
    if shape in {"IDENTITY", "INVERSE"}:
        return shape == "INVERSE"
    return photometric == "MONOCHROME1"


def _palette(pixels: Pixels, header: Dataset) -> NDArray[np.float32]:
    """Luminance of palette colours; every stored value looks its three colours up (PS3.3 C.7.6.3.1.5)."""
    stored = _one_sample(pixels)
    luma = np.zeros(stored.shape, np.float32)
    for colour, weight in zip(("Red", "Green", "Blue"), _LUMA, strict=True):
        prefix = f"{colour}PaletteColorLookupTable"
        table = lut.table(
            header, negative=stored.dtype.kind == "i", little_endian=is_little_endian(header), prefix=prefix
        )
        if table is None:
            raise UnreadableImageError("the colour palette is missing, segmented or damaged")
        luma += weight * (table.apply(stored.astype(np.float64)) / table.top).astype(np.float32)
    return np.clip(luma, 0.0, 1.0)


def _one_sample(pixels: Pixels) -> NDArray[Any]:
    if pixels.values.ndim != 2:  # noqa: PLR2004 - rows, columns
        raise UnreadableImageError(f"{pixels.photometric} cannot have several samples a pixel")
    return pixels.values


def _colour(pixels: Pixels, header: Dataset) -> NDArray[np.float32]:
    """Luminance: the Y of YBR codings as it is, a weighted sum of RGB."""
    stored = integer(header, "BitsStored") or 8 * pixels.values.dtype.itemsize
    top = np.float32((1 << stored) - 1)
    if pixels.values.ndim != 3:  # noqa: PLR2004 - rows, columns, samples
        raise UnreadableImageError(f"{pixels.photometric} needs three samples a pixel")
    luma: NDArray[Any]
    if pixels.photometric.startswith("YBR_PARTIAL"):  # Y from 16 to 235 (PS3.3 C.7.6.3.1.2)
        luma = (pixels.values[..., 0].astype(np.float32) / top * 255 - 16) / 219
    elif pixels.photometric.startswith("YBR"):
        luma = pixels.values[..., 0].astype(np.float32) / top
    else:
        luma = pixels.values.astype(np.float32) @ _LUMA / top
    return np.clip(luma, 0.0, 1.0)


def _aspect(header: Dataset) -> float:
    """Height of a pixel over its width (PS3.3 C.7.6.3.1.7, spacing before Pixel Aspect Ratio); 1 when unknown."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        found = numbers(header, keyword)
        if len(found) == 2 and min(found) > 0:  # noqa: PLR2004 - vertical, horizontal
            aspect = found[0] / found[1]
            return aspect if 1 / _WIDEST_ASPECT <= aspect <= _WIDEST_ASPECT else 1.0
    return 1.0


def _square_pixels(image: NDArray[np.float32], aspect: float) -> NDArray[np.float32]:
    """Interpolate the coarser axis until pixels are as high as they are wide."""
    if aspect < 1.0:
        return np.ascontiguousarray(_square_pixels(image.T, 1.0 / aspect).T)
    height = len(image)
    target = max(1, round(height * aspect))
    position = np.clip((np.arange(target) + 0.5) / aspect - 0.5, 0, height - 1)
    above = np.floor(position).astype(np.intp)
    below = np.minimum(above + 1, height - 1)
    share = (position - above).astype(np.float32)[:, None]
    return np.ascontiguousarray(image[above] * (1 - share) + image[below] * share)
