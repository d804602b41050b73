import tracemalloc

import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.decode import decode
from triage_agent.imaging.part10 import read_part10

ENCODERS = [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]


@pytest.mark.parametrize("missing", [1, 2, 1000, 40959])
def test_missing_bytes_are_noticed(radiograph, limb, missing):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.PixelData = dataset.PixelData[:-missing]
    with pytest.raises(UnreadableImageError, match=rf"truncated: {40960 - missing} of 40960 bytes"):
        decode(dataset)


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_codestreams_are_noticed(radiograph, limb, syntax, share, refit):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.compress(syntax, generate_instance_uid=False)
    refit(dataset, lambda frame: frame[: int(len(frame) * share) // 2 * 2])
    with pytest.raises(UnreadableImageError, match=r"truncated|damaged|cannot be decoded"):
        decode(dataset)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_jpegs_are_noticed(baseline, radiograph, limb, share, compressed_by_gdcm, refit):
    def cut(frame):
        return frame[: int(len(frame) * share) // 2 * 2]

    lossless = compressed_by_gdcm(radiograph(limb(), BitsStored=12), uid.JPEGLosslessSV1)
    for dataset in (baseline()[0], lossless):
        with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
            decode(refit(dataset, cut))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_unreadable_wherever_it_breaks_off(radiograph, save, limb, share):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    content = save(dataset).read_bytes()
    with pytest.raises(UnreadableImageError):
        decode(read_part10(content[: int(len(content) * share)]))


@pytest.mark.parametrize("syntax", [*ENCODERS, uid.JPEGLosslessSV1, uid.JPEGBaseline8Bit])
def test_flipped_bits_never_raise_anything_else(radiograph, baseline, limb, syntax, capfd, compressed_by_gdcm):
    dataset = radiograph(limb(64, 64), BitsStored=12)
    if syntax == uid.JPEGBaseline8Bit:
        dataset = baseline()[0]
    elif syntax == uid.JPEGLosslessSV1:
        dataset = compressed_by_gdcm(dataset, syntax)
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    original = dataset.PixelData
    random = np.random.default_rng(7)
    for _ in range(25):
        content = bytearray(original)
        for position in random.integers(8, len(content), 6):
            content[position] = random.integers(256)
        dataset.PixelData = bytes(content)
        try:
            assert decode(dataset).values.shape == (dataset.Rows, dataset.Columns)
        except UnreadableImageError as error:
            assert "\n" not in error.message  # noqa: PT017 - not every flip is noticed
    capfd.readouterr()  # what the C libraries say


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PixelData": None}, "there is no pixel data"),
        ({"PixelData": b""}, "there is no pixel data"),
        ({"Rows": None}, "no valid Rows"),
        ({"Rows": 0, "Columns": 0}, "no valid Rows, Columns"),
        ({"SamplesPerPixel": None}, "no valid SamplesPerPixel"),
        ({"BitsStored": 17}, "17 bits stored in 16"),
        ({"BitsAllocated": 64, "BitsStored": 64}, "64 bits stored in 64"),
        ({"BitsStored": 12, "HighBit": 16}, "high bit 16"),
        ({"BitsStored": 12, "HighBit": 3}, "high bit 3"),
        ({"PixelRepresentation": None}, "signed"),
        ({"PixelRepresentation": 2}, "signed"),
        ({"PhotometricInterpretation": None}, "photometric"),
        ({"PhotometricInterpretation": "SEPIA"}, "cannot be decoded"),
        ({"SamplesPerPixel": 4}, "truncated"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "12 bits stored in 12"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels is larger"),
        ({"Rows": 161}, "truncated"),
        ({"Rows": 100}, "describes an image of 25600 bytes, the pixel data has 40960"),
        ({"NumberOfFrames": 100}, "truncated"),
    ],
)
def test_headers_that_cannot_be_true_are_refused_with_the_reason(radiograph, limb, change, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode(radiograph(limb(), **change))


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_a_header_of_other_size_than_its_codestream_is_refused(radiograph, limb, syntax):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.Rows = 100
    with pytest.raises(UnreadableImageError, match=r"128 x 100 pixels, the .* 128 x 160"):
        decode(dataset)


def test_a_codestream_of_other_samples_than_its_header_is_refused(radiograph):
    dataset = radiograph(np.zeros((8, 8, 3), np.uint8))
    dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    dataset.SamplesPerPixel = 1
    with pytest.raises(UnreadableImageError, match="1 samples a pixel, the JPEG-LS lossless pixel data 3"):
        decode(dataset)


def test_a_codestream_that_claims_to_be_huge_is_refused_before_it_is_decoded(radiograph, limb, refit):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.compress(uid.JPEG2000Lossless, generate_instance_uid=False)

    def grow(frame):
        start = frame.find(b"\xff\x51") + 6
        return frame[:start] + (60000).to_bytes(4, "big") * 2 + frame[start + 8 :]

    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="60000 x 60000"):
        decode(refit(dataset, grow))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_rle_that_unpacks_to_more_than_the_image_is_refused(radiograph):
    dataset = radiograph(np.zeros((8, 8), np.uint8), syntax=uid.RLELossless)
    segment = b"\x81\x00" * 100000  # each pair unpacks to 128 bytes
    dataset.PixelData = encapsulate([(1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + segment])
    with pytest.raises(UnreadableImageError, match="RLE pixel data is too long"):
        decode(dataset)
