"""A study's steps are told with their times, of the studies they are about; where nobody listens they cost nothing."""

import time

import pytest

from triage_agent.ops.journey import NOWHERE, WHOLE, Journey, Moment, ids_of, trace_id


@pytest.fixture
def told():
    return []


@pytest.fixture
def journey(told):
    return Journey(told.append)


def test_a_step_is_told_of_each_study_with_its_beginning_and_its_end(journey, told):
    before = time.time_ns()
    with journey.step("build", ["1.2.1", "1.2.2"], results=2) as details:
        time.sleep(0.002)
        details["more"] = "x"
    assert [(one.name, one.study_instance_uid, one.error) for one in told] == [
        ("build", "1.2.1", ""),
        ("build", "1.2.2", ""),
    ]
    (one, _) = told
    assert before <= one.began < one.ended
    assert one.ended - one.began >= 2_000_000
    assert one.details == {"results": 2, "more": "x"}


def test_a_step_that_fails_is_told_by_the_type_of_its_error_alone(journey, told):
    with pytest.raises(ValueError, match="Doe"), journey.step("decide", ["1.2.1"]):
        raise ValueError("Doe^Jane")
    assert told[0].error == "ValueError"
    assert "Doe" not in str(told[0])


def test_a_file_s_step_is_its_study_s_and_a_batch_s_step_is_all_its_studies(journey, told):
    with journey.holding(Moment(), {"a.dcm": "1.2.1", "b.dcm": "1.2.2", "c.dcm": "1.2.1"}):
        with journey.step("decode", file="b.dcm"):
            pass
        with journey.step("score"):
            pass
    with journey.step("score"):
        pass
    assert [(one.name, one.study_instance_uid) for one in told] == [
        ("claim", "1.2.1"),
        ("claim", "1.2.2"),
        ("decode", "1.2.2"),
        ("score", "1.2.1"),
        ("score", "1.2.2"),
    ], "what is done for nobody, as the model's first image, is no study's"


def test_the_whole_way_ends_when_it_is_told(journey, told):
    journey.whole("1.2.1", time.time() - 60)
    (one,) = told
    assert one.name == WHOLE
    assert 59 < (one.ended - one.began) / 1e9 < 120


def test_where_nobody_wants_to_know_nothing_is_made():
    with NOWHERE.holding(Moment(), {"a.dcm": "1.2.1"}), NOWHERE.step("decode", file="a.dcm") as details:
        details["x"] = 1
    NOWHERE.told("receive", ["1.2.1"], Moment())
    NOWHERE.whole("1.2.1", 0.0)


def test_a_study_s_ids_are_the_same_everywhere_and_do_not_have_its_uid_in_them():
    assert trace_id("1.2.840.1") == trace_id("1.2.840.1") != trace_id("1.2.840.2")
    assert len(trace_id("1.2.840.1")) == 32
    trace, span = ids_of("1.2.840.1")
    assert 0 < trace < 1 << 128
    assert 0 < span < 1 << 64
    assert trace_id("1.2.840.1") == f"{trace:032x}"
