import zlib

import numpy as np
import pytest
from pydicom import uid

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging import part10
from triage_agent.imaging.decode import decode
from triage_agent.imaging.part10 import read_header, read_part10


def test_a_deflated_bomb_is_refused_before_it_is_inflated(radiograph, save, limb, monkeypatch):
    monkeypatch.setattr(part10, "MAX_INFLATED", 1 << 20)
    pixels = np.zeros((1024, 1024), np.uint16)
    path = save(radiograph(pixels, syntax=uid.DeflatedExplicitVRLittleEndian))
    assert path.stat().st_size < 20000
    for read in (read_part10, read_header):
        with pytest.raises(UnreadableImageError, match="inflates beyond reason"):
            read(path)


def test_a_truncated_deflated_file_is_unreadable(radiograph, save, limb):
    content = save(radiograph(limb(), syntax=uid.DeflatedExplicitVRLittleEndian)).read_bytes()
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_part10(content[:-1000])


def test_a_damaged_deflated_file_is_unreadable(radiograph, save, limb):
    content = bytearray(save(radiograph(limb(), syntax=uid.DeflatedExplicitVRLittleEndian)).read_bytes())
    content[500:600] = bytes(100)
    with pytest.raises(UnreadableImageError):
        read_part10(bytes(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "lacks the DICM prefix"),
        (b"hello world" * 50, "lacks the DICM prefix"),
        (bytes(128) + b"DICM" + bytes(3), "."),
    ],
)
def test_what_is_no_dicom_file_says_so(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode(read_part10(content))


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_part10(tmp_path / "gone.dcm")


def test_deep_nesting_ends_in_a_reason_and_not_in_a_recursion_error(radiograph, save):
    dataset = radiograph(np.zeros((8, 8), np.uint8), PixelData=None)
    content = save(dataset).read_bytes()
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    deep = content[: content.find(b"\x18\x00\x15\x00CS")] + item * 5000
    with pytest.raises(UnreadableImageError):
        decode(read_part10(deep))
    assert read_header(deep).SOPInstanceUID == "1.2.3.4"


def test_zlib_is_what_the_deflated_transfer_syntax_means(radiograph, save):
    content = save(radiograph(np.zeros((8, 8), np.uint8), syntax=uid.DeflatedExplicitVRLittleEndian)).read_bytes()
    start = content.find(uid.DeflatedExplicitVRLittleEndian.encode())
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[_end_of_meta(content, start) :])


def _end_of_meta(content, start):
    length = int.from_bytes(content[140:144], "little")
    assert 144 < start < 144 + length
    return 144 + length
