from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.domain.study import AssemblyView, CompletenessRule
from triage_agent.intake.assembly import Complete, Wait, assess

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
QUIET = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))
ASKING = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900), ask_after=timedelta(seconds=2))


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def view(last=0.0, instances=2, asked=0, first=0.0):
    return AssemblyView(
        study_instance_uid="1.2.1",
        revision=1,
        instances=instances,
        first_received_at=at(first),
        last_received_at=at(last),
        asked=asked,
    )


@pytest.mark.parametrize(
    ("now", "last", "step"),
    [
        (0, 0, Wait(at(30), ask=False)),
        (29.9, 0, Wait(at(30), ask=False)),
        (30, 0, Complete("no image came for 30 s")),
        (500, 0, Complete("no image came for 30 s")),
        (31, 5, Wait(at(35), ask=False)),
        (35, 5, Complete("no image came for 30 s")),
        (880, 875, Wait(at(900), ask=False)),  # the quiet period would end later than the longest wait
        (900, 899, Complete("the longest wait of 900 s is over")),
        (2000, 1999, Complete("the longest wait of 900 s is over")),
    ],
)
def test_a_study_is_complete_when_it_was_quiet_or_at_the_latest(now, last, step):
    assert assess(view(last), QUIET, at(now)) == step


@pytest.mark.parametrize(
    ("now", "asked", "answer", "step"),
    [
        (0, 0, None, Wait(at(2), ask=False)),
        (1.9, 0, None, Wait(at(2), ask=False)),
        (2, 0, None, Wait(at(4), ask=True)),
        (2, 0, 2, Wait(at(22), ask=False)),  # all are here, as far as the peer knows: ask once more
        (21, 1, 2, Wait(at(22), ask=False)),
        (22, 1, None, Wait(at(26), ask=True)),
        (22, 1, 2, Complete("all 2 images that the peer counts are here, and none came for 22 s")),
        (22, 1, 3, Wait(at(26), ask=False)),
        (2, 0, 3, Wait(at(4), ask=False)),  # more are on their way
        (2, 0, 1, Wait(at(4), ask=False)),  # the peer has not filed them yet
        (4, 1, 3, Wait(at(8), ask=False)),
        (8, 2, 3, Wait(at(16), ask=False)),
        (16, 3, 3, Wait(at(30), ask=False)),  # the quiet period ends the questions
        (30, 4, None, Complete("no image came for 30 s")),
        (30, 4, 3, Complete("no image came for 30 s")),
    ],
)
def test_a_peer_is_asked_after_longer_and_longer_pauses_until_the_quiet_period_ends(now, asked, answer, step):
    assert assess(view(asked=asked), ASKING, at(now), images_at_peer=answer) == step


def test_an_equal_count_is_waited_upon_no_longer_than_the_quiet_period():
    hasty = replace(ASKING, quiet=timedelta(seconds=5))
    assert assess(view(), hasty, at(2), images_at_peer=2) == Wait(at(5), ask=False)
    assert assess(view(), hasty, at(5), images_at_peer=2) == Complete("no image came for 5 s")


def test_a_site_whose_peer_sends_whole_studies_may_believe_the_first_answer():
    trusting = replace(ASKING, steady=timedelta(0))
    assert assess(view(), trusting, at(2), images_at_peer=2) == Complete(
        "all 2 images that the peer counts are here, and none came for 2 s"
    )


def test_questions_are_at_most_a_minute_apart():
    patient = CompletenessRule(quiet=timedelta(hours=2), max_wait=timedelta(hours=4), ask_after=timedelta(seconds=2))
    assert assess(view(asked=400), patient, at(3600)) == Wait(at(3660), ask=True)


def test_a_new_image_makes_the_peer_be_asked_soon_again():
    assert assess(view(last=20, instances=3, asked=4), ASKING, at(21)) == Wait(at(22), ask=False)


@pytest.mark.parametrize("back", [31, 3600, 86_400])
def test_a_clock_that_was_set_back_far_does_not_strand_a_study(back):
    assert assess(view(), QUIET, at(-back)) == Complete("the clock was set back since the last image")


@pytest.mark.parametrize("back", [0.001, 5, 30])
def test_a_clock_that_was_set_back_a_little_costs_no_more_than_a_second_quiet_period(back):
    step = assess(view(), QUIET, at(-back))
    assert isinstance(step, Wait)
    assert step.until <= at(-back) + 2 * QUIET.quiet


def test_a_first_image_in_the_future_does_not_prolong_the_longest_wait_beyond_that_of_the_last():
    step = assess(view(first=3600, last=0), QUIET, at(10))
    assert step == Wait(at(30), ask=False)


@pytest.mark.parametrize("rule", [QUIET, ASKING])
def test_every_wait_ends_later_than_now_and_leads_to_completion(rule):
    now, asked, steps = at(0), 0, 0
    while isinstance(step := assess(view(asked=asked), rule, now, images_at_peer=None), Wait):
        assert step.until > now
        now, asked, steps = step.until, asked + step.ask, steps + 1
    assert steps < 10
