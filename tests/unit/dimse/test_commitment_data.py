"""The data sets of storage commitment, made and read, and what of them is refused."""

import tracemalloc
import zlib
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from triage_agent.dimse import commitment_data
from triage_agent.dimse.commitment_data import (
    action_information,
    event_information,
    event_type,
    read_data_set,
    read_report,
    read_request,
)
from triage_agent.domain.commitment import CommitmentReport, Reference, reason_in_words
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError

ONE, OTHER = Reference("1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"), Reference("1.2.840.10008.5.1.4.1.1.7", "1.2.4")


def over_the_wire(data_set):
    return read_data_set(BytesIO(encode(data_set, is_implicit_vr=True, is_little_endian=True)), ImplicitVRLittleEndian)


@pytest.mark.parametrize("way", [lambda data_set: data_set, over_the_wire])
def test_what_is_asked_is_what_is_read(way):
    assert read_request(way(action_information("2.25.9", [ONE, OTHER]))) == ("2.25.9", (ONE, OTHER))


def test_an_object_that_is_named_twice_is_asked_for_once():
    assert read_request(action_information("2.25.9", [ONE, OTHER, ONE]))[1] == (ONE, OTHER)


@pytest.mark.parametrize(
    ("report", "event"),
    [
        (CommitmentReport(transaction_uid="2.25.9", committed=(ONE,)), 1),
        (CommitmentReport(transaction_uid="2.25.9", failed=((ONE, 0x0112),)), 2),
        (CommitmentReport(transaction_uid="2.25.9", committed=(ONE,), failed=((OTHER, 0x0119),)), 2),
    ],
)
def test_what_is_reported_is_what_is_read(report, event):
    assert event_type(report) == event
    assert read_report(over_the_wire(event_information(report)), event) == report


def test_a_sequence_without_items_is_left_out():
    said = event_information(CommitmentReport(transaction_uid="2.25.9", committed=(ONE,)))
    assert "FailedSOPSequence" not in said


def test_a_failure_without_a_reason_is_one_all_the_same():
    said = event_information(CommitmentReport(transaction_uid="2.25.9", failed=((ONE, 0x0112),)))
    del said.FailedSOPSequence[0].FailureReason
    assert read_report(said, 2).failed == ((ONE, 0x0110),)


@pytest.mark.parametrize("event", [None, 0, 3])
def test_an_event_type_that_the_standard_does_not_have_is_refused(event):
    with pytest.raises(InvalidDatasetError):
        read_report(action_information("2.25.9", [ONE]), event)


def test_more_references_than_are_taken_are_refused(monkeypatch):
    monkeypatch.setattr(commitment_data, "MOST_REFERENCES", 1)
    with pytest.raises(StorageExhaustedError):
        read_request(action_information("2.25.9", [ONE, OTHER]))


def test_a_data_set_that_is_longer_than_is_read_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(commitment_data, "LARGEST_DATA_SET", 10)
    with pytest.raises(StorageExhaustedError):
        over_the_wire(action_information("2.25.9", [ONE]))


def test_nested_sequences_without_end_are_refused():
    """10,000 deep: item by item a parser that calls itself would fall over."""
    sequence = b"\x08\x00\x99\x11" + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\xff"
    with pytest.raises(StorageExhaustedError):
        read_request(read_data_set(BytesIO(sequence * 10_000), ImplicitVRLittleEndian))


def test_nothing_is_no_request():
    with pytest.raises(InvalidDatasetError):
        read_data_set(None, ImplicitVRLittleEndian)
    with pytest.raises(InvalidDatasetError):
        read_request(Dataset())


@pytest.mark.parametrize(
    ("reason", "words"), [(0x0112, "0x0112 (no such object instance)"), (0xC123, "0xC123"), (1, "0x0001")]
)
def test_a_reason_is_told_in_words_where_the_standard_has_them(reason, words):
    assert reason_in_words(reason) == words


def deep(depth):
    """So many sequences within one another, implicit little endian, of undefined length."""
    begins = bytes.fromhex("0800991100000000").replace(b"\0\0\0\0", b"\xff\xff\xff\xff") + bytes.fromhex(
        "feff00e0ffffffff"
    )
    ends = bytes.fromhex("feff0de000000000feffdde000000000")
    return begins * depth + ends * depth


@pytest.mark.parametrize("depth", [17, 10_000, 100_000])
def test_sequences_within_one_another_are_refused_before_they_are_read(depth):
    with pytest.raises(StorageExhaustedError, match="16 sequences within one another"):
        read_data_set(BytesIO(deep(depth)), ImplicitVRLittleEndian)


def test_what_is_no_deeper_than_it_may_be_is_read():
    found = read_data_set(BytesIO(deep(16)), ImplicitVRLittleEndian)
    for _ in range(16):
        (found,) = found.ReferencedSOPSequence
    assert len(found) == 0


def deflated(content):
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return BytesIO(deflater.compress(content) + deflater.flush())


def test_a_deflated_request_is_read():
    content = encode(action_information("2.25.9", [ONE, OTHER]), is_implicit_vr=False, is_little_endian=True)
    found = read_data_set(deflated(content), DeflatedExplicitVRLittleEndian)
    assert read_request(found) == ("2.25.9", (ONE, OTHER))


@pytest.mark.parametrize("content", [bytes(24 << 20), b"\x08\x00\x99\x11SQ\0\0" * (3 << 20)])
def test_a_deflated_request_is_inflated_no_further_than_one_may_be_long(content):
    bomb = deflated(content)
    assert bomb.getbuffer().nbytes < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(StorageExhaustedError, match="too long"):
            read_data_set(bomb, DeflatedExplicitVRLittleEndian)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20


def test_what_cannot_be_inflated_is_refused():
    with pytest.raises(InvalidDatasetError, match="inflated"):
        read_data_set(BytesIO(b"\xff" * 100), DeflatedExplicitVRLittleEndian)
