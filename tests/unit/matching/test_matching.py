"""Matching of single values, wildcards, ranges, lists and sequences (PS3.4 section C.2.2.2)."""

import time
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import decode, encode
from support.ordering import query

from triage_agent.dimse.commitment_data import read_data_set
from triage_agent.dimse.modality_worklist import SHAPE, TOGETHER, with_character_set
from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.matching.query import encodings_of, read_query
from triage_agent.matching.values import is_like


def asked(data_set):
    """A query as it comes over the wire."""
    implicit = little_endian = True
    identifier = decode(BytesIO(encode(data_set, implicit, little_endian)), implicit, little_endian)
    return read_query(identifier, SHAPE, encodings_of(identifier)[1], TOGETHER)


def stepped(**values):
    return {"ScheduledProcedureStepSequence": [values]}


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        ("abc", "abc", True),
        ("abc", "a?c", True),
        ("abc", "a*", True),
        ("abc", "*c", True),
        ("abc", "*b*", True),
        ("abc", "a*d", False),
        ("abc", "ab", False),
        ("", "*", True),
        ("", "?", False),
        ("a[b]", "a[b]", True),
        ("aXbXc", "a*b*c", True),
        ("mississippi", "m*iss*ip*i", True),
    ],
)
def test_wildcards_stand_for_any_text_and_any_character(value, pattern, expected):
    assert is_like(value, pattern) is expected


def test_a_pattern_of_many_stars_takes_no_time():
    before = time.monotonic()
    assert not is_like("a" * 4000, "*a" * 1500 + "b")
    assert time.monotonic() - before < 30


@given(st.text("ab*?", max_size=8), st.text("ab*?", max_size=8))
def test_a_pattern_without_wildcards_is_itself_and_stars_around_find_it_anywhere(value, pattern):
    if not set(pattern) & set("*?"):
        assert is_like(value, pattern) is (value == pattern)
        assert is_like(value, f"*{pattern}*") is (pattern in value)


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("Doe^Jane", "Doe^Jane", True),
        ("doe^jane^^", "Doe^Jane", True),
        ("Doe", "Doe^Jane", False),
        ("山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("Yamada*=山*", "Yamada^Tarou=山田^太郎", True),
        ("Yamada*=川*", "Yamada^Tarou=山田^太郎", False),
        ("=山田*", "Yamada^Tarou=山田^太郎", True),
    ],
)
def test_a_name_matches_by_any_group_or_by_those_asked_for(wanted, known, expected):
    data_set = query(PatientName=wanted)
    data_set.SpecificCharacterSet = "ISO_IR 192"
    assert asked(data_set).matches({"PatientName": known, **stepped()}) is expected


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("093000", "093000", True),
        ("0930", "093059", True),
        ("0930", "093100", False),
        ("-0930", "093059", True),
        ("093000-", "092959", False),
        ("09:30-10:00", "094500", True),
        ("0900-1000", "", False),
    ],
)
def test_times_match_to_the_precision_that_is_asked_for(wanted, known, expected):
    wanted_of = asked(query({"ScheduledProcedureStepStartTime": wanted}))
    assert wanted_of.matches(stepped(ScheduledProcedureStepStartTime=known)) is expected


def test_the_keys_of_an_item_must_all_match_the_same_item():
    wanted = asked(query({"Modality": "DX", "ScheduledProcedureStepStartDate": "20260301"}))
    items = [
        {"Modality": "DX", "ScheduledProcedureStepStartDate": "20260302"},
        {"Modality": "CR", "ScheduledProcedureStepStartDate": "20260301"},
    ]
    assert not wanted.matches({"ScheduledProcedureStepSequence": items})
    assert wanted.matches({"ScheduledProcedureStepSequence": [*items, {**items[0], **items[1], "Modality": "DX"}]})


def test_only_items_that_match_are_answered():
    wanted = asked(query({"Modality": "DX"}))
    answer = wanted.answer({"ScheduledProcedureStepSequence": [{"Modality": "CR"}, {"Modality": "DX"}]})
    assert [step.Modality for step in answer.ScheduledProcedureStepSequence] == ["DX"]


def test_an_item_without_keys_asks_for_all_of_them():
    answer = asked(query()).answer(stepped(Modality="DX"))
    (step,) = answer.ScheduledProcedureStepSequence
    assert step.Modality == "DX"
    assert "ScheduledProcedureStepStartDate" in step


@pytest.mark.parametrize(
    "wrong",
    [
        query({"ScheduledProcedureStepStartDate": "yesterday"}),
        query({"ScheduledProcedureStepStartDate": "-"}),
        query(StudyInstanceUID="1.2.x"),
        query(PatientName="x" * 5000),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InvalidDatasetError):
        asked(wrong)


def test_two_items_in_a_query_are_refused():
    twice = Dataset()
    twice.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    with pytest.raises(InvalidDatasetError, match="one item"):
        asked(twice)


_STEP = {"Modality": "DX", "ScheduledProcedureStepStartDate": "20260301-"}
_ENCODED = encode(query(_STEP, PatientName="Doe*"), is_implicit_vr=True, is_little_endian=True)


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.integers(0, len(_ENCODED) - 1), st.binary(max_size=6)), max_size=6), st.booleans())
def test_whatever_bytes_a_query_is_made_of_it_is_read_or_refused(mutations, implicit):
    encoded = bytearray(_ENCODED)
    for at, piece in mutations:
        encoded[at : at + len(piece)] = piece
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    try:
        identifier = read_data_set(BytesIO(bytes(encoded)), syntax)
        wanted = read_query(identifier, SHAPE, encodings_of(identifier)[1])
    except InvalidDatasetError:
        return
    wanted.matches({"PatientName": "Doe^Jane", **stepped(Modality="DX")})
    wanted.answer({"PatientName": "Doe^Jane", **stepped(Modality="DX")})


@pytest.mark.parametrize(("asked_in", "answered_in"), [("ISO_IR 100", "ISO_IR 100"), ("ISO_IR 203", "ISO_IR 192")])
def test_an_answer_is_in_the_query_s_character_set_where_that_can_be_written(asked_in, answered_in):
    """The library writes no Latin-9 (ISO_IR 203)."""
    answer = with_character_set(Dataset(), {"PatientName": "Müller^Jürgen"}, asked_in)
    assert answer.SpecificCharacterSet == answered_in


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        ("20260705", "095959", False),
        ("20260705", "100000", True),
        ("20260706", "0300", True),
        ("20260707", "180000", True),
        ("20260707", "180100", False),
        ("20260708", "1200", False),
        ("20260706", "", False),
    ],
)
def test_a_range_of_days_and_one_of_times_mean_one_period(day, time, expected):
    """As table K.6-1 of PS3.4 has it: from the 5th at 10 until the 7th at 18."""
    keys = {"ScheduledProcedureStepStartDate": "20260705-20260707", "ScheduledProcedureStepStartTime": "1000-1800"}
    known = {"ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": time}
    assert asked(query(keys)).matches(stepped(**known)) is expected


@pytest.mark.parametrize(("time", "expected"), [("0930", False), ("1200", True), ("1801", False)])
def test_one_day_and_a_range_of_times_mean_those_hours_of_it(time, expected):
    keys = {"ScheduledProcedureStepStartDate": "20260705", "ScheduledProcedureStepStartTime": "1000-1800"}
    known = {"ScheduledProcedureStepStartDate": "20260705", "ScheduledProcedureStepStartTime": time}
    assert asked(query(keys)).matches(stepped(**known)) is expected


def test_an_open_period_goes_on():
    keys = {"ScheduledProcedureStepStartDate": "20260705-", "ScheduledProcedureStepStartTime": "1000-"}
    known = {"ScheduledProcedureStepStartDate": "20300101", "ScheduledProcedureStepStartTime": "0000"}
    assert asked(query(keys)).matches(stepped(**known))
