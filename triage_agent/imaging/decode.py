"""From a parsed data set to the stored pixel values of one frame (PS3.5 sections 8 and A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.codestream import inspect
from triage_agent.imaging.jpeg_extended import decode_12_bit
from triage_agent.imaging.tags import integer, text, uid_name, unreadable_on_failure, values

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

MAX_PIXELS = 200_000_000  # samples in a frame; the largest stitched radiographs have a tenth of it

# One decoder each, so that a file looks the same on every machine, and the one that reports truncation.
_PLUGINS: dict[str, str] = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}
_NATIVE: frozenset[str] = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    }
)
_WORDS: dict[str, str] = {
    uid.ImplicitVRLittleEndian: "uncompressed",
    uid.ExplicitVRLittleEndian: "uncompressed",
    uid.ExplicitVRBigEndian: "uncompressed big-endian",
    uid.DeflatedExplicitVRLittleEndian: "deflated",
    uid.RLELossless: "RLE",
    uid.JPEGBaseline8Bit: "JPEG baseline",
    uid.JPEGExtended12Bit: "JPEG extended (12 bit)",
    uid.JPEGLossless: "JPEG lossless",
    uid.JPEGLosslessSV1: "JPEG lossless",
    uid.JPEGLSLossless: "JPEG-LS lossless",
    uid.JPEGLSNearLossless: "JPEG-LS near-lossless",
    uid.JPEG2000Lossless: "JPEG 2000 lossless",
    uid.JPEG2000: "JPEG 2000",
    uid.HTJ2KLossless: "high-throughput JPEG 2000 lossless",
    uid.HTJ2KLosslessRPCL: "high-throughput JPEG 2000 lossless",
    uid.HTJ2K: "high-throughput JPEG 2000",
}
_MOST_SURPLUS = 1.1  # a tenth may be padding; with more, it is the header that is wrong
_RLE_WORST_GROWTH = 2  # literal runs cost 1/128; twice the image and more is no image
_MAX_BITS = 32


@dataclass(frozen=True, slots=True)
class Pixels:
    """The stored values of one frame, before any lookup table.

    Attributes:
        values: [H, W], or [H, W, 3] for colour; integers in native byte order, unused and overlay bits removed.
        photometric: Photometric Interpretation of `values`, which is not the header's where the decoder converted.
        frame: index of the frame taken, from 0.
        frames: how many the header promises.
    """

    values: NDArray[Any]
    photometric: str
    frame: int = 0
    frames: int = 1


def syntax_in_words(transfer_syntax: str) -> str:
    """How a person calls a transfer syntax."""
    return _WORDS.get(transfer_syntax) or uid_name(transfer_syntax) or "an unnamed encoding"


def decode(dataset: Dataset) -> Pixels:
    """The stored values of the instance's frame: its only one, or the middle one of several.

    Raises:
        UnreadableImageError: no pixel data, header values that contradict each other or the pixel data, truncated or
            damaged pixel data, or a coding that cannot be decoded; the message names the coding.
    """
    syntax = text(getattr(dataset, "file_meta", pydicom.Dataset()), "TransferSyntaxUID")
    words = syntax_in_words(syntax)
    _check_header(dataset)
    frames = max(1, integer(dataset, "NumberOfFrames") or 1)
    frame = (frames - 1) // 2
    if syntax not in _NATIVE and syntax not in _PLUGINS:
        raise UnreadableImageError(f"pixel data coded as {words} cannot be decoded")
    with unreadable_on_failure(f"the {words} pixel data cannot be decoded"):
        if syntax in _NATIVE:
            return _native(dataset, syntax, frame, frames)
        return _encapsulated(dataset, syntax, frame, frames)


def _check_header(dataset: Dataset) -> None:
    """Refuse what PS3.3 C.7.6.3 forbids, and sizes that nobody can mean, before memory is spent on them."""
    if not values(dataset, "PixelData"):
        raise UnreadableImageError("there is no pixel data")
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel")
    found = {keyword: integer(dataset, keyword) for keyword in needed}
    missing = [keyword for keyword, value in found.items() if value is None or value < 1]
    if missing:
        raise UnreadableImageError(f"the header gives no valid {', '.join(missing)}")
    rows, columns, allocated, stored, samples = (value or 0 for value in found.values())
    if rows * columns * samples > MAX_PIXELS:
        raise UnreadableImageError(f"an image of {columns} x {rows} pixels is larger than any radiograph")
    if stored > allocated or allocated > _MAX_BITS or (allocated % 8 and allocated != 1):
        raise UnreadableImageError(f"the header claims {stored} bits stored in {allocated} allocated")
    high_bit = integer(dataset, "HighBit")
    if high_bit is not None and not stored - 1 <= high_bit < allocated:
        raise UnreadableImageError(f"the header claims high bit {high_bit} for {stored} of {allocated} bits")
    if integer(dataset, "PixelRepresentation") not in {0, 1}:
        raise UnreadableImageError("the header does not say whether pixel values are signed")
    if not text(dataset, "PhotometricInterpretation"):
        raise UnreadableImageError("the header has no photometric interpretation")


def _native(dataset: Dataset, syntax: str, frame: int, frames: int) -> Pixels:
    bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated) * frames
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3  # two pixels share their colour
    expected, found = (bits + 7) // 8, len(dataset.PixelData)
    if found < expected:
        raise UnreadableImageError(f"the pixel data is truncated: {found} of {expected} bytes")
    if found > _MOST_SURPLUS * expected + 1024:
        raise UnreadableImageError(f"the header describes an image of {expected} bytes, the pixel data has {found}")
    high_bit, stored = integer(dataset, "HighBit"), int(dataset.BitsStored)
    shift = 0 if high_bit is None else high_bit + 1 - stored
    options: Any = {"allow_excess_frames": False, "correct_unused_bits": not shift}
    array, properties = get_decoder(syntax).as_array(dataset, index=frame, raw=True, **options)
    pixels = array.astype(array.dtype.newbyteorder("="), copy=False)
    if shift:
        pixels = _values_below_high_bit(pixels, stored, shift)
    return Pixels(pixels, str(properties["photometric_interpretation"]), frame, frames)


def _values_below_high_bit(pixels: NDArray[Any], stored: int, shift: int) -> NDArray[Any]:
    """Undo a High Bit other than Bits Stored - 1, which the standard allowed until 2014 (PS3.5 section 8.1.1).

    Some writers say so and store low all the same: nothing above `stored` bits then.
    """
    width = 8 * pixels.dtype.itemsize
    unsigned = pixels.view(f"u{pixels.dtype.itemsize}")
    if not (unsigned >> stored).any():
        shift = 0
    aligned: NDArray[Any] = np.left_shift(pixels, width - stored - shift)
    shifted: NDArray[Any] = np.right_shift(aligned, width - stored)
    return shifted


def _encapsulated(dataset: Dataset, syntax: str, frame: int, frames: int) -> Pixels:
    coded = get_frame(dataset.PixelData, frame, number_of_frames=frames)
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    if syntax == uid.RLELossless:
        expected = rows * columns * samples * (int(dataset.BitsAllocated) + 7) // 8
        if len(coded) > _RLE_WORST_GROWTH * expected + 64:
            raise UnreadableImageError(f"the RLE pixel data is too long for an image of {columns} x {rows} pixels")
    else:
        precision = _check_codestream(coded, syntax, (rows, columns, samples))
        if syntax == uid.JPEGExtended12Bit and precision > 8:  # noqa: PLR2004 - bits of a byte
            return _extended(dataset, coded, frame, frames)
    array, properties = get_decoder(syntax).as_array(dataset, index=frame, raw=True, decoding_plugin=_PLUGINS[syntax])
    pixels = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Pixels(pixels, str(properties["photometric_interpretation"]), frame, frames)


def _extended(dataset: Dataset, coded: bytes, frame: int, frames: int) -> Pixels:
    if int(dataset.SamplesPerPixel) != 1 or int(dataset.BitsAllocated) != 16:  # noqa: PLR2004 - what 12 bits need
        raise UnreadableImageError("colour JPEG extended (12 bit) pixel data cannot be decoded")
    pixels: NDArray[Any] = decode_12_bit(coded, int(dataset.Rows), int(dataset.Columns))
    if dataset.PixelRepresentation:
        pixels = _values_below_high_bit(pixels.view(np.int16), int(dataset.BitsStored), 0)
    return Pixels(pixels, text(dataset, "PhotometricInterpretation"), frame, frames)


def _check_codestream(coded: bytes, syntax: str, expected: tuple[int, int, int]) -> int:
    """Compare a codestream with its header before it is decoded; returns its precision in bits."""
    words = syntax_in_words(syntax)
    codestream = inspect(coded)
    if codestream is None:
        raise UnreadableImageError(f"the {words} pixel data is damaged: it has no frame header")
    rows, columns, samples = expected
    if (codestream.rows, codestream.columns) != (rows, columns):
        raise UnreadableImageError(
            f"the header says {columns} x {rows} pixels, the {words} pixel data "
            f"{codestream.columns} x {codestream.rows}"
        )
    if codestream.components != samples:
        raise UnreadableImageError(
            f"the header says {samples} samples a pixel, the {words} pixel data {codestream.components}"
        )
    if not codestream.complete:
        raise UnreadableImageError(f"the {words} pixel data is truncated")
    return codestream.precision
