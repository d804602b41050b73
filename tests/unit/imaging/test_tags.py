import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging import tags


def raw(keyword, vr, value):
    header = Dataset()
    tag = Tag(keyword)
    header._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)  # noqa: FBT003 - a tuple
    return header


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DS", b"1.5", (1.5,)),
        ("DS", b"1\\2", (1.0, 2.0)),
        ("DS", b"abc", ()),
        ("DS", b"nan", ()),
        ("DS", b"1e400", ()),
        ("DS", b"1\\x", ()),
        ("DS", b"", ()),
    ],
)
def test_numbers_are_all_finite_or_none_at_all(vr, value, expected):
    assert tags.numbers(raw("WindowCenter", vr, value), "WindowCenter") == expected


def test_absent_values_are_empty():
    header = Dataset()
    assert tags.values(header, "Rows") == ()
    assert tags.text(header, "Modality") == ""
    assert tags.number(header, "WindowCenter") is None
    assert tags.integer(header, "Rows") is None
    assert tags.items(header, "VOILUTSequence") == ()


def test_text_is_stripped_and_positions_are_kept():
    header = raw("ImageType", "CS", b"ORIGINAL\\ \\AXIAL \x00")
    assert tags.texts(header, "ImageType") == ("ORIGINAL", "", "AXIAL")


def test_text_is_printable():
    header = raw("SOPClassUID", "LO", b"1.2\x1b[31m.3\xa0\x00")
    assert tags.text(header, "SOPClassUID") == "1.2[31m.3"


def test_half_numbers_are_no_integers():
    assert tags.integer(raw("WindowCenter", "DS", b"1.5"), "WindowCenter") is None


def test_a_short_binary_value_is_absent():
    assert tags.values(raw("Rows", "US", b"\x01"), "Rows") == ()


@pytest.mark.parametrize("vr", ["UN", "SQ", "OB"])
def test_a_sequence_that_is_none_has_no_items(vr):
    assert tags.items(raw("VOILUTSequence", vr, b"rubbish"), "VOILUTSequence") == ()


def test_uids_that_are_none_keep_their_text_and_warn_nobody():
    assert tags.uid_name("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert tags.uid_name("not a uid") == "not a uid"


@pytest.mark.parametrize(
    "error", [ValueError("x"), MemoryError(), RecursionError("deep"), OSError(2, "gone"), KeyError(1)]
)
def test_every_exception_becomes_a_reason(error):
    with pytest.raises(UnreadableImageError, match="broken") as caught, tags.unreadable_on_failure("broken"):
        raise error
    assert caught.value.__cause__ is error


def test_reasons_are_not_wrapped_twice():
    with pytest.raises(UnreadableImageError) as caught, tags.unreadable_on_failure("outer"):
        raise UnreadableImageError("inner")
    assert caught.value.message == "inner"


def test_interrupts_pass():
    with pytest.raises(KeyboardInterrupt), tags.unreadable_on_failure("broken"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\n  last\n\n"), "last"),
        (ValueError("a\x1b[31mb\x00"), "a[31mb"),
        (ValueError(), "ValueError"),
        (TypeError("NoneType is not iterable"), "TypeError"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("x" * 500), "x" * 159 + "…"),
    ],
)
def test_errors_become_one_printable_line(error, line):
    assert tags.one_line(error) == line


def test_byte_order_is_little_unless_the_file_says_otherwise():
    header = Dataset()
    assert tags.is_little_endian(header)
    header.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    assert not tags.is_little_endian(header)
