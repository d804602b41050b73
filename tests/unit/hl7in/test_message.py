"""Messages as they come: their delimiters, escapes, character sets and line ends."""

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hl7 import MSH, build

from triage_agent.hl7in.message import InvalidMessageError, parse

PID = "PID|||7^^^ADT&1.2&ISO||{name}"


def of(name, **header):
    return parse(build(PID.format(name=name), kind="ADT^A08", **header)).first("PID")


def test_fields_components_subcomponents_and_repetitions_are_found():
    pid = parse(build("PID|||1^^^A&1.2&ISO~2^^^B", kind="ADT^A08")).first("PID")
    assert [each.text(4) for each in pid.repetitions(3)] == ["A", "B"]
    assert pid.repetitions(3)[0].text(4, 2) == "1.2"
    assert pid.text(3, 9) is None
    assert pid.text(99) is None


def test_the_header_counts_its_separator_as_the_first_field():
    message = parse(build("PID", kind="ADT^A08^ADT_A01", control_id="C9"))
    assert (message.header.raw(1), message.control_id, message.kind, message.sender) == (
        "|",
        "C9",
        ("ADT", "A08"),
        "RIS^HOSPITAL",
    )


def test_nothing_is_said_by_an_empty_field_and_struck_out_by_two_quotes():
    pid = of('""^Jane')
    assert (pid.text(5), pid.text(5, 2), pid.text(5, 3), pid.text(8)) == ("", "Jane", None, None)


@pytest.mark.parametrize(
    ("escaped", "meant"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e", "a|b^c&d~e"),
        ("a\\E\\b", "a/b"),  # no DICOM value may have a backslash
        ("a\\.br\\b", "a b"),
        ("a\\X0D\\b", "a b"),
        ("a\\X41\\b", "aAb"),
        ("a\\H\\b\\N\\c", "abc"),
        ("a\\Zsite\\b", "ab"),
        ("a\\Xnonsense\\b", "ab"),
        ("open \\ end", "open / end"),
    ],
)
def test_escapes_mean_what_the_standard_says(escaped, meant):
    assert of(escaped).text(5) == meant


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("UNICODE UTF-8", "utf-8", "Żółć"),
        ("", "utf-8", "Müller"),
        ("", "latin-1", "Müller"),
        ("ASCII", "utf-8", "Müller"),
        ("8859/1", "latin-1", "Müller"),
        ("8859/2", "iso8859_2", "Żółć"),
        ("8859/15", "iso8859_15", "Œ€"),
        ("8859/1", "utf-8", "Ω \u2013 ä"),  # stated wrongly, as some interfaces do
        ("UNICODE UTF-8", "latin-1", "Müller"),
        ("~ISO IR87", "iso2022_jp", "山田"),
        ("GB 18030-2000", "gb18030", "王小东"),
        ("nonsense", "utf-8", "Müller"),
    ],
)
def test_text_is_read_by_its_character_set_or_by_what_its_bytes_are(charset, codec, name):
    assert of(name, charset=charset, codec=codec).text(5) == name


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\n\r\n"])
def test_any_line_end_ends_a_segment(end):
    body = build("PID|||7", "PV1||E", kind="ADT^A08").replace(b"\r", end.encode())
    message = parse(body)
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1"]


def test_other_delimiters_are_honoured():
    message = parse(b"MSH#*~\\&#RIS#H#####ADT*A08#1#P#2.5\rPID###7***A\r")
    assert (message.kind, message.first("PID").text(3), message.first("PID").text(3, 4)) == (("ADT", "A08"), "7", "A")


@pytest.mark.parametrize("frame", [b"", b"MSH", b"MSH\rPID|1|2", b"PID|1", b"MSHxabc", b"MSH|abcd|", b"\xff\xfe"])
def test_what_is_no_message_is_refused(frame):
    with pytest.raises(InvalidMessageError):
        parse(frame)


def test_segments_without_end_are_refused():
    with pytest.raises(InvalidMessageError, match="too many"):
        parse(MSH.format(kind="ADT^A08", control_id=1, version="2.5", charset="").encode() + b"\rA" * 6000)


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"], max_codepoint=255), min_size=1, max_size=30
    )
)
def test_what_an_independent_library_escapes_is_read_back(text):
    container = hl7.parse(build("PID", kind="ADT^A08").decode())
    pid = of(container.escape(text))
    assert (pid.text(5) or "") == text.replace("\\", "/").strip()
