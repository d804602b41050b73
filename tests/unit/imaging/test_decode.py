import io
import tracemalloc
import zlib
from itertools import product

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging import decode as module
from triage_agent.imaging.decode import decode, read_header, read_part10, syntax_in_words

NATIVE = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
ENCODERS = [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
GDCM_SYNTAXES = {
    uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    uid.JPEGExtended12Bit: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
}


def compressed_by_gdcm(path, syntax):
    """The file in another coding, as GDCM writes it."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(GDCM_SYNTAXES[syntax]))
    change.SetForce(True)  # noqa: FBT003 - SWIG has no names
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.PixmapToPixmap().GetOutput() if hasattr(change, "PixmapToPixmap") else change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    return read_part10(path)


@pytest.fixture
def baseline(radiograph, limb):
    """A JPEG baseline image as Pillow writes it, and what it shows."""

    def build(quality=95):
        pixels = limb(bits=8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        dataset = radiograph(pixels, syntax=uid.JPEGBaseline8Bit, PixelData=encapsulate([stream.getvalue()]))
        dataset["PixelData"].is_undefined_length = True
        return dataset, pixels

    return build


def refit(dataset, change):
    """Encapsulate the first frame anew after `change`."""
    frame = bytes(change(get_frame(dataset.PixelData, 0, number_of_frames=1)))
    dataset.PixelData = encapsulate([frame])
    return dataset


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
def test_jpeg_lossless_comes_back(radiograph, save, limb, syntax, bits):
    pixels = limb(bits=bits)
    dataset = compressed_by_gdcm(save(radiograph(pixels, BitsStored=bits)), syntax)
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


def test_12_bit_jpeg_extended_comes_near(radiograph, save, limb, capfd):
    pixels = limb()
    dataset = compressed_by_gdcm(save(radiograph(pixels, BitsStored=12)), uid.JPEGExtended12Bit)
    decoded = decode(dataset)
    capfd.readouterr()  # libjpeg's remark
    assert decoded.values.dtype == np.uint16
    assert np.abs(decoded.values.astype(int) - pixels).mean() < 40
    assert decoded.values.max() > 3000


def test_damaged_12_bit_jpeg_extended_is_unreadable(radiograph, save, limb, capfd):
    dataset = compressed_by_gdcm(save(radiograph(limb(), BitsStored=12)), uid.JPEGExtended12Bit)
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


@pytest.mark.parametrize("missing", [1, 2, 1000, 40959])
def test_missing_bytes_are_noticed(radiograph, limb, missing):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.PixelData = dataset.PixelData[:-missing]
    with pytest.raises(UnreadableImageError, match=rf"truncated: {40960 - missing} of 40960 bytes"):
        decode(dataset)


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_codestreams_are_noticed(radiograph, limb, syntax, share):
    dataset = radiograph(limb(), BitsStored=12)
    dataset.compress(syntax, generate_instance_uid=False)
    refit(dataset, lambda frame: frame[: int(len(frame) * share) // 2 * 2])
    with pytest.raises(UnreadableImageError, match=r"truncated|damaged|cannot be decoded"):
        decode(dataset)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_jpegs_are_noticed(baseline, radiograph, save, limb, share):
    def cut(frame):
        return frame[: int(len(frame) * share) // 2 * 2]

    lossless = compressed_by_gdcm(save(radiograph(limb(), BitsStored=12)), uid.JPEGLosslessSV1)
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
def test_flipped_bits_never_raise_anything_else(radiograph, baseline, save, limb, syntax, capfd):
    dataset = radiograph(limb(64, 64), BitsStored=12)
    if syntax == uid.JPEGBaseline8Bit:
        dataset = baseline()[0]
    elif syntax == uid.JPEGLosslessSV1:
        dataset = compressed_by_gdcm(save(dataset), syntax)
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


def test_a_codestream_that_claims_to_be_huge_is_refused_before_it_is_decoded(radiograph, limb):
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


def test_a_deflated_bomb_is_refused_before_it_is_inflated(radiograph, save, limb, monkeypatch):
    monkeypatch.setattr(module, "MAX_INFLATED", 1 << 20)
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
