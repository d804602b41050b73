"""The reading room event by event, on days that can be followed by hand."""

import random

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


def minute_by_minute(arrivals, reads, ranks, readers, preemptive):
    """The same rules, told otherwise: each minute the readers look who is here. Times are whole minutes."""
    left, ends, reading, now = list(reads), {}, [], 0
    while len(ends) < len(reads):
        here = [study for study, came in enumerate(arrivals) if came <= now and left[study]]
        best_first = sorted(here, key=lambda study: (ranks[study], study))
        if preemptive:
            reading = best_first[:readers]
        else:  # who ends now is followed by one who waited before now
            waited = [study for study in best_first if arrivals[study] < now]
            for study in (*waited, *best_first):
                if study not in reading and len(reading) < readers:
                    reading.append(study)
        now += 1
        for study in list(reading):
            left[study] -= 1
            if not left[study]:
                ends[study] = now
                reading.remove(study)
    return [ends[study] - arrivals[study] - reads[study] for study in range(len(reads))]


@pytest.mark.parametrize("preemptive", [True, False])
@pytest.mark.parametrize("readers", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_slower_and_simpler_room_says_the_same(seed, readers, preemptive):
    chance = random.Random(seed)
    arrivals = sorted(chance.sample(range(60 // readers), 15))
    reads = [chance.randint(1, 9) for _ in arrivals]
    ranks = [chance.randint(0, 3) for _ in arrivals]
    told = simulated_waits(arrivals, reads, ranks, readers=readers, preemptive=preemptive)
    assert told == minute_by_minute(arrivals, reads, ranks, readers, preemptive)
    assert max(told) > 0
