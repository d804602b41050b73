import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.decode import decode
from triage_agent.imaging.display import to_display
from triage_agent.imaging.part10 import read_part10


@pytest.fixture
def show(radiograph):
    """The display values of an array under a header."""

    def render(pixels, **attributes):
        dataset = radiograph(pixels, **attributes)
        return to_display(decode(dataset), dataset).image

    return render


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_an_8_bit_image_for_presentation_is_shown_as_it_is(show):
    image = show(RAMP)
    assert image.dtype == np.float32
    assert image.ravel() == pytest.approx(np.arange(256) / 255)


def test_bits_stored_and_not_bits_allocated_span_the_full_range(show):
    image = show(np.array([[0, 1023, 2047, 4095]], np.uint16), BitsStored=12)
    assert image[0] == pytest.approx([0, 1023 / 4095, 2047 / 4095, 1])


def test_signed_images_span_their_own_range(show):
    image = show(np.array([[-2048, 0, 2047]], np.int16), BitsStored=12)
    assert image[0] == pytest.approx([0, 2048 / 4095, 1])


def test_a_window_is_applied_to_rescaled_values(show):
    image = show(
        np.array([[0, 1000, 1024, 1050, 2000]], np.uint16),
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=0.5,
        WindowWidth=101,
    )
    assert image[0] == pytest.approx([0, (-24 + 50) / 100, 0.5, (26 + 50) / 100, 1])


def test_a_negative_slope_turns_the_full_range_round(show):
    image = show(np.array([[0, 51, 255]], np.uint8), RescaleSlope=-1, RescaleIntercept=255)
    assert image[0] == pytest.approx([1, 0.8, 0])


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "LIN OD", True),
    ],
)
def test_inversion_happens_once_and_the_presentation_shape_decides(show, photometric, shape, inverted):
    attributes = {"PhotometricInterpretation": photometric}
    if shape:
        attributes["PresentationLUTShape"] = shape
    image = show(np.array([[0, 64, 255]], np.uint8), **attributes)
    expected = np.array([0, 64 / 255, 1])
    assert image[0] == pytest.approx(1 - expected if inverted else expected)


def test_inversion_comes_after_the_window(show):
    image = show(RAMP, PhotometricInterpretation="MONOCHROME1", WindowCenter=50, WindowWidth=100)
    assert image.ravel()[:101:50] == pytest.approx([1, 1 - 50 / 99 + 0, 0], abs=0.01)
    assert image.ravel()[200] == 0


def test_padding_is_black_also_where_low_is_white(show):
    image = show(np.array([[0, 10, 255]], np.uint8), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    assert image[0] == pytest.approx([0, 1 - 10 / 255, 0])


def test_a_padding_range_is_black(show):
    image = show(np.array([[0, 9, 250, 252, 255]], np.uint8), PixelPaddingValue=255, PixelPaddingRangeLimit=250)
    assert image[0] == pytest.approx([0, 9 / 255, 0, 0, 0])


def test_padding_of_signed_pixels_may_be_written_unsigned(show):
    image = show(np.array([[-2000, -1000, 1000]], np.int16), PixelPaddingValue=63536, WindowCenter=0, WindowWidth=10000)
    assert image[0, 0] == 0
    assert image[0, 1] > 0.3


def test_raw_data_without_a_window_is_stretched_between_percentiles(show):
    pixels = np.linspace(1000, 2000, 10000).astype(np.uint16).reshape(100, 100)
    pixels[0, 0], pixels[-1, -1] = 0, 65535  # a dead pixel and a hot one must not decide
    image = show(pixels, PresentationIntentType="FOR PROCESSING")
    assert image[0, 0] == 0
    assert image[-1, -1] == 1
    assert image[50, 50] == pytest.approx(0.5, abs=0.02)
    assert 0.004 < np.mean(image == 0) < 0.011


def test_padding_does_not_count_for_the_percentiles(show):
    pixels = np.linspace(1000, 2000, 10000).astype(np.uint16).reshape(100, 100)
    plain = show(pixels, PresentationIntentType="FOR PROCESSING")
    padded = np.pad(pixels, ((200, 200), (0, 0)), constant_values=60000)
    image = show(padded, PresentationIntentType="FOR PROCESSING", PixelPaddingValue=60000)
    assert image[200:300] == pytest.approx(plain)
    assert not image[:200].any()


def test_percentiles_follow_values_also_where_the_slope_is_negative(show):
    pixels = np.linspace(0, 4000, 10000).astype(np.uint16).reshape(100, 100)
    image = show(pixels, PresentationIntentType="FOR PROCESSING", RescaleSlope=-1, RescaleIntercept=4000)
    assert image[0, 0] == 1
    assert image[-1, -1] == 0


def test_computed_radiography_of_more_than_8_bits_without_a_window_is_stretched(show):
    pixels = np.linspace(1000, 2000, 10000).astype(np.uint16).reshape(100, 100)
    image = show(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.1", BitsStored=12)
    assert (image.min(), image.max()) == (0, 1)


def test_a_constant_raw_image_is_black_and_no_division_by_zero(show):
    assert not show(np.full((9, 9), 77, np.uint16), PresentationIntentType="FOR PROCESSING").any()


def test_an_invalid_window_is_as_good_as_none(show):
    assert show(RAMP, WindowCenter=10, WindowWidth=0).ravel() == pytest.approx(np.arange(256) / 255)


def test_a_voi_table_wins_over_a_window(show, lookup_item):
    table = lookup_item((256, 0, 8), bytes(reversed(range(256))))
    image = show(RAMP, VOILUTSequence=table, WindowCenter=128, WindowWidth=256)
    assert image.ravel() == pytest.approx(np.arange(255, -1, -1) / 255)


def test_a_damaged_voi_table_leaves_the_window(show, lookup_item):
    image = show(RAMP, VOILUTSequence=lookup_item((256, 0, 8), bytes(10)), WindowCenter=128, WindowWidth=256)
    assert image.ravel() == pytest.approx(np.arange(256) / 255)


def test_a_10_bit_voi_table_uses_its_own_range(show, lookup_item):
    data = np.linspace(0, 1023, 4096).astype("<u2")
    image = show(
        np.array([[0, 2048, 4095]], np.uint16), BitsStored=12, VOILUTSequence=lookup_item((4096, 0, 10), data.tobytes())
    )
    assert image[0] == pytest.approx([0, data[2048] / 1023, 1])


def test_a_modality_table_feeds_the_window(show, lookup_item):
    table = lookup_item((4, 100, 16), [0, 1000, 2000, 4000], "US")
    image = show(
        np.array([[0, 100, 101, 102, 103, 200]], np.uint16),
        ModalityLUTSequence=table,
        WindowCenter=2000.5,
        WindowWidth=4001,
    )
    assert image[0] == pytest.approx([0, 0, 0.25, 0.5, 1, 1])


def test_a_damaged_modality_table_makes_the_values_meaningless(show, lookup_item):
    with pytest.raises(UnreadableImageError, match="modality lookup table"):
        show(RAMP, ModalityLUTSequence=lookup_item((256, 0, 16), bytes(3)))


def test_big_endian_files_give_the_same_picture(show, save, radiograph, lookup_item):
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    table = lookup_item((4096, 0, 16), np.arange(0, 65536, 16, dtype=">u2").tobytes())
    dataset = radiograph(pixels, syntax=ExplicitVRBigEndian, BitsStored=12, VOILUTSequence=table)
    read = read_part10(save(dataset))
    image = to_display(decode(read), read).image
    assert image.ravel() == pytest.approx(np.arange(4096) * 16 / 65535)


def test_32_bit_pixels_go_the_long_way_round_to_the_same_result(show):
    image = show(np.array([[0, 1 << 20, (1 << 20) + 100]], np.uint32), WindowCenter=(1 << 20) + 50.5, WindowWidth=101)
    assert image[0] == pytest.approx([0, 0, 1])


def test_colour_becomes_luminance(show):
    image = show(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8))
    assert image[0] == pytest.approx([0.299, 0.587, 0.114, 1], abs=1e-6)


def test_the_luminance_of_ybr_is_its_y(show):
    pixels = np.array([[[0, 128, 128], [100, 20, 220], [255, 128, 128]]], np.uint8)
    assert show(pixels, PhotometricInterpretation="YBR_FULL")[0] == pytest.approx([0, 100 / 255, 1])


def test_subsampled_ybr_is_expanded(radiograph):
    pixels = np.array([[[10, 0, 0], [200, 0, 0]]], np.uint8)
    dataset = radiograph(pixels, PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = bytes([10, 200, 99, 77])  # Y1 Y2 B R
    image = to_display(decode(dataset), dataset).image
    assert image[0] == pytest.approx([10 / 255, 200 / 255])


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colours_become_luminance(show, bits):
    top = (1 << bits) - 1
    palettes = {"Red": [0, top, 0, 0], "Green": [0, 0, top, 0], "Blue": [0, 0, 0, top]}
    attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, entries in palettes.items():
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        data = np.array(entries, np.uint8 if bits == 8 else "<u2").tobytes()
        attributes[f"{colour}PaletteColorLookupTableData"] = data
    image = show(np.array([[0, 1, 2, 3, 200]], np.uint8), **attributes)
    assert image[0] == pytest.approx([0, 0.299, 0.587, 0.114, 0.114], abs=1e-6)


def test_a_missing_palette_is_unreadable(show):
    with pytest.raises(UnreadableImageError, match="palette"):
        show(RAMP, PhotometricInterpretation="PALETTE COLOR")


def test_monochrome_of_three_samples_is_unreadable(show):
    with pytest.raises(UnreadableImageError, match="several samples"):
        show(np.zeros((8, 8, 3), np.uint8), PhotometricInterpretation="MONOCHROME2")


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (200, 80)),
        ({"PixelSpacing": [0.1, 0.2]}, (100, 160)),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, (100, 80)),
        ({"PixelAspectRatio": [2, 1]}, (200, 80)),
        ({"PixelAspectRatio": [1, 1]}, (100, 80)),
        ({"PixelAspectRatio": [0, 1]}, (100, 80)),
        ({"PixelSpacing": [0.1, 9.0]}, (100, 80)),
        ({"PixelSpacing": [0.1, 0.1], "PixelAspectRatio": [2, 1]}, (100, 80)),
    ],
)
def test_pixels_become_square(show, attributes, shape):
    y, x = np.mgrid[:100, :80]
    image = show((y + x).astype(np.uint8), **attributes)
    assert image.shape == shape
    assert image.flags.c_contiguous
    assert (image.min(), image.max()) == pytest.approx((0, 178 / 255), abs=0.01)


def test_resampling_keeps_a_gradient_straight(show):
    y, _ = np.mgrid[:100, :80]
    image = show((2 * y).astype(np.uint8), PixelSpacing=[0.2, 0.1])
    assert np.diff(image[2:-2, 0]) == pytest.approx(np.full(195, 1 / 255), abs=1e-6)
