import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.story import MODEL

from triage_agent.domain.errors import ConfigurationError, DeliveryError, TriageError
from triage_agent.domain.vocabulary import Priority

PRIORITIES = st.sampled_from(Priority)


def test_priorities_rank_from_routine_to_stat():
    assert sorted(Priority, key=lambda priority: priority.rank) == ["routine", "urgent", "stat"]
    assert [priority.rank for priority in Priority] == [0, 1, 2]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Priority, Priority)))
def test_raising_gives_the_higher_of_two(one, other):
    raised = one.raised_to(other)
    assert raised in {one, other}
    assert raised.rank == max(one.rank, other.rank)


@given(start=PRIORITIES, steps=st.lists(PRIORITIES))
def test_no_number_of_raises_lowers_a_priority(start, steps):
    priority = start
    for step in steps:
        raised = priority.raised_to(step)
        assert raised.rank >= priority.rank
        priority = raised
    assert priority.rank == max(each.rank for each in [start, *steps])


def test_an_error_says_its_remedy():
    assert str(TriageError("the disk is full", remedy="make room")) == "the disk is full; make room"
    assert str(ConfigurationError("no such key")) == "no such key"
    assert DeliveryError("refused", permanent=True).permanent


def test_a_model_s_label_is_for_people():
    model = replace(MODEL, digest="0123456789abcdef" * 4)
    assert model.label == "knees 1.2 (0123456789ab)"
