"""What a compressed frame says about itself, read before any decoder allocates memory for it."""

from __future__ import annotations

from dataclasses import dataclass

# ITU-T T.81 table B.1 and T.87: start-of-frame markers; C4, C8 and CC are no frames.
_START_OF_FRAME = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_MARKER = 0xFF
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
_JPEG = b"\xff\xd8"
_J2K = b"\xff\x4f\xff\x51"  # ITU-T T.800: SOC, then SIZ
_SIZ_LENGTH = 37  # of what SIZ says up to the first component's precision


@dataclass(frozen=True, slots=True)
class Codestream:
    """Rows, columns, components and bits a sample of a compressed frame, and whether its end marker is there."""

    rows: int
    columns: int
    components: int
    precision: int
    complete: bool


def inspect(frame: bytes) -> Codestream | None:
    """Read the frame header of a JPEG, JPEG-LS or JPEG 2000 codestream; None when there is none.

    No entropy-coded segment of these codings can contain the end marker FF D9, so that its absence shows truncation.
    """
    if frame[:2] == _JPEG:
        return _jpeg(frame)
    start = frame.find(_J2K)  # some encoders leave the JP2 boxes around the codestream
    return _jpeg_2000(frame, start) if start >= 0 else None


def _jpeg(frame: bytes) -> Codestream | None:
    position = 2
    found: tuple[int, int, int, int] | None = None
    while position + 4 <= len(frame):
        if frame[position] != _MARKER:
            return None
        marker = frame[position + 1]
        if marker == _MARKER:  # a fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        else:
            body = position + 4
            if marker in _START_OF_FRAME and body + 6 <= len(frame):
                precision, rows_high, rows_low, columns_high, columns_low, components = frame[body : body + 6]
                found = (rows_high << 8 | rows_low, columns_high << 8 | columns_low, components, precision)
            position += 2 + max(2, int.from_bytes(frame[position + 2 : position + 4], "big"))
            if marker == _START_OF_SCAN:
                break
    if found is None:
        return None
    return Codestream(*found, complete=frame.find(_END_OF_IMAGE, position) >= 0)


def _jpeg_2000(frame: bytes, start: int) -> Codestream | None:
    size = frame[start + 6 : start + 6 + _SIZ_LENGTH]  # behind SOC, SIZ and its length
    if len(size) < _SIZ_LENGTH:
        return None
    right, bottom, left, top = (int.from_bytes(size[at : at + 4], "big") for at in (2, 6, 10, 14))
    components = int.from_bytes(size[34:36], "big")
    precision = (size[36] & 0x7F) + 1
    complete = frame.find(_END_OF_IMAGE, start + 6 + _SIZ_LENGTH) >= 0
    return Codestream(bottom - top, right - left, components, precision, complete)
