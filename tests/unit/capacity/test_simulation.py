"""Simulated reading rooms: they agree with the theory within the intervals that they state."""

import math

import numpy as np
import pytest

from triage_agent.capacity import simulation
from triage_agent.capacity.groups import diseases_of, groups_of, mean_over
from triage_agent.capacity.room import CaseMix, Disease, ReadingRoom
from triage_agent.capacity.simulation import REPLICATIONS, simulate
from triage_agent.capacity.theory import expected_waits
from triage_agent.domain.errors import ConfigurationError

ONE = (Disease("knee", 0.2, 0.9, 0.8, 10.0),)
TWO = (Disease("fracture", 0.15, 0.9, 0.9, 14.0), Disease("dislocation", 0.1, 0.8, 0.95, 6.0))


def room(diseases=ONE, *, readers=1, load=0.6, preemptive=True, **mix):
    return ReadingRoom.at_load(CaseMix(diseases, 10.0, **mix), readers=readers, load=load, preemptive=preemptive)


@pytest.mark.parametrize("preemptive", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"readers": 3, "stat": 0.1},
        {"diseases": TWO, "spread": 0.5},
        {"diseases": TWO, "stat": 0.1, "alike": True},
        {"spread": 0.0},
    ],
)
def test_the_theory_lies_in_the_stated_intervals(options, preemptive):
    one = room(**options, preemptive=preemptive)
    waits = expected_waits(one)
    assert waits.exact
    seen = simulate(one, seed=3, studies=16_000)
    assert seen.settled
    for name, cells in (groups_of(one.mix) | diseases_of(one.mix)).items():
        told = seen.group(cells)
        before, after = mean_over(cells, waits.without), mean_over(cells, waits.triaged)
        for estimate, expected in (
            (told.without.mean, before),
            (told.triaged.mean, after),
            (told.saved, before - after),
        ):
            # Of so many 95 % intervals some miss: 1.7 of them is 3.6 standard errors.
            half = estimate.high - estimate.value
            assert abs(estimate.value - expected) <= 1.7 * half + 1e-9, name


def test_the_published_figures_lie_in_the_intervals_of_their_simulation():
    one = ReadingRoom.at_load(CaseMix((Disease("d", 0.1, 0.9, 0.9, 10.0),), 10.0), readers=1, load=0.8, preemptive=True)
    seen = simulate(one, seed=2, studies=40_000)
    assert seen.settled
    for name, published in (("flagged", 1.682), ("unflagged", 48.411), ("diseased", 6.355), ("non_diseased", 43.738)):
        told = seen.group(groups_of(one.mix)[name])
        assert told.triaged.mean.low <= published <= told.triaged.mean.high, name
        assert told.without.mean.low <= 40 <= told.without.mean.high, name


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    one = room(load=0.4)
    cells = groups_of(one.mix)["diseased"]
    expected = mean_over(cells, expected_waits(one).triaged)
    found = [simulate(one, seed=seed, studies=1500).group(cells).triaged.mean for seed in range(30)]
    held = sum(estimate.low <= expected <= estimate.high for estimate in found)
    assert 24 <= held <= 30  # fewer have a probability of 1 in 3000 if each holds it 95 times of 100
    assert all(estimate.low < estimate.value < estimate.high for estimate in found)


def test_percentiles_are_those_of_the_known_distribution():
    one = room(load=0.4)
    seen = simulate(one, seed=5, studies=40_000).group(groups_of(one.mix)["all"]).without
    # M/M/1: P(wait > t) = load exp(-(1 - load) t / read)
    assert seen.percentiles[50] == 0
    for number in (90, 95):
        expected = -np.log((1 - number / 100) / 0.4) * 10 / 0.6
        assert seen.percentiles[number] == pytest.approx(expected, rel=0.1)


def test_the_same_seed_makes_the_same_simulation_and_another_another():
    one = room()
    cells = groups_of(one.mix)["all"]
    first, again, other = (simulate(one, seed=seed, studies=2000).group(cells) for seed in (1, 1, 2))
    assert first == again
    assert first.without.mean.value != other.without.mean.value


def test_the_same_studies_are_read_with_and_without_triage():
    one = room((Disease("knee", 0.2, 0.0, 1.0, 10.0),))  # nothing is ever flagged
    told = simulate(one, seed=1, studies=2000).group(groups_of(one.mix)["all"])
    assert (told.saved.value, told.saved.low, told.saved.high) == (0, 0, 0)
    assert told.without == told.triaged


def test_runs_that_are_too_short_for_the_load_say_so():
    assert not simulate(room(load=0.95), seed=1, studies=2000).settled
    assert simulate(room(load=0.3), seed=1, studies=2000).settled


def test_without_a_number_the_load_says_how_many(monkeypatch):
    asked = []

    def run(_room, _cells, _random, first, counted):
        asked.append((first, counted))
        return simulation._Run(np.zeros(1, dtype=np.intp), np.zeros(1), np.zeros(1))

    monkeypatch.setattr(simulation, "_run", run)
    told = {load: simulate(room(load=load), seed=1) for load in (0.5, 0.95, 0.999)}
    assert told[0.5].studies == 200_000
    assert 200_000 < told[0.95].studies < told[0.999].studies == 2_000_000
    assert [one.settled for one in told.values()] == [True, True, False]
    assert asked[-1] == (50_000, 100_000)  # too short: half as many again, to forget the empty room as well as may be


def test_a_group_that_hardly_comes_has_no_interval_and_one_that_never_comes_nothing():
    one = room(
        (Disease("knee", 0.2, 0.9, 0.8, 10.0), Disease("rare", 1e-6, 0.9, 0.9, 10.0), Disease("odd", 0.03, 1, 1, 9))
    )
    seen = simulate(one, seed=1, studies=200)
    assert seen.group(diseases_of(one.mix)["rare"]) is None
    told = seen.group(diseases_of(one.mix)["odd"])
    assert 0 < told.studies < REPLICATIONS
    assert (told.triaged.mean.low, told.triaged.mean.high) == (None, None)


@pytest.mark.parametrize("studies", [-5, 0, 19, 10_000_001])
def test_too_few_and_too_many_are_refused(studies):
    with pytest.raises(ConfigurationError, match="give 20 to 10000000"):
        simulate(room(), seed=1, studies=studies)


def test_the_interval_is_students():
    freedom, end = REPLICATIONS - 1, simulation._STUDENT_T
    points = np.linspace(-end, end, 20_001)
    density = (1 + points**2 / freedom) ** (-(freedom + 1) / 2) / np.sqrt(freedom * np.pi)
    density *= math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
    assert np.trapezoid(density, points) == pytest.approx(simulation.CONFIDENCE, abs=1e-8)
