import io
from itertools import product

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.decode import decode, syntax_in_words
from triage_agent.imaging.part10 import read_part10

NATIVE = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
ENCODERS = [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]


@pytest.mark.parametrize(
    ("syntax", "dtype"), list(product(NATIVE, [np.uint8, np.int8, np.uint16, np.int16, np.uint32]))
)
def test_uncompressed_values_come_back(radiograph, save, syntax, dtype):
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(info.min, info.max, (7, 9), dtype, endpoint=True)
    decoded = decode(read_part10(save(radiograph(pixels, syntax=syntax))))
    assert decoded.values.dtype == dtype
    assert decoded.values.dtype.isnative
    assert (decoded.values == pixels).all()


def test_8_bit_pixels_written_as_big_endian_words_come_back(radiograph):
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    dataset = radiograph(pixels, syntax=uid.ExplicitVRBigEndian)
    dataset.PixelData = pixels.reshape(-1).view(">u2").astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    assert (decode(dataset).values == pixels).all()


def test_deflated_files_come_back(radiograph, save, limb):
    pixels = limb()
    path = save(radiograph(pixels, syntax=uid.DeflatedExplicitVRLittleEndian, BitsStored=12))
    assert (decode(read_part10(path)).values == pixels).all()
    assert (decode(read_part10(path.read_bytes())).values == pixels).all()


@pytest.mark.parametrize(("syntax", "bits"), list(product(ENCODERS, [8, 10, 12, 16])))
def test_lossless_codings_come_back(radiograph, save, limb, syntax, bits):
    pixels = limb(bits=bits)
    dataset = radiograph(pixels, BitsStored=bits)
    dataset.compress(syntax, generate_instance_uid=False)
    assert (decode(read_part10(save(dataset))).values == pixels).all()


@pytest.mark.parametrize("syntax", ENCODERS)
def test_signed_lossless_codings_come_back(radiograph, save, limb, syntax):
    pixels = limb().astype(np.int16) - 2048
    dataset = radiograph(pixels, BitsStored=12)
    dataset.compress(syntax, generate_instance_uid=False)
    assert (decode(read_part10(save(dataset))).values == pixels).all()


@pytest.mark.parametrize(("syntax", "bits"), list(product([uid.JPEGLosslessSV1, uid.JPEGLossless], [8, 12, 16])))
def test_jpeg_lossless_comes_back(radiograph, limb, syntax, bits, compressed_by_gdcm):
    pixels = limb(bits=bits)
    dataset = compressed_by_gdcm(radiograph(pixels, BitsStored=bits), syntax)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert (decode(dataset).values == pixels).all()


@pytest.mark.parametrize(
    ("syntax", "options", "tolerance"),
    [(uid.JPEGLSNearLossless, {"jls_error": 3}, 3), (uid.JPEG2000, {"j2k_psnr": [70]}, 40)],
)
def test_lossy_codings_come_near(radiograph, save, limb, syntax, options, tolerance):
    pixels = limb()
    dataset = radiograph(pixels, BitsStored=12)
    dataset.compress(syntax, generate_instance_uid=False, **options)
    difference = decode(read_part10(save(dataset))).values.astype(int) - pixels
    assert np.abs(difference).max() <= tolerance


def test_jpeg_baseline_comes_near(baseline):
    dataset, pixels = baseline()
    assert np.abs(decode(dataset).values.astype(int) - pixels).max() <= 12


def test_colour_jpeg_baseline_keeps_its_luminance(radiograph):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = (255, 0, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100, subsampling=0)
    dataset = radiograph(
        pixels,
        syntax=uid.JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL_422",
        PixelData=encapsulate([stream.getvalue()]),
    )
    decoded = decode(dataset)
    assert decoded.photometric.startswith("YBR")
    assert decoded.values[10, 10, 0] == pytest.approx(76, abs=2)


def test_12_bit_jpeg_extended_comes_near(radiograph, limb, capfd, compressed_by_gdcm):
    pixels = limb()
    dataset = compressed_by_gdcm(radiograph(pixels, BitsStored=12), uid.JPEGExtended12Bit)
    decoded = decode(dataset)
    capfd.readouterr()  # libjpeg's remark
    assert decoded.values.dtype == np.uint16
    assert np.abs(decoded.values.astype(int) - pixels).mean() < 40
    assert decoded.values.max() > 3000


def test_damaged_12_bit_jpeg_extended_is_unreadable(radiograph, limb, capfd, compressed_by_gdcm, refit):
    dataset = compressed_by_gdcm(radiograph(limb(), BitsStored=12), uid.JPEGExtended12Bit)
    refit(dataset, lambda frame: frame[:300] + frame[-2:])
    with pytest.raises(UnreadableImageError, match="JPEG extended"):
        decode(dataset)
    capfd.readouterr()


def test_colour_12_bit_jpeg_extended_is_unreadable(radiograph):
    frame = bytes.fromhex("ffd8ffc1001" + "10c0008000803") + bytes(9) + bytes.fromhex("ffda0002ffd9")
    dataset = radiograph(np.zeros((8, 8, 3), np.uint16), syntax=uid.JPEGExtended12Bit, PixelData=encapsulate([frame]))
    with pytest.raises(UnreadableImageError, match=r"JPEG extended \(12 bit\)"):
        decode(dataset)


@pytest.mark.parametrize(
    ("frames", "expected"), [(1, 0), (2, 0), (3, 1), (5, 2), (8, 3)], ids=lambda value: f"frames{value}"
)
@pytest.mark.parametrize("compress", [False, True])
def test_the_middle_frame_is_taken(radiograph, frames, expected, compress):
    pixels = np.stack([np.full((16, 16), 10 + frame, np.uint8) for frame in range(frames)])
    dataset = radiograph(pixels)
    if compress:
        dataset.compress(uid.RLELossless, generate_instance_uid=False)
    decoded = decode(dataset)
    assert (decoded.frame, decoded.frames) == (expected, frames)
    assert (decoded.values == 10 + expected).all()


def test_overlay_bits_above_the_stored_ones_are_removed(radiograph):
    pixels = np.array([[5, 4095]], np.uint16)
    assert decode(radiograph(pixels | 0x8000, BitsStored=12)).values.tolist() == pixels.tolist()


def test_values_stored_in_the_high_bits_are_moved_down(radiograph):
    pixels = np.array([[5, 4095]], np.uint16)
    decoded = decode(radiograph(pixels << 4, BitsStored=12, HighBit=15))
    assert decoded.values.tolist() == pixels.tolist()


def test_a_high_bit_that_the_values_contradict_is_ignored(radiograph):
    pixels = np.array([[5, 4095]], np.uint16)
    assert decode(radiograph(pixels, BitsStored=12, HighBit=15)).values.tolist() == pixels.tolist()


def test_surplus_bytes_are_tolerated(radiograph, limb):
    pixels = limb()
    dataset = radiograph(pixels, BitsStored=12)
    dataset.PixelData += bytes(100)
    assert (decode(dataset).values == pixels).all()


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.840.10008.1.2.4.94", "JPIP"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("1.2.840.10008.1.1", "Verification"),
        ("", "an unnamed encoding"),
    ],
)
def test_codings_without_a_decoder_are_named(radiograph, limb, syntax, words):
    with pytest.raises(UnreadableImageError, match=f"pixel data coded as .*{words}.* cannot be decoded"):
        decode(radiograph(limb(), syntax=syntax))


def test_transfer_syntaxes_have_names_that_people_use():
    assert syntax_in_words(uid.JPEGExtended12Bit) == "JPEG extended (12 bit)"
    assert syntax_in_words(uid.ExplicitVRLittleEndian) == "uncompressed"
