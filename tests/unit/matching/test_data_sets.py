"""Whole data sets by every kind of matching of PS3.4 section C.2.2.2, and the answers that are given."""

import pytest
from pydicom import Dataset, config
from pydicom.dataelem import DataElement

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.matching.data_sets import answer, is_match
from triage_agent.matching.query import read_query

START = "ScheduledProcedureStepStartDateTime"


def data_set(**values):
    made = Dataset()
    for name, value in values.items():
        if isinstance(value, str):
            tag = Dataset()
            tag.add_new(name, "LO", "")
            made.add(DataElement(name, _vr(name), value, validation_mode=config.IGNORE))
        else:
            setattr(made, name, value)
    return made


def _vr(name):
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415

    return dictionary_VR(tag_for_keyword(name))


def matches(key, known, **more):
    return is_match(data_set(**known), read_query(data_set(**key, **more), None))


STEP = {
    "SOPInstanceUID": "2.25.1",
    "PatientName": "Åkesson^Görel=山田^太郎",
    "PatientID": "P[1]",
    "WorklistLabel": "TRIAGE",
    "ProcedureStepState": "SCHEDULED",
    START: "20260301093015+0000",
}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # C.2.2.2.1: single value, with case except for names
        ({"ProcedureStepState": "SCHEDULED"}, True),
        ({"ProcedureStepState": "scheduled"}, False),
        ({"PatientID": "P[1]"}, True),
        ({"PatientID": "P1"}, False),
        ({"PatientName": "åkesson^görel"}, True),
        # C.2.2.2.2: list of UIDs
        ({"SOPInstanceUID": "2.25.9\\2.25.1"}, True),
        ({"SOPInstanceUID": "2.25.9\\2.25.8"}, False),
        # C.2.2.2.3: universal
        ({"PatientID": "", "SOPInstanceUID": ""}, True),
        ({"PatientID": "*"}, True),
        ({"AdmissionID": ""}, True),
        ({"AdmissionID": "A1"}, False),
        # C.2.2.2.4: wildcards, of which a UID has none
        ({"WorklistLabel": "TRI*"}, True),
        ({"WorklistLabel": "?RIAGE"}, True),
        ({"WorklistLabel": "TRI?"}, False),
        ({"PatientID": "P[?]"}, True),
        ({"PatientName": "=山田*"}, True),
    ],
)
def test_values_match_as_the_standard_says(key, expected):
    assert matches(key, STEP) is expected


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        # C.2.2.2.5: both ends count, each as long as what it says
        ("20260301", "20260301093015+0000", True),
        ("2026", "20260301093015+0000", True),
        ("202602", "20260301093015+0000", False),
        ("20260301093015", "20260301093015+0000", True),
        ("20260301093015.5", "20260301093015+0000", False),
        ("20260301-20260302", "20260302235959.999999", True),
        ("20260301-20260302", "20260303", False),
        ("20260301-", "20260228235959", False),
        ("20260301-", "20991231", True),
        ("-20260301", "20260301235959", True),
        ("-20260301", "20260302000000", False),
        ("2025-2026", "20261231235960", True),
        # ... and the offset from UTC is taken into account
        ("20260301103015+0100", "20260301093015+0000", True),
        ("20260301093015+0100", "20260301093015+0000", False),
        ("20260301-0500", "20260302045959+0000", True),
        ("20260301-0500", "20260301045959+0000", False),
        ("20260301000000-0500-20260301235959-0500", "20260302045959+0000", True),
        ("20260301", "nonsense", False),
        ("20260301", "", False),
    ],
)
def test_dates_with_times_match_by_what_they_mean(wanted, known, expected):
    assert matches({START: wanted}, {START: known}) is expected


def test_moments_without_an_offset_are_meant_as_the_identifier_says():
    known = {START: "20260301233000+0000"}
    assert matches({START: "20260302"}, known) is False
    assert is_match(
        data_set(**known), read_query(_raw(**{START: b"20260302", "TimezoneOffsetFromUTC": b"+0100"}), None)
    )


def _raw(**values):
    """As it comes over the wire: nothing is converted."""
    made = data_set(**dict.fromkeys(values, ""))
    for name, value in values.items():
        made[name]._value = value
    return made


@pytest.mark.parametrize(
    "wrong", ["tomorrow", "20261301", "20260230", "-", "2026030", "00000101", "20260301.5", "9999"]
)
def test_what_is_no_date_is_refused(wrong):
    with pytest.raises(InvalidDatasetError):
        read_query(data_set(**{START: wrong}), None)


def test_a_key_that_is_too_long_is_refused():
    with pytest.raises(InvalidDatasetError, match="too long"):
        read_query(data_set(PatientID="x" * 5000), None)


def request(study, accession):
    return data_set(StudyInstanceUID=study, AccessionNumber=accession)


def test_the_keys_of_an_item_must_all_match_one_item_and_only_such_items_are_answered():
    known = {"ReferencedRequestSequence": [request("1.2.1", "A1"), request("1.2.2", "A2")]}
    assert matches({"ReferencedRequestSequence": [request("1.2.1", "A1")]}, known)
    assert not matches({"ReferencedRequestSequence": [request("1.2.1", "A2")]}, known)
    assert matches({"ReferencedRequestSequence": [request("", "")]}, {})
    assert not matches({"ReferencedRequestSequence": [request("", "A1")]}, {})
    query = read_query(data_set(ReferencedRequestSequence=[request("", "A2")]), None)
    (item,) = answer(data_set(**known), query).ReferencedRequestSequence
    assert (item.StudyInstanceUID, item.AccessionNumber) == ("1.2.2", "A2")


def test_an_answer_has_what_was_asked_for_and_nothing_else():
    asked = data_set(PatientID="", AdmissionID="", ReferencedRequestSequence=[], ScheduledWorkitemCodeSequence=[])
    known = data_set(**STEP, ReferencedRequestSequence=[request("1.2.1", "A1")])
    known.SpecificCharacterSet = "ISO_IR 192"
    given = answer(known, read_query(asked, None))
    assert {element.keyword for element in given} == {
        "SpecificCharacterSet",
        "PatientID",
        "AdmissionID",
        "ReferencedRequestSequence",
        "ScheduledWorkitemCodeSequence",
    }
    assert given.ReferencedRequestSequence[0].AccessionNumber == "A1"
    assert (given.AdmissionID or "", len(given.ScheduledWorkitemCodeSequence)) == ("", 0)


def test_private_and_unknown_keys_are_ignored_and_said_to_be():
    asked = data_set(PatientID="P[1]")
    asked.add_new(0x00091001, "LO", "x")
    query = read_query(asked, None)
    assert query.ignores
    assert is_match(data_set(**STEP), query)
    assert not read_query(data_set(PatientID=""), None).ignores


def test_numbers_match_as_numbers():
    asked = Dataset()
    asked.PregnancyStatus = 4
    known = Dataset()
    known.PregnancyStatus = 4
    assert is_match(known, read_query(asked, None))
    known.PregnancyStatus = 2
    assert not is_match(known, read_query(asked, None))


@pytest.mark.parametrize(
    ("keys", "keyword", "expected"),
    [
        ({"ProcedureStepState": "SCHEDULED"}, "ProcedureStepState", ["SCHEDULED"]),
        ({"SOPInstanceUID": "1.2\\1.3"}, "SOPInstanceUID", ["1.2", "1.3"]),
        ({"ProcedureStepState": "S*"}, "ProcedureStepState", None),
        ({"ProcedureStepState": ""}, "ProcedureStepState", None),
        ({"PatientName": "Doe"}, "PatientName", None),
        ({}, "PatientID", None),
    ],
)
def test_what_can_be_looked_up_as_it_is(keys, keyword, expected):
    assert read_query(data_set(**keys), None).plainly(keyword) == expected


def test_an_attribute_of_a_repeating_group_is_no_key_and_no_error():
    asked = Dataset()
    asked.add_new(0x60004000, "LT", "comments of an overlay")
    asked.PatientID = "P1"
    found = read_query(asked, None)
    assert [key.keyword for key in found.keys] == ["PatientID"]
    assert found.ignores
