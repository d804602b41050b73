import pytest

from triage_agent.imaging.codestream import Codestream, inspect

APP0 = bytes.fromhex("ffe00004abcd")
SCAN = bytes.fromhex("ffda0002") + b"entropy"


def start_of_frame(marker, precision=12, rows=100, columns=80, components=1):
    return (
        bytes([0xFF, marker, 0, 8, precision])
        + rows.to_bytes(2, "big")
        + columns.to_bytes(2, "big")
        + bytes([components])
    )


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xF7])
def test_jpeg_frame_headers_are_read(marker):
    frame = b"\xff\xd8" + APP0 + start_of_frame(marker) + SCAN + b"\xff\xd9"
    assert inspect(frame) == Codestream(100, 80, 1, 12, complete=True)


def test_huffman_tables_are_no_frame_headers():
    tables = bytes([0xFF, 0xC4]) + start_of_frame(0xC4)[2:]
    assert inspect(b"\xff\xd8" + tables + start_of_frame(0xC0, rows=7) + SCAN) == Codestream(
        7, 80, 1, 12, complete=False
    )


def test_fill_bytes_before_markers_are_passed():
    frame = b"\xff\xd8\xff\xff" + start_of_frame(0xC0)[1:] + SCAN + b"\xff\xd9\x00"
    assert inspect(frame) == Codestream(100, 80, 1, 12, complete=True)


def test_an_end_marker_in_a_thumbnail_does_not_count():
    thumbnail = b"\xff\xe1\x00\x06\xff\xd8\xff\xd9"
    assert not inspect(b"\xff\xd8" + thumbnail + start_of_frame(0xC0) + SCAN).complete


@pytest.mark.parametrize(
    "frame", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8" + APP0, b"\xff\xd8rubbish!", b"\x00" * 99]
)
def test_what_has_no_frame_header_is_none(frame):
    assert inspect(frame) is None


def j2k(columns=80, rows=100, left=0, top=0, components=1, precision=12):
    extent = b"".join(number.to_bytes(4, "big") for number in (columns, rows, left, top, 64, 64, 0, 0))
    size = b"\x00\x00" + extent + components.to_bytes(2, "big") + bytes([precision - 1, 1, 1])
    return b"\xff\x4f\xff\x51\x00\x29" + size


@pytest.mark.parametrize("boxes", [b"", b"\x00\x00\x00\x0cjP  \r\n\x87\n"])
def test_jpeg_2000_sizes_are_read_with_and_without_boxes(boxes):
    assert inspect(boxes + j2k() + b"data\xff\xd9") == Codestream(100, 80, 1, 12, complete=True)


def test_a_jpeg_2000_offset_is_taken_off():
    assert inspect(j2k(columns=90, rows=120, left=10, top=20)) == Codestream(100, 80, 1, 12, complete=False)


def test_the_sign_bit_is_not_part_of_the_precision():
    assert inspect(j2k(precision=12 + 128)).precision == 12


def test_a_cut_jpeg_2000_header_is_none():
    assert inspect(j2k()[:20]) is None
