"""How an image says it is shown, for a presentation state that must not change that (PS3.4 N.2, PS3.3 C.11).

A viewer that applies a presentation state takes the rescaling, the window and the polarity from it and forgets the
image's own. So a state that only adds words repeats them; headers are as broken as modalities make them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack

import numpy as np
from pydicom import Dataset

from triage_agent.results.header import text_of

_MOST_PIXELS = 65535  # a side, as Rows and Columns can say
_MOST_ENTRIES = 65536  # of a LUT
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
_FUNCTIONS = frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})
_LUT_BITS = range(8, 17)
_SIXTEEN, _BRIGHTEST = 16, 65535
_DESCRIPTOR_VALUES = 3


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one presentation state can have only one of, whatever the number of its images.

    Attributes:
        shape: Presentation LUT Shape: P-values as they are, or inverted.
        slope: Rescale Slope, as DS; empty with `intercept` where the image does not rescale.
        intercept: Rescale Intercept, as DS.
    """

    shape: str
    slope: str
    intercept: str


def rendering_of(header: Dataset) -> Rendering | None:
    """None where it cannot be told, or the image has a Modality LUT, which would have to be the same for all."""
    shape = _SHAPES.get(text_of(header, "PhotometricInterpretation"))
    if shape is None or size_of(header) is None or "ModalityLUTSequence" in header:
        return None
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    if slope is None or intercept is None or slope == 0:
        return Rendering(shape, "", "")
    return Rendering(shape, _decimal(slope), _decimal(intercept))


def size_of(header: Dataset) -> tuple[int, int] | None:
    """Columns and rows; None where the header states none that can be."""
    found = [text_of(header, keyword) for keyword in ("Columns", "Rows")]
    sides = [int(text) if text.isdecimal() and len(text) <= len(str(_MOST_PIXELS)) else 0 for text in found]
    return (sides[0], sides[1]) if all(0 < side <= _MOST_PIXELS for side in sides) else None


def window_of(header: Dataset) -> Dataset | None:
    """The image's first window, or else its first VOI LUT, as an item; None where it has neither that can be used."""
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if centre is None or width is None or width < 1:
        return _lut_of(header)
    item = Dataset()
    item.WindowCenter, item.WindowWidth = _decimal(centre), _decimal(width)
    function = text_of(header, "VOILUTFunction").upper()
    if function in _FUNCTIONS:
        item.VOILUTFunction = function
    return item


def _lut_of(header: Dataset) -> Dataset | None:
    try:
        (first, *_) = header.VOILUTSequence
        entries, start, bits = (int(value) for value in first.LUTDescriptor)
        data = first.LUTData
    except Exception:  # noqa: BLE001 - any fault of a foreign header means: not known
        return None
    count = entries or _MOST_ENTRIES  # PS3.3 C.11.2.1.1: 0 means 65,536
    octets = data if isinstance(data, bytes) else _packed(data)
    if bits not in _LUT_BITS or not 0 < count <= _MOST_ENTRIES or len(octets) != 2 * count:
        return None
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS" if start < 0 else "US", [entries, start, _SIXTEEN])
    lut.add_new("LUTData", "OW", _in_sixteen_bits(octets, bits))
    item = Dataset()
    item.VOILUTSequence = [lut]
    return item


def _in_sixteen_bits(octets: bytes, bits: int) -> bytes:
    """The same curve: outside of a DX image, a table's entries have 8 or 16 bits (PS3.3 C.11.2.1.1)."""
    top = (1 << bits) - 1
    entries = np.minimum(np.frombuffer(octets, "<u2"), top).astype(np.uint32)
    wide: bytes = ((entries * _BRIGHTEST + top // 2) // top).astype("<u2").tobytes()
    return wide


def _packed(values: Sequence[int]) -> bytes:
    if len(values) > _MOST_ENTRIES or not all(0 <= value < _MOST_ENTRIES for value in values):
        return b""
    return pack(f"<{len(values)}H", *values)


def _number(header: Dataset, keyword: str) -> float | None:
    try:
        value = float(text_of(header, keyword))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 else None  # noqa: PLR2004 - more is no grey value


def _decimal(value: float) -> str:
    """As DS holds it: 16 characters at most."""
    return f"{value:.9g}"
