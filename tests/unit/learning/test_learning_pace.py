"""Time left, as it is told to whoever waits."""

import pytest

from triage_agent.learning.pace import Pace, left_in_words


def test_what_is_left_takes_as_long_as_what_was_done():
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.left(3) == float("inf")
    now[0] = 120.0
    pace.did(4)
    assert pace.left(3) == pytest.approx(15.0)
    now[0] = 130.0
    pace.did(1)
    assert pace.left(10) == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s left"), (119, "119 s left"), (120, "2 min left"), (9000, "2.5 h left")]
)
def test_long_waits_are_told_in_long_units(seconds, words):
    assert left_in_words(seconds) == words
