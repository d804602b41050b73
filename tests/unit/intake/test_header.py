import random
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from structlog.testing import capture_logs
from support.instances import BIG_ENDIAN, DEFLATED, DX, EXPLICIT, IMPLICIT, deflate, dx, encode, request_for

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.priorities import PriorityWords
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import Priority
from triage_agent.intake import elements, header
from triage_agent.intake.header import read_header


@pytest.fixture
def broken_data_sets():
    rng = random.Random(4)
    whole = encode(dx())
    noise = [rng.randbytes(rng.randrange(300)) for _ in range(200)]
    return noise + [bytes(byte ^ (rng.random() < 0.02) * rng.randrange(256) for byte in whole) for _ in range(200)]


def read(data_set, transfer_syntax_uid=EXPLICIT, encoded=None):
    encoded = encode(data_set, transfer_syntax_uid) if encoded is None else encoded
    return read_header(encoded, **request_for(data_set, transfer_syntax_uid))


def element(group, number, vr, value, length=None):
    """An explicit little endian element whose length need not be true."""
    length = len(value) if length is None else length
    if vr in (b"SQ", b"UN", b"OB", b"OW", b"UT"):
        return struct.pack("<HH2s2xI", group, number, vr, length) + value
    return struct.pack("<HH2sH", group, number, vr, length) + value


@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.4.70"])
def test_the_worklists_fields_are_read_in_every_encoding(transfer_syntax_uid):
    data_set = dx()
    found = read(data_set, transfer_syntax_uid)
    assert found.study_instance_uid == data_set.StudyInstanceUID
    assert found.series_instance_uid == data_set.SeriesInstanceUID
    assert found.sop_instance_uid == data_set.SOPInstanceUID
    assert (found.sop_class_uid, found.transfer_syntax_uid) == (DX, transfer_syntax_uid)
    assert (found.modality, found.patient_id, found.patient_name) == ("DX", "P1", "Doe^Jane")
    assert found.accession_number == "A1"
    assert found.requested_priority is Priority.ROUTINE


def test_a_memoryview_is_read_without_its_being_copied():
    data_set = dx()
    assert read(data_set, encoded=memoryview(bytearray(encode(data_set)))).patient_id == "P1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"StudyInstanceUID": None}, "Study Instance UID is missing"),
        ({"StudyInstanceUID": ""}, "Study Instance UID is missing"),
        ({"SOPInstanceUID": None}, "SOP Instance UID is missing"),
    ],
)
def test_a_data_set_without_its_identifiers_is_invalid(values, message):
    data_set = dx(**values)
    with pytest.raises(InvalidDatasetError, match=message):
        read_header(encode(data_set), EXPLICIT, DX, data_set.get("SOPInstanceUID", "1.2.3"))


@pytest.mark.parametrize("uid", [b"../../etc/passwd\0", b"1.02.3\0", b"1..2", b"1.2.", b"1" * 66, b"\xff\xfe"])
def test_a_study_instance_uid_that_is_no_uid_is_invalid(uid):
    encoded = element(8, 0x18, b"UI", b"1.2.3\0") + element(0x20, 0xD, b"UI", uid)
    with pytest.raises(InvalidDatasetError, match="Study Instance UID is no UID"):
        read_header(encoded, EXPLICIT, DX, "1.2.3")


def test_a_data_set_with_another_instance_uid_than_its_request_is_invalid():
    with pytest.raises(InvalidDatasetError, match="not the one of the request"):
        read_header(encode(dx()), EXPLICIT, DX, "1.2.3")


def test_every_message_of_an_invalid_data_set_fits_an_error_comment():
    for encoded in (b"", encode(dx()), element(8, 0x18, b"UI", b"x"), b"\0" * 1000):
        with pytest.raises(InvalidDatasetError) as raised:
            read_header(encoded, EXPLICIT, DX, "1.2.3")
        assert len(raised.value.message) <= 64


@pytest.mark.parametrize("padding", ["\0", " ", "\0\0", ""])
def test_padding_is_no_part_of_a_uid(padding):
    encoded = element(8, 0x18, b"UI", b"1.2.3\0") + element(0x20, 0xD, b"UI", f"1.2.4{padding}".encode())
    assert read_header(encoded, EXPLICIT, DX, "1.2.3").study_instance_uid == "1.2.4"


@pytest.mark.parametrize("series", [None, "", "not a UID"])
def test_a_series_without_a_uid_gets_one_from_its_study(series):
    data_set = dx(SeriesInstanceUID=None)
    encoded = encode(data_set)
    if series is not None:
        encoded += element(0x20, 0xE, b"UI", series.encode())
    derived = read(data_set, encoded=encoded).series_instance_uid
    assert derived == derive_uid("series", data_set.StudyInstanceUID)


@pytest.mark.parametrize(
    ("word", "priority"),
    [
        ("STAT", Priority.STAT),
        ("stat ", Priority.STAT),
        ("HIGH", Priority.URGENT),
        ("ROUTINE", Priority.ROUTINE),
        ("MEDIUM", Priority.ROUTINE),
        ("LOW", Priority.ROUTINE),
        ("", Priority.ROUTINE),
        ("nonsense", Priority.ROUTINE),
    ],
)
@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("nested", [False, True])
def test_the_orders_priority_is_found_at_both_places(word, priority, transfer_syntax_uid, nested):
    order = Dataset()
    order.RequestedProcedurePriority = word
    data_set = dx(RequestAttributesSequence=Sequence([Dataset(), order])) if nested else dx()
    if not nested:
        data_set.RequestedProcedurePriority = word
    assert read(data_set, transfer_syntax_uid).requested_priority is priority


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("EMERGENCY", ["EMERGENCY"]),
        ("DOE^JANE", [None]),
        ("A1", [None]),
        ("1", ["1"]),
        ("routine ", []),
        ("", []),
        ("STAT", []),
    ],
)
def test_a_priority_that_is_not_understood_is_told_by_its_word_if_it_is_one(word, told):
    with capture_logs() as logs:
        read(dx(RequestedProcedurePriority=word))
    assert [entry["word"] for entry in logs if entry["event"] == "requested_priority_unknown"] == told


@pytest.mark.parametrize(
    ("character_set", "word", "priority"),
    [
        (None, "emergency ", Priority.STAT),
        ("ISO_IR 100", "tr\xe8s urgent", Priority.URGENT),
        ("ISO_IR 192", "SOFORT\u00a0BITTE", Priority.STAT),
        ("\\ISO 2022 IR 87", "\u81f3\u6025", Priority.STAT),
        (None, "STAT", Priority.STAT),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_site_s_own_words_are_understood_in_the_data_set_s_character_set(character_set, word, priority, nested):
    words = PriorityWords.of(
        {Priority.STAT: ["EMERGENCY", "\u81f3\u6025", "Sofort bitte"], Priority.URGENT: ["TR\xc8S URGENT"]}
    )
    order = Dataset()
    order.RequestedProcedurePriority = word
    data_set = dx(RequestAttributesSequence=Sequence([order])) if nested else dx()
    if character_set:
        data_set.SpecificCharacterSet = character_set.split("\\")
    if not nested:
        data_set.RequestedProcedurePriority = word
    encoded = encode(data_set)
    assert read_header(encoded, **request_for(data_set), words=words).requested_priority is priority


def test_the_most_urgent_of_several_orders_counts():
    orders = []
    for word in ("ROUTINE", "STAT", "HIGH"):
        orders.append(Dataset())
        orders[-1].RequestedProcedurePriority = word
    sequence = Sequence(orders)
    sequence.is_undefined_length = True
    assert read(dx(RequestAttributesSequence=sequence)).requested_priority is Priority.STAT


@pytest.mark.parametrize(
    "broken",
    [
        element(8, 0x20, b"DA", b"not a date"),
        element(8, 0, b"UL", b"\xff\xff\xff\xff"),
        element(8, 0x22, b"ZZ", b"what?!"),
        element(8, 0x1140, b"SQ", b"\0" * 8, 8),
        element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), 0xFFFFFFFF),
        element(9, 0x10, b"UN", struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE0DD, 0), 0xFFFFFFFF),
        struct.pack("<HHI", 8, 0x2112, 4) + b"impl",  # an implicit element in an explicit data set
    ],
)
def test_a_broken_element_costs_nothing_but_itself(broken):
    data_set = dx()
    assert read(data_set, encoded=broken + encode(data_set)).patient_id == "P1"


def test_nesting_beyond_any_recursion_limit_is_walked_through():
    depth = 5_000
    opened = struct.pack("<HH2s2xI", 8, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    data_set = dx()
    assert read(data_set, encoded=opened * depth + closed * depth + encode(data_set)).patient_id == "P1"


def test_a_sequence_that_never_ends_ends_the_search():
    data_set = dx()
    encoded = encode(data_set) + element(8, 0x1140, b"SQ", b"", 0xFFFFFFFF)
    assert read(data_set, encoded=encoded).patient_id == "P1"


def test_pixels_are_not_looked_at():
    data_set = dx()
    pixels = element(0x7FE0, 0x10, b"OW", b"\x20\0\x0d\0UI\x02\0xx" * 1000)
    assert read(data_set, encoded=encode(data_set) + pixels).study_instance_uid == data_set.StudyInstanceUID


def test_an_explicit_data_set_in_an_implicit_context_is_still_read():
    data_set = dx()
    assert read(data_set, IMPLICIT, encoded=encode(data_set, EXPLICIT)).patient_id == "P1"


def test_a_deflated_bomb_is_inflated_only_as_far_as_a_header_reaches(monkeypatch):
    monkeypatch.setattr(header, "_FIRST_INFLATED", 1 << 14)
    monkeypatch.setattr(header, "_MOST_INFLATED", 1 << 16)
    data_set, padding = dx(), element(8, 0x20, b"UN", bytes(1 << 16))
    assert read(data_set, DEFLATED, encoded=deflate(encode(data_set) + padding)).patient_id == "P1"
    with pytest.raises(InvalidDatasetError, match="missing"):
        read(data_set, DEFLATED, encoded=deflate(padding + encode(data_set)))


@pytest.mark.parametrize("size", [10_000, 100_000, 1_000_000])
def test_a_deflated_header_that_is_long_is_read_to_its_end(monkeypatch, size):
    monkeypatch.setattr(header, "_FIRST_INFLATED", 1 << 14)
    data_set, padding = (
        dx(RequestedProcedurePriority="STAT"),
        element(8, 0x20, b"UN", random.Random(size).randbytes(size)),
    )
    pixels = element(0x7FE0, 0x10, b"OW", bytes(100_000))
    found = read(data_set, DEFLATED, encoded=deflate(padding + encode(data_set) + pixels))
    assert (found.patient_id, found.requested_priority) == ("P1", Priority.STAT)


def test_a_uid_of_any_length_is_read_as_far_as_a_uid_goes():
    data_set = dx()
    padded = encode(dx(StudyInstanceUID=None, SOPInstanceUID=data_set.SOPInstanceUID))
    for value in (b"1.2.3" + b"9" * 5000, b"1.2.3" + b"\0" * 5000 + b"x"):
        with pytest.raises(InvalidDatasetError, match="no UID"):
            read(data_set, encoded=padded + element(0x20, 0xD, b"UI", value))


def test_a_data_set_of_nothing_but_headers_is_given_up(monkeypatch):
    monkeypatch.setattr(elements, "_MOST_HEADERS", 100)
    data_set, empty = dx(), element(8, 0x20, b"DA", b"")
    assert read(data_set, encoded=empty * 80 + encode(data_set)).patient_id == "P1"
    with pytest.raises(InvalidDatasetError, match="missing"):
        read(data_set, encoded=empty * 120 + encode(data_set))


def test_unsorted_elements_are_found_all_the_same():
    data_set = dx()
    encoded = element(0x7FE1, 0x10, b"OB", b"12") + encode(data_set)
    assert read(data_set, encoded=encoded).study_instance_uid == data_set.StudyInstanceUID


def test_what_is_not_deflated_where_it_should_be_is_invalid():
    with pytest.raises(InvalidDatasetError, match="not deflated"):
        read_header(b"\xff" * 100, DEFLATED, DX, "1.2.3")


def test_no_bytes_make_the_reader_raise_anything_else(broken_data_sets):
    for encoded in broken_data_sets:
        for transfer_syntax_uid in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
            with pytest.raises(InvalidDatasetError):
                read_header(encoded, transfer_syntax_uid, DX, "1.2.3")


@pytest.mark.parametrize(
    ("elements", "born", "age"),
    [
        ({}, "", None),
        ({"PatientBirthDate": "20190302", "PatientAge": "007Y"}, "20190302", 7),
        ({"PatientAge": "018M"}, "", 1),
        ({"PatientAge": "051W"}, "", 0),
        ({"PatientAge": "400D"}, "", 1),
    ],
)
def test_how_old_the_patient_is_is_read(elements, born, age):
    found = read(dx(**elements))
    assert (found.patient_birth_date, found.patient_age) == (born, age)


@pytest.mark.parametrize("stated", [b"7Y  ", b"07Y ", b"007X", b"-07Y", b"\xd9\xa0\xd9\xa7Y"])
def test_an_age_that_is_none_is_not_known(stated):
    data_set = dx(PatientAge="007Y")
    encoded = encode(data_set).replace(b"AS\x04\x00007Y", b"AS" + struct.pack("<H", len(stated)) + stated)
    assert read(data_set, encoded=encoded).patient_age is None


@pytest.mark.parametrize("stated", [b"2019.03.02", b"20191302", b"00000000", b"19000000", b"XXXXXXXX"])
def test_a_date_of_birth_that_is_none_is_not_known(stated):
    data_set = dx(PatientBirthDate="20190302")
    encoded = encode(data_set).replace(b"DA\x08\x0020190302", b"DA" + struct.pack("<H", len(stated)) + stated)
    assert read(data_set, encoded=encoded).patient_birth_date == ""
