"""Mean waits in closed form: the published figures, and what every such queue must keep."""

import math

import pytest

from triage_agent.capacity.groups import diseases_of, groups_of, mean_over, share_of
from triage_agent.capacity.room import CaseMix, Disease, ReadingRoom
from triage_agent.capacity.theory import expected_waits


def room(*diseases, readers=1, load=0.8, preemptive=True, read=10.0, spread=1.0, stat=0.0, alike=False):
    found = tuple(Disease(f"d{number}", *figures) for number, figures in enumerate(diseases, start=1))
    mix = CaseMix(found or (Disease("d1", 0.1, 0.9, 0.9, read),), read, spread=spread, stat=stat, alike=alike)
    return ReadingRoom.at_load(mix, readers=readers, load=load, preemptive=preemptive)


def means(one):
    waits = expected_waits(one)
    return {
        name: (mean_over(cells, waits.without), mean_over(cells, waits.triaged))
        for name, cells in (groups_of(one.mix) | diseases_of(one.mix)).items()
    }


def test_the_published_figures_hold_to_three_decimals():
    told = {name: (round(before, 3), round(after, 3)) for name, (before, after) in means(room()).items()}
    assert told["all"] == (40.0, 40.0)
    assert told["flagged"] == told["true_positive"] == told["false_positive"] == (40.0, 1.682)
    assert told["unflagged"] == told["false_negative"] == told["true_negative"] == (40.0, 48.411)
    assert told["diseased"] == (40.0, 6.355)
    assert told["non_diseased"] == (40.0, 43.738)
    before, after = means(room())["diseased"]
    assert round(before - after, 3) == 33.645
    assert expected_waits(room()).exact


@pytest.mark.parametrize("load", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.9, 0.9), (0.7, 0.99), (1.0, 0.5)])
def test_equal_reading_times_give_the_formulas_of_the_paper(load, sensitivity, specificity):
    one = room((0.2, sensitivity, specificity, 10.0), load=load)
    flagged = load * (0.2 * sensitivity + 0.8 * (1 - specificity))
    told = means(one)
    assert told["flagged"][1] == pytest.approx(10 * flagged / (1 - flagged))
    assert told["unflagged"][1] == pytest.approx(10 / ((1 - flagged) * (1 - load)) - 10)


def test_a_reader_who_finishes_first_keeps_urgent_studies_waiting_for_what_is_left():
    told = means(room(preemptive=False))
    flagged = 0.8 * 0.18
    assert told["flagged"][1] == pytest.approx(0.8 * 10 / (1 - flagged))  # Cobham
    assert told["unflagged"][1] == pytest.approx(0.8 * 10 / ((1 - flagged) * (1 - 0.8)))


@pytest.mark.parametrize(("readers", "load"), [(1, 0.5), (2, 0.75), (5, 0.8), (30, 0.95)])
def test_without_triage_it_is_erlangs_queue(readers, load):
    offered = readers * load
    last = offered**readers / math.factorial(readers) / (1 - load)
    has_to_wait = last / (sum(offered**number / math.factorial(number) for number in range(readers)) + last)
    assert means(room(readers=readers, load=load))["all"][0] == pytest.approx(has_to_wait * 10 / (readers * (1 - load)))


def test_two_hundred_readers_are_no_trouble():
    told = means(room(readers=200, load=0.97))
    assert 0 <= told["flagged"][1] < told["diseased"][1] < told["all"][0] < told["unflagged"][1] < 10


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_with_one_reader_longer_and_shorter_readings_count_by_their_second_moment(spread):
    wait = 0.8 / (1 - 0.8) * 10 * (1 + spread**2) / 2  # Pollaczek and Khinchine
    assert means(room(spread=spread))["all"][0] == pytest.approx(wait)


@pytest.mark.parametrize("preemptive", [True, False])
@pytest.mark.parametrize("readers", [1, 2, 3, 8])
def test_triage_shifts_waits_and_saves_none_where_all_readings_take_equally_long(readers, preemptive):
    one = room(
        (0.1, 0.9, 0.8, 10.0), (0.05, 0.8, 0.95, 10.0), readers=readers, load=0.9, preemptive=preemptive, stat=0.05
    )
    before, after = means(one)["all"]
    assert after == pytest.approx(before)
    assert expected_waits(one).exact


@pytest.mark.parametrize("readers", [2, 4])
def test_the_most_urgent_class_with_preemption_is_a_queue_to_itself(readers):
    one = room((0.2, 1.0, 1.0, 10.0), readers=readers, load=0.9)
    alone = room(readers=readers, load=0.9 * 0.2)
    assert means(one)["flagged"][1] == pytest.approx(means(alone)["all"][0])


def test_an_earlier_disease_goes_before_a_later_one_unless_flags_are_alike():
    two = ((0.1, 0.9, 0.9, 10.0), (0.1, 0.9, 0.9, 10.0))
    ranked, alike = means(room(*two)), means(room(*two, alike=True))
    assert ranked["d1"][1] < alike["d1"][1] < ranked["d2"][1]
    assert alike["d1"][1] == pytest.approx(alike["d2"][1])
    assert ranked["unflagged"][1] == pytest.approx(alike["unflagged"][1])


def test_what_is_ordered_stat_waits_for_no_flag():
    told = means(room(stat=0.1))
    assert told["stat"][0] == pytest.approx(told["stat"][1])
    assert told["stat"][1] < told["flagged"][1]
    assert told["stat"][1] == pytest.approx(10 * 0.08 / (1 - 0.08))


def test_a_useless_flag_and_a_flag_on_everything_save_nothing():
    chance = means(room((0.1, 0.3, 0.7, 10.0)))
    assert chance["diseased"][1] == pytest.approx(chance["non_diseased"][1])
    for all_or_none in ((0.1, 1.0, 0.0, 10.0), (0.1, 0.0, 1.0, 10.0)):
        before, after = means(room(all_or_none))["diseased"]
        assert after == pytest.approx(before)


@pytest.mark.parametrize(
    ("options", "exact"),
    [
        ({"spread": 0.5}, True),
        ({"readers": 2, "spread": 0.5}, False),
        ({"readers": 2, "read": 8.0}, False),
        ({"read": 8.0}, True),
    ],
)
def test_it_says_where_it_is_an_approximation(options, exact):
    assert expected_waits(room((0.1, 0.9, 0.9, 10.0), **options)).exact is exact


@pytest.mark.parametrize("alike", [True, False])
def test_the_kinds_of_study_are_all_studies_and_differ(alike):
    # With these figures both kinds of software flag equally many healthy studies at first sight.
    one = room((0.1, 0.9, 0.9, 10.0), (0.1, 0.9, 1 - 0.1 / 0.9, 10.0), alike=alike, stat=0.05)
    assert share_of(one.mix.cells) == pytest.approx(1)
    assert len({(cell.stat, cell.disease, cell.flag) for cell in one.mix.cells}) == len(one.mix.cells)
    groups = {name: share_of(cells) for name, cells in groups_of(one.mix).items()}
    assert groups["diseased"] == pytest.approx(0.95 * 0.2)
    assert groups["flagged"] + groups["unflagged"] + groups["stat"] == pytest.approx(1)
    assert groups["true_positive"] + groups["false_negative"] == pytest.approx(groups["diseased"])
