from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_agent.domain.study import CompletenessRule

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def seconds(number):
    return timedelta(seconds=number)


RULE = CompletenessRule(quiet=seconds(30), max_wait=seconds(900))
ASKING = CompletenessRule(quiet=seconds(30), max_wait=seconds(900), ask_after=seconds(5))


@pytest.mark.parametrize(
    ("rule", "last", "check"),
    [
        (RULE, 0, 30),
        (RULE, 10, 40),
        (RULE, 870, 900),
        (RULE, 880, 900),
        (RULE, 2_000, 900),
        (ASKING, 0, 5),
        (ASKING, 898, 900),
        (CompletenessRule(quiet=seconds(30), max_wait=seconds(900), ask_after=seconds(60)), 0, 30),
        (CompletenessRule(quiet=seconds(30), max_wait=seconds(900), ask_after=seconds(0)), 7, 7),
        (CompletenessRule(quiet=seconds(0), max_wait=seconds(0)), 0, 0),
    ],
)
def test_the_next_check_is_after_the_quiet_time_and_at_the_latest_after_the_longest_wait(rule, last, check):
    assert rule.next_check(T0, T0 + seconds(last)) == T0 + seconds(check)


@given(
    quiet=st.integers(0, 1_000),
    longest=st.integers(0, 1_000),
    ask=st.none() | st.integers(0, 1_000),
    last=st.integers(0, 10_000),
)
def test_a_study_never_waits_longer_than_either_limit(quiet, longest, ask, last):
    rule = CompletenessRule(
        quiet=seconds(quiet), max_wait=seconds(longest), ask_after=None if ask is None else seconds(ask)
    )
    check = rule.next_check(T0, T0 + seconds(last))
    assert check <= T0 + seconds(longest)
    assert check <= T0 + seconds(last + quiet)
