"""Reading ahead gives what reading gives, in order, and never reads far."""

import threading
from contextvars import ContextVar

import pytest

from triage_agent.imaging.ahead import ReadAhead

STUDY = ContextVar("study", default="none")


@pytest.fixture(params=[1, 3])
def ahead(request):
    return ReadAhead(request.param)


def test_groups_come_in_order_and_the_last_one_is_what_is_left(ahead):
    assert list(ahead.groups([lambda number=number: number for number in range(7)], 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(ahead.groups([], 3)) == []


def test_no_more_is_read_than_the_next_group_and_what_each_hand_holds():
    read = []
    groups = ReadAhead(2).groups([lambda n=number: read.append(n) for number in range(50)], 5)
    for place, group in enumerate(groups):
        assert len(read) <= 5 * (place + 1) + 5 + 2
        assert len(group) == 5
    assert sorted(read) == list(range(50))


def test_the_next_files_are_read_while_a_group_is_looked_at(ahead):
    begun = threading.Event()
    groups = ahead.groups([lambda: 0, begun.set], 1)
    assert next(groups) == [0]
    assert begun.wait(30)  # nobody has asked for it yet
    groups.close()


def test_what_a_read_raises_comes_in_its_turn_and_ends_the_others(ahead):
    def fails():
        raise OSError("gone")

    late = []
    groups = ahead.groups([lambda: 1, fails, *[lambda: late.append(1)] * 100], 1)
    assert next(groups) == [1]
    with pytest.raises(OSError, match="gone"):
        next(groups)
    assert len(late) < 10


def test_a_read_knows_of_which_study_it_is(ahead):
    token = STUDY.set("1.2.3")
    try:
        assert list(ahead.groups([STUDY.get] * 3, 3)) == [["1.2.3"] * 3]
    finally:
        STUDY.reset(token)
