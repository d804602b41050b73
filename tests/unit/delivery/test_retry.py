from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.errors import ConfigurationError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = RetryPolicy(first=timedelta(seconds=2), longest=timedelta(seconds=60), give_up_after=timedelta(hours=1))


class Draw(Random):
    """Always draws the same part of the range."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def random(self):
        return self.part


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60), (100, 60)]
)
def test_the_longest_wait_doubles_up_to_its_cap(attempt, seconds):
    assert POLICY.ceiling(attempt) == timedelta(seconds=seconds)
    assert POLICY.next_attempt(attempt, NOW, Draw(0.5)) == NOW + timedelta(seconds=seconds / 2)


@given(attempt=st.integers(1, POLICY.max_attempts - 1), seed=st.integers())
def test_every_wait_is_between_now_and_the_ceiling(attempt, seed):
    at = POLICY.next_attempt(attempt, NOW, Random(seed))
    assert NOW <= at <= NOW + POLICY.ceiling(attempt)


def test_waits_are_spread():
    rng = Random(1)
    assert len({POLICY.next_attempt(3, NOW, rng) for _ in range(50)}) == 50


def test_it_gives_up_after_about_the_time_that_was_asked_for():
    waits = [POLICY.ceiling(attempt) / 2 for attempt in range(1, POLICY.max_attempts)]
    assert timedelta(minutes=59) <= sum(waits, timedelta()) <= timedelta(hours=1)
    assert POLICY.next_attempt(POLICY.max_attempts, NOW, Draw(0)) is None
    assert POLICY.next_attempt(POLICY.max_attempts + 5, NOW, Draw(0)) is None


@pytest.mark.parametrize(
    ("hours", "first", "longest"), [(72, 2, 300), (0.001, 2, 300), (1, 60, 60), (10_000, 0.001, 86_400)]
)
def test_there_is_always_an_attempt_and_always_a_last_one(hours, first, longest):
    policy = RetryPolicy(
        first=timedelta(seconds=first), longest=timedelta(seconds=longest), give_up_after=timedelta(hours=hours)
    )
    assert 1 <= policy.max_attempts < 100_000


def test_the_default_outlasts_a_weekend():
    assert RetryPolicy().max_attempts > 800


@pytest.mark.parametrize(("first", "longest"), [(0, 10), (-1, 10), (20, 10)])
def test_waits_that_make_no_sense_are_refused(first, longest):
    with pytest.raises(ConfigurationError, match="does not fit the longest wait"):
        RetryPolicy(first=timedelta(seconds=first), longest=timedelta(seconds=longest))
