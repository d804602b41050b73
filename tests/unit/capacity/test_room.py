"""What is no reading room is refused, with how to mend it."""

import math

import pytest

from triage_agent.capacity.room import CaseMix, Disease, ReadingRoom
from triage_agent.domain.errors import ConfigurationError

KNEE = Disease("knee", 0.1, 0.9, 0.9, 10.0)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_share_is_between_0_and_1(place, wrong):
    figures = [0.1, 0.9, 0.9]
    figures[place] = wrong
    with pytest.raises(ConfigurationError, match="give a share from 0 to 1"):
        Disease("knee", *figures, 10.0)


@pytest.mark.parametrize("minutes", [0.0, -1.0, 1441.0, math.nan, math.inf])
def test_a_time_is_above_0_and_at_most_a_day(minutes):
    with pytest.raises(ConfigurationError, match="minutes"):
        Disease("knee", 0.1, 0.9, 0.9, minutes)
    with pytest.raises(ConfigurationError, match="minutes"):
        CaseMix((KNEE,), minutes)


@pytest.mark.parametrize("name", ["", "x" * 41])
def test_a_disease_has_a_name(name):
    with pytest.raises(ConfigurationError, match="1 to 40 characters"):
        Disease(name, 0.1, 0.9, 0.9, 10.0)


@pytest.mark.parametrize(
    ("diseases", "said"),
    [
        ((), "0 diseases"),
        (tuple(Disease(f"d{number}", 0.01, 0.9, 0.9, 10.0) for number in range(11)), "11 diseases"),
        ((KNEE, KNEE), "the same name"),
        ((KNEE, Disease("hand", 0.95, 0.9, 0.9, 10.0)), "more than 1"),
    ],
)
def test_diseases_that_cannot_be_are_refused(diseases, said):
    with pytest.raises(ConfigurationError, match=said):
        CaseMix(diseases, 10.0)


@pytest.mark.parametrize("options", [{"spread": -1.0}, {"spread": math.nan}, {"stat": 1.5}, {"stat": math.nan}])
def test_spread_and_stat_have_ranges(options):
    with pytest.raises(ConfigurationError):
        CaseMix((KNEE,), 10.0, **options)


@pytest.mark.parametrize("load", [1.0, 1.2, 0.9999999, math.inf])
def test_more_than_can_be_read_is_refused(load):
    with pytest.raises(ConfigurationError, match="the list grows for ever; give less than 1"):
        ReadingRoom.at_load(CaseMix((KNEE,), 10.0), readers=1, load=load, preemptive=True)


@pytest.mark.parametrize("load", [0.0, -0.5, math.nan])
def test_a_load_is_above_0(load):
    with pytest.raises(ConfigurationError, match="the load is"):
        ReadingRoom.at_load(CaseMix((KNEE,), 10.0), readers=1, load=load, preemptive=True)


@pytest.mark.parametrize("readers", [0, -1, 201])
def test_somebody_reads(readers):
    with pytest.raises(ConfigurationError, match="readers"):
        ReadingRoom(CaseMix((KNEE,), 10.0), readers, 0.01, preemptive=True)


def test_diseased_studies_that_take_longer_make_the_load():
    mix = CaseMix((Disease("knee", 0.2, 0.9, 0.9, 20.0),), 5.0, stat=0.1)
    assert mix.mean_read == pytest.approx(0.2 * 20 + 0.8 * 5)
    assert ReadingRoom(mix, 2, 0.2, preemptive=True).load == pytest.approx(0.8)
