"""Files that are made to hurt whoever reads them, and one that is not."""

import struct

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless
from support.instances import deflate, dx, encode, write_part10


def radiograph(path, *, rows=96, columns=80, **elements):
    """A small knee, uncompressed, that nothing is wrong with; returns its path."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    noise = np.random.default_rng(0).normal(0, 0.01, y.shape)
    shades = np.clip(0.2 + 0.6 * np.exp(-(((x - 0.4) / 0.15) ** 2)) * (0.8 + 0.2 * np.sin(9 * y)) + noise, 0, 1)
    return write_part10(path, image_of((shades * 4095).astype(np.uint16), **elements))


def image_of(pixels, **elements):
    """A DX of these 12-bit pixels."""
    data_set = dx(**{"BodyPartExamined": "KNEE"} | elements)
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 12, 11, 0
    data_set.PixelData = pixels.tobytes()
    data_set["PixelData"].VR = "OW"
    return data_set


def element(group, number, vr, value, length=None):
    """An explicit little endian element in long form, with a length that may lie."""
    return struct.pack("<HH2sHI", group, number, vr, 0, len(value) if length is None else length) + value


def nested(levels):
    """A private sequence in a sequence in a ..., each of undefined length and never ended."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (struct.pack("<HH2sHI", 0x0009, 0x1010, b"SQ", 0, 0xFFFFFFFF) + item) * levels


def part10(path, encoded, syntax):
    """These bytes as a file; returns its path."""
    write_part10(path, dx(), syntax)
    head = path.read_bytes()
    length = struct.unpack_from("<I", head, 140)[0]
    path.write_bytes(head[: 144 + length] + encoded)
    return path


def encapsulated(frame):
    """Pixel data of one fragment."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
    return element(0x7FE0, 0x0010, b"OB", item + fragment + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), 0xFFFFFFFF)


def _header(**elements):
    data_set = image_of(np.zeros((1, 1), np.uint16), **elements)
    del data_set.PixelData
    return data_set


def jpeg_bomb(path, side=65500):
    """A JPEG of some hundred bytes that says it has 65500 x 65500 pixels, in agreement with its header."""
    frame = struct.pack(">BBHBHHBBBB", 0xFF, 0xC0, 11, 8, side, side, 1, 1, 0x11, 0)
    coded = b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(64) + b"\xff\xd9"
    header = _header(Rows=side, Columns=side, BitsAllocated=8, BitsStored=8, HighBit=7)
    header.Rows = header.Columns = side
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    return part10(path, encode(header) + encapsulated(coded), JPEGBaseline8Bit)


def rle_bomb(path, side=14000):
    """RLE of a small frame's size whose runs of 128 equal bytes would fill 196 megapixels."""
    header = _header()
    header.Rows = header.Columns = side
    run = b"\x81\x00" * (2 * side * side // 128 // 64)
    segments = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13)
    return part10(path, encode(header) + encapsulated(segments + run + run), RLELossless)


def deflate_bomb(path, size=600 << 20):
    """A deflated data set of one megabyte that inflates to 600."""
    encoded = encode(_header()) + element(0x7FE0, 0x0010, b"OW", b"", size) + bytes(size)
    return part10(path, deflate(encoded), DeflatedExplicitVRLittleEndian)


def huge_frames(path, size=3 << 30):
    """Thousands of frames, gigabytes that are not even on the disk."""
    header = _header()
    header.Rows = header.Columns = 1024
    header.NumberOfFrames = size // (2 << 20)
    part10(path, encode(header) + element(0x7FE0, 0x0010, b"OW", b"", size), "1.2.840.10008.1.2.1")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    return path


def deep(path, levels=10_000):
    """Sequences 10,000 deep before the pixels."""
    return part10(path, encode(dx()) + nested(levels), "1.2.840.10008.1.2.1")


def many_elements(path, count=3_000_000):
    """Millions of elements of no content."""
    empty = struct.pack("<HH2sH", 0x0011, 0x1010, b"LO", 0)
    return part10(path, encode(dx()) + empty * count, "1.2.840.10008.1.2.1")


BOMBS = {one.__name__: one for one in (jpeg_bomb, rle_bomb, deflate_bomb, huge_frames, deep, many_elements)}
