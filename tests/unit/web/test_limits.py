"""How often one address may: at once, in the long run, in bounded memory."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.web.site.limits import Pace, place_of


class Clock:
    def __init__(self):
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


def test_so_many_at_once_and_then_as_time_goes_by():
    clock = Clock()
    pace = Pace(6, clock)
    assert [pace.admit("a") for _ in range(6)] == [None] * 6
    refused = pace.admit("a")
    assert (refused.seconds, refused.first) == (10, True)
    assert pace.admit("a").first is False
    assert pace.admit("b") is None
    clock.now += timedelta(seconds=10)
    assert pace.admit("a") is None
    assert pace.admit("a").first is True  # another burst


def test_a_clock_that_is_set_back_gives_nothing_and_blocks_nobody_for_long():
    clock = Clock()
    pace = Pace(60, clock)
    for _ in range(60):
        assert pace.admit("a") is None
    clock.now -= timedelta(days=1)
    assert pace.admit("a") is not None
    clock.now += timedelta(seconds=1)
    assert pace.admit("a") is None


def test_memory_is_bounded_and_the_busy_are_remembered():
    pace = Pace(1, Clock())
    assert pace.admit("busy") is None
    for number in range(20_000):
        assert pace.admit(str(number)) is None
        if number % 1000 == 0:
            assert pace.admit("busy") is not None
    assert len(pace._buckets) <= 8192


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("", "testclient", False),
    ],
)
def test_an_ipv6_network_is_one_address(one, other, same):
    assert (place_of(one) == place_of(other)) is same
