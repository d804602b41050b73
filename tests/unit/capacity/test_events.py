"""The reading room event by event, on days that can be followed by hand."""

import pytest

from triage_agent.capacity.events import simulated_waits


@pytest.mark.parametrize(
    ("ranks", "preemptive", "waits"),
    [
        ([1, 1, 1, 1], True, [0, 9, 18, 19]),  # in the order of arrival
        ([2, 2, 1, 2], False, [0, 11, 8, 19]),  # finished first
        ([2, 2, 1, 2], True, [2, 11, 0, 19]),  # put aside at 2, resumed at 4
        ([3, 2, 1, 3], True, [12, 2, 0, 19]),  # put aside twice over: for the second, which is put aside for the third
        ([1, 2, 1, 1], True, [0, 16, 8, 9]),  # an equal interrupts nobody
    ],
)
def test_one_reader(ranks, preemptive, waits):
    arrivals, reads = [0.0, 1.0, 2.0, 3.0], [10.0, 10.0, 2.0, 5.0]
    told = simulated_waits(arrivals, reads, ranks, readers=1, preemptive=preemptive)
    assert told == pytest.approx(waits)


def test_with_two_readers_the_least_urgent_and_latest_is_put_aside_and_goes_on_at_whoever_is_free():
    # 0 and 1 are read; 2 interrupts 1, the later; 0 ends at 6 and its reader goes on with 1, which has 9 left.
    told = simulated_waits([0.0, 1.0, 2.0], [6.0, 10.0, 9.0], [2, 2, 1], readers=2, preemptive=True)
    assert told == pytest.approx([0, 4, 0])
    # 1 is the more urgent one here: it stays, and 0 is put aside.
    told = simulated_waits([0.0, 1.0, 2.0], [6.0, 10.0, 9.0], [3, 2, 1], readers=2, preemptive=True)
    assert told == pytest.approx([9, 0, 0])


def test_who_was_put_aside_goes_on_before_those_who_came_later():
    told = simulated_waits([0.0, 1.0, 2.0], [4.0, 4.0, 1.0], [2, 2, 1], readers=1, preemptive=True)
    assert told == pytest.approx([1, 4, 0])


def test_nobody_waits_where_there_is_a_reader_for_each():
    assert simulated_waits([0.0, 0.0, 0.0], [5.0, 5.0, 5.0], [2, 1, 2], readers=3, preemptive=True) == [0, 0, 0]
    assert simulated_waits([], [], [], readers=3, preemptive=True) == []
