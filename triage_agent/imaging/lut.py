"""Lookup tables and windows as functions over arrays (PS3.3 C.11.1, C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.imaging.tags import integer, numbers, values

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

_MAX_ENTRIES = 1 << 16  # what an LUT Descriptor writes as 0
_SIGN = 1 << 15


def linear(x: NDArray[np.float64], center: float, width: float) -> NDArray[np.float64]:
    """VOI LUT Function LINEAR, output 0 to 1 (PS3.3 C.11.2.1.2.1); `width` is at least 1, and 1 is a threshold."""
    low = center - 0.5 - (width - 1) / 2
    high = center - 0.5 + (width - 1) / 2
    slope = (x - (center - 0.5)) / (width - 1) + 0.5 if width > 1 else np.zeros_like(x)
    return _between(x, low, high, slope)


def linear_exact(x: NDArray[np.float64], center: float, width: float) -> NDArray[np.float64]:
    """VOI LUT Function LINEAR_EXACT, output 0 to 1 (PS3.3 C.11.2.1.3.2); `width` is above 0."""
    slope = (x - center) / width + 0.5
    return _between(x, center - width / 2, center + width / 2, slope)


def _between(x: NDArray[np.float64], low: float, high: float, slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope above `low` and up to `high`, 0 and 1 outside; rounding may carry a slope past its ends."""
    return np.where(x <= low, 0.0, np.where(x > high, 1.0, np.clip(slope, 0.0, 1.0)))


def sigmoid(x: NDArray[np.float64], center: float, width: float) -> NDArray[np.float64]:
    """VOI LUT Function SIGMOID, output 0 to 1, open (PS3.3 C.11.2.1.3.1); `width` is above 0."""
    exponent = np.clip(-4.0 * (x - center) / width, -700.0, 700.0)  # exp overflows beyond
    return 1.0 / (1.0 + np.exp(exponent))


def stretch(x: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Map [low, high] to [0, 1], clipped; everything to 0 where they are equal."""
    return np.clip((x - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(x)


@dataclass(frozen=True, slots=True)
class Window:
    """One view of a VOI LUT module: a function's name, centre and width."""

    function: str
    center: float
    width: float

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Modality values to 0 to 1."""
        if self.function == "SIGMOID":
            return sigmoid(x, self.center, self.width)
        # Less than 1 is not legal for LINEAR; writers who do it have rescaled values, and mean it exactly.
        if self.function == "LINEAR_EXACT" or self.width < 1:
            return linear_exact(x, self.center, self.width)
        return linear(x, self.center, self.width)


@dataclass(frozen=True, slots=True)
class Table:
    """One item of a Modality or VOI LUT Sequence.

    Attributes:
        first: input value of the first entry; inputs below it take the first entry, above the table the last.
        entries: output values.
        top: the largest output that the table can express, 2^bits - 1.
    """

    first: int
    entries: NDArray[np.uint16]
    top: int

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look values up, rounded to whole numbers; output 0 to `top`."""
        index = np.clip(np.rint(x) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        output: NDArray[np.float64] = self.entries[index].astype(np.float64)
        return output


def window(header: Dataset) -> Window | None:
    """The first view that a window of the VOI LUT module describes; None when it has no valid one."""
    function = str(next(iter(values(header, "VOILUTFunction")), "LINEAR")).strip().upper()
    centers, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    for center, width in zip(centers, widths, strict=False):
        if width > 0:
            return Window(function, center, width)
    return None


def table(item: Dataset, *, negative: bool, little_endian: bool, prefix: str = "LUT") -> Table | None:
    """Read a lookup table (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5); None when it is damaged.

    Args:
        item: has a Descriptor and Data element.
        negative: whether its input can be negative, so that a first value from 32768 on is a negative one.
        little_endian: byte order of table data that is still bytes.
        prefix: what the two elements' keywords begin with.
    """
    descriptor = values(item, f"{prefix}Descriptor")
    try:
        count, first, bits = (int(value) for value in descriptor)
    except (TypeError, ValueError):
        return None
    count = count or _MAX_ENTRIES
    if negative and first >= _SIGN:
        first -= 2 * _SIGN
    entries = _entries(values(item, f"{prefix}Data"), count, bits, little=little_endian)
    if entries is None or not 1 <= bits <= 16:  # noqa: PLR2004 - as LUT Descriptor allows
        return None
    return Table(first, entries, max((1 << bits) - 1, int(entries.max())))


def _entries(data: tuple[Any, ...], count: int, bits: int, *, little: bool) -> NDArray[np.uint16] | None:
    """Table data as 16-bit entries: it comes as bytes (OW) or numbers (US), 8-bit entries one or two a word."""
    if not data or count < 1:
        return None
    if isinstance(data[0], bytes):
        words = np.frombuffer(data[0][: len(data[0]) // 2 * 2], "<u2" if little else ">u2").astype(np.uint16)
    else:
        try:
            words = np.array([int(value) & 0xFFFF for value in data], np.uint16)
        except (TypeError, ValueError):
            return None
    if len(words) >= count:
        return words[:count]
    if bits <= 8 and 2 * len(words) >= count:  # noqa: PLR2004 - bits of a byte
        return words.astype("<u2").view(np.uint8)[:count].astype(np.uint16)  # low byte first (PS3.5 section 8.1.1)
    return None


def rescale(header: Dataset) -> tuple[float, float]:
    """Rescale Slope and Intercept; (1, 0) where they are absent or the slope is 0."""
    found_slope, found_intercept = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    if not found_slope or not found_intercept or found_slope[0] == 0:
        return 1.0, 0.0
    return found_slope[0], found_intercept[0]


def signed(value: int, bits: int) -> int:
    """Reinterpret an unsigned `bits`-bit number as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def padding(header: Dataset, *, is_signed: bool, allocated: int) -> tuple[int, int] | None:
    """Lowest and highest stored value that mean "no image here" (PS3.3 C.7.5.1.1.2); None when nothing does."""
    value = integer(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(header, "PixelPaddingRangeLimit")
    ends = [value, value if limit is None else limit]
    # The element's own VR may be unsigned where the pixels are signed, and the other way round.
    ends = [signed(end, allocated) if is_signed else end & ((1 << allocated) - 1) for end in ends]
    return min(ends), max(ends)
