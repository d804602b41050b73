"""DICOM JSON and the keys of searches, read from strangers."""

import json

import pytest

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.steps.data import settable
from triage_agent.steps.dicom_json import event_report, read_data_set, read_keys, write_data_set

STATE = {"00741000": {"vr": "CS", "Value": ["SCHEDULED"]}}


@pytest.mark.parametrize("body", [STATE, [STATE]])
def test_one_data_set_may_stand_in_an_array(body):
    data = read_data_set(json.dumps(body).encode())
    assert data.ProcedureStepState == "SCHEDULED"
    assert write_data_set(data) == STATE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b'"x"',
        b"[]",
        b"[{}, {}]",
        b"\xff",
        b"[" * 9000,
        b'{"0074": {"vr": "CS"}}',
        b'{"x": {}}',
        b'{"00741000": {"vr": "ZZ"}}',
        b'{"00741000": null}',
        b'{"00080020": {"vr": "DA", "Value": [{"x": 1}]}}',
    ],
)
def test_what_is_no_data_set_is_refused(body):
    with pytest.raises(InvalidDatasetError):
        settable(read_data_set(body), reading=False)


def test_what_belongs_to_commands_and_files_is_no_attribute():
    body = {**STATE, "00000002": {"vr": "UI", "Value": ["1.2"]}, "00020010": {"vr": "UI", "Value": ["1.2"]}}
    assert settable(read_data_set(json.dumps(body).encode()), reading=False)[0] == {}
    assert settable(read_data_set(b'{"00100020": {"vr": "LO", "Value": ["P1"]}}'), reading=False)[0].keys() == {
        "00100020"
    }


def test_nesting_is_bounded():
    deep = {"vr": "SQ", "Value": []}
    for _ in range(33):
        deep = {"vr": "SQ", "Value": [{"0040A730": deep}]}
    with pytest.raises(InvalidDatasetError):
        read_data_set(json.dumps({"0040A730": deep}).encode())


def test_keys_of_one_sequence_go_into_one_item():
    keys = read_keys(
        [("ReferencedRequestSequence.AccessionNumber", "A1"), ("0040A370.0020000D", "1.2"), ("PatientID", "")]
    )
    (item,) = keys.ReferencedRequestSequence
    assert (item.AccessionNumber, item.StudyInstanceUID, keys.PatientID) == ("A1", "1.2", "")


@pytest.mark.parametrize(
    "name", ["", ".", "x", "PatientID.", ".PatientID", "00091001", "7FE0001", "+0100010", "PatientID.PatientName"]
)
def test_what_names_no_attribute_is_refused(name):
    with pytest.raises(InvalidDatasetError):
        read_keys([(name, "1")])


def test_an_event_says_what_the_command_would_and_then_what_happened():
    said = event_report("1.2", "1.2.840.10008.5.1.4.34.6.4", 1, 23, {**STATE, "00404041": {"vr": "CS"}})
    assert list(said) == ["00000002", "00000110", "00001000", "00001002", "00404041", "00741000"]
    assert (said["00000110"]["Value"], said["00001002"]["Value"]) == ([23], [1])
