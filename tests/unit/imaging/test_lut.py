import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from triage_agent.imaging import lut

CENTERS = st.floats(-5000, 5000)
WIDTHS = st.floats(1, 10000)


def values(*numbers):
    return np.array(numbers, np.float64)


def test_linear_follows_the_standards_pseudo_code():
    # PS3.3 C.11.2.1.2.1 gives c=2048, w=4096 on 12 bits: 0 to 0, 4095 to the maximum, the middle between.
    output = lut.linear(values(-1, 0, 1, 2047, 2048, 4095, 4096), 2048, 4096)
    assert output == pytest.approx([0, 0, 1 / 4095, 2047 / 4095, 2048 / 4095, 1, 1])


def test_linear_takes_the_standards_second_example():
    # c=-100, w=100: x <= -150 is black, x > -51 is white.
    output = lut.linear(values(-151, -150, -149, -100, -52, -51, -50), -100, 100)
    assert output == pytest.approx([0, 0, 1 / 99, 50 / 99, 98 / 99, 1, 1])


def test_linear_of_width_one_is_a_threshold_half_below_the_centre():
    assert lut.linear(values(98, 99, 99.5, 99.6, 100), 100, 1) == pytest.approx([0, 0, 0, 1, 1])


def test_linear_of_width_two_has_one_grey_in_the_middle():
    assert lut.linear(values(98, 99, 99.5, 100, 101), 100, 2) == pytest.approx([0, 0, 0.5, 1, 1])


def test_linear_exact_uses_centre_and_width_as_they_are():
    output = lut.linear_exact(values(-1, 0, 1, 50, 99, 100, 101), 50, 100)
    assert output == pytest.approx([0, 0, 0.01, 0.5, 0.99, 1, 1])


def test_sigmoid_is_half_at_the_centre_and_symmetric():
    output = lut.sigmoid(values(-1e9, 1948, 2048, 2148, 1e9), 2048, 400)
    assert output == pytest.approx([0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])


def test_stretch_clips_and_survives_an_empty_range():
    assert lut.stretch(values(-1, 0, 5, 10, 11), 0, 10) == pytest.approx([0, 0, 0.5, 1, 1])
    assert lut.stretch(values(1, 2), 3, 3) == pytest.approx([0, 0])


@settings(max_examples=40, deadline=None)  # a busy machine is no failure
@given(function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]), center=CENTERS, width=WIDTHS)
def test_every_window_rises_from_black_to_white(function, center, width):
    x = np.linspace(center - 2 * width, center + 2 * width, 257)
    y = lut.Window(function, center, width).apply(x)
    assert (np.diff(y) >= 0).all()
    assert y.min() >= 0
    assert y.max() <= 1
    assert y[0] < 0.01
    assert y[-1] > 0.99


@settings(max_examples=40, deadline=None)  # a busy machine is no failure
@given(entries=st.lists(st.integers(0, 65535), min_size=1, max_size=50), first=st.integers(-100, 100))
def test_a_rising_table_stays_rising(entries, first):
    table = lut.Table(first, np.array(sorted(entries), np.uint16), 65535)
    assert (np.diff(table.apply(np.arange(-200.0, 200.0))) >= 0).all()


def test_a_table_repeats_its_first_and_last_entry_outside():
    table = lut.Table(10, np.array([5, 6, 7], np.uint16), 255)
    assert table.apply(values(0, 10, 11, 12, 13, 99)).tolist() == [5, 5, 6, 7, 7, 7]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"WindowCenter": 100, "WindowWidth": 50}, lut.Window("LINEAR", 100, 50)),
        ({"WindowCenter": [100, 200], "WindowWidth": [50, 60]}, lut.Window("LINEAR", 100, 50)),
        ({"WindowCenter": [100, 200], "WindowWidth": [0, 60]}, lut.Window("LINEAR", 200, 60)),
        ({"WindowCenter": 1, "WindowWidth": 2, "VOILUTFunction": "SIGMOID"}, lut.Window("SIGMOID", 1, 2)),
        ({"WindowCenter": 1, "WindowWidth": 0}, None),
        ({"WindowCenter": 1, "WindowWidth": -4}, None),
        ({"WindowCenter": 1}, None),
        ({"WindowWidth": 1}, None),
        ({"WindowCenter": [], "WindowWidth": []}, None),
        ({}, None),
    ],
)
def test_the_first_valid_window_is_taken(attributes, expected):
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    assert lut.window(header) == expected


def test_a_linear_width_below_one_is_meant_exactly():
    x = values(0.1, 0.25, 0.5, 0.75, 0.9)
    assert lut.Window("LINEAR", 0.5, 0.5).apply(x) == pytest.approx([0, 0, 0.5, 1, 1])


def test_an_unknown_function_is_taken_as_linear():
    x = np.arange(100.0)
    assert lut.Window("CUBIC", 50, 20).apply(x).tolist() == lut.linear(x, 50, 20).tolist()


@pytest.mark.parametrize(
    ("descriptor", "data", "vr", "little_endian", "first", "entries", "top"),
    [
        ((4, 0, 8), bytes([0, 1, 2, 3]), "OW", True, 0, [0, 1, 2, 3], 255),
        ((3, 0, 8), bytes([7, 8, 9, 0]), "OW", True, 0, [7, 8, 9], 255),
        ((4, 0, 8), bytes([1, 0, 3, 2]), "OW", False, 0, [0, 1, 2, 3], 255),
        ((2, 0, 8), bytes([1, 0, 255, 0]), "OW", True, 0, [1, 255], 255),
        ((2, 5, 16), bytes([1, 2, 3, 4]), "OW", True, 5, [0x0201, 0x0403], 65535),
        ((2, 5, 16), bytes([1, 2, 3, 4]), "OW", False, 5, [0x0102, 0x0304], 65535),
        ((3, -2, 12), [0, 2048, 4095], "US", True, -2, [0, 2048, 4095], 4095),
        ((3, 65534, 12), [0, 2048, 4095], "US", True, -2, [0, 2048, 4095], 4095),
        ((4, 0, 8), [0x0100, 0x0302], "US", True, 0, [0, 1, 2, 3], 255),
        ((2, 0, 10), [0, 4095], "US", True, 0, [0, 4095], 4095),
    ],
)
def test_tables_are_read_in_every_packing(lookup_item, descriptor, data, vr, little_endian, first, entries, top):
    table = lut.table(lookup_item(descriptor, data, vr)[0], negative=True, little_endian=little_endian)
    assert (table.first, table.entries.tolist(), table.top) == (first, entries, top)


def test_a_descriptor_of_0_means_65536_entries(lookup_item):
    data = np.arange(65536, dtype="<u2").tobytes()
    table = lut.table(lookup_item((0, 0, 16), data)[0], negative=False, little_endian=True)
    assert len(table.entries) == 65536
    assert table.entries[-1] == 65535


def test_a_large_first_value_stays_positive_where_inputs_cannot_be_negative(lookup_item):
    table = lut.table(lookup_item((2, 40000, 16), [1, 2], "US")[0], negative=False, little_endian=True)
    assert table.first == 40000


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [
        ((10, 0, 16), bytes(4)),
        ((10, 0, 8), bytes(4)),
        ((2, 0, 0), bytes(4)),
        ((2, 0, 20), bytes(4)),
        ((2, 0), bytes(4)),
    ],
)
def test_damaged_tables_are_none(lookup_item, descriptor, data):
    assert lut.table(lookup_item(descriptor, data)[0], negative=False, little_endian=True) is None


def test_an_item_without_data_is_no_table():
    assert lut.table(Dataset(), negative=False, little_endian=True) is None


@pytest.mark.parametrize(
    ("value", "limit", "is_signed", "allocated", "expected"),
    [
        (0, None, False, 16, (0, 0)),
        (63536, None, True, 16, (-2000, -2000)),
        (65535, None, False, 16, (65535, 65535)),
        (100, 90, False, 16, (90, 100)),
        (90, 100, False, 16, (90, 100)),
        (65526, 65535, True, 16, (-10, -1)),
    ],
)
def test_padding_is_a_range_in_the_pixels_own_sign(value, limit, is_signed, allocated, expected):
    header = Dataset()
    header.add_new("PixelPaddingValue", "US", value)
    if limit is not None:
        header.add_new("PixelPaddingRangeLimit", "US", limit)
    assert lut.padding(header, is_signed=is_signed, allocated=allocated) == expected


def test_padding_may_be_written_signed_for_unsigned_pixels():
    header = Dataset()
    header.add_new("PixelPaddingValue", "SS", -1)
    assert lut.padding(header, is_signed=False, allocated=16) == (65535, 65535)


def test_no_padding_value_is_no_padding():
    assert lut.padding(Dataset(), is_signed=False, allocated=16) is None


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [("2", "-1024", (2, -1024)), ("0", "5", (1, 0)), (None, "5", (1, 0)), ("2", None, (1, 0))],
)
def test_rescale_needs_both_and_a_slope(slope, intercept, expected):
    header = Dataset()
    if slope is not None:
        header.RescaleSlope = slope
    if intercept is not None:
        header.RescaleIntercept = intercept
    assert lut.rescale(header) == expected
