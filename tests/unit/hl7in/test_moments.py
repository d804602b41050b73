"""Times as messages state them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.hl7in.moments import moment_of

AT = datetime(2026, 3, 1, 9, 30, 15, tzinfo=UTC)


@pytest.fixture
def zone(monkeypatch):
    """Sets this machine's zone for a test."""

    def be(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield be
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("20260301093015+0000", AT),
        ("20260301103015.5+0100", AT + timedelta(seconds=0.5)),
        ("20260301043015.12345678-0500", AT + timedelta(microseconds=123456)),
    ],
)
def test_a_time_with_a_zone_is_that_moment(stated, expected):
    assert moment_of(stated) == expected


def test_a_time_without_a_zone_is_this_machine_s(zone):
    zone("Europe/Berlin")
    assert moment_of("20260301103015") == AT


def test_the_hour_that_there_is_twice_says_nothing(zone):
    zone("Europe/Berlin")
    assert moment_of("20261025023000") is None
    assert moment_of("20261025033000") is not None


@pytest.mark.parametrize(
    "stated",
    [None, "", "2026", "202603010930", "20261301093015", "20260301093015+9900", "x", "00000000000000", "\uff19" * 14],
)
def test_what_is_less_exact_or_no_time_says_nothing(stated):
    assert moment_of(stated) is None
