"""What the PACS has more of is fetched once the quiet period is over, and waited for, but not for ever."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.story import RULE, STUDY, T0

from triage_agent.domain.retrieval import LONGEST_UNANSWERED, RetrievalRecord, RetrievalState
from triage_agent.domain.study import AssemblyView
from triage_agent.intake.assembly import Complete, Fetch, Wait, assess

SECOND = timedelta(seconds=1)
FETCHING = replace(RULE, fetch=True)
QUIET, LATEST = T0 + RULE.quiet, T0 + RULE.max_wait


def view(**changes):
    values = {"revision": 1, "instances": 14, "first_received_at": T0, "last_received_at": T0, **changes}
    return AssemblyView(study_instance_uid=STUDY, **values)


def retrieval(state, expected=16, revision=1, requested_at=QUIET):
    return RetrievalRecord(
        study_instance_uid=STUDY,
        peer="pacs",
        state=state,
        requested_by="triage-agent",
        requested_at=requested_at,
        revision=revision,
        attempts=1,
        expected=expected,
        missing=(),
        last_error=None,
    )


WAITING, DONE, GIVEN_UP = RetrievalState.WAITING, RetrievalState.DONE, RetrievalState.GIVEN_UP


def test_nothing_is_fetched_before_the_quiet_period_is_over_or_where_nobody_wants_it():
    assert assess(view(), FETCHING, QUIET - SECOND) == Wait(QUIET, ask=False)
    assert assess(view(), FETCHING, QUIET) == Fetch()
    assert isinstance(assess(view(), RULE, QUIET), Complete)


def test_nothing_is_fetched_when_the_longest_wait_is_over():
    late = view(last_received_at=LATEST - SECOND)
    assert isinstance(assess(late, FETCHING, LATEST), Complete)


@pytest.mark.parametrize("rule", [RULE, FETCHING])
def test_a_study_that_is_being_fetched_is_not_dispatched_before_that_has_ended(rule):
    """Also one that a person fetches, where nothing is fetched by itself."""
    held = view(retrieval=retrieval(WAITING))
    step = assess(held, rule, QUIET + 100 * SECOND)
    assert step == Wait(LATEST, ask=False, reason="fetching from pacs: 14 of 16 images are here", fetching=True)
    assert isinstance(assess(held, rule, LATEST), Complete)


def test_a_count_of_the_peer_does_not_end_a_move_early():
    assert isinstance(assess(view(retrieval=retrieval(WAITING)), RULE, QUIET, images_at_peer=14), Wait)


def test_a_pacs_that_does_not_even_say_what_it_has_is_not_waited_for_so_long():
    unanswered = view(retrieval=retrieval(WAITING, expected=None))
    until = QUIET + LONGEST_UNANSWERED
    said = "asking pacs which images it has"
    assert assess(unanswered, FETCHING, QUIET) == Wait(until, ask=False, reason=said, fetching=True)
    assert isinstance(assess(unanswered, FETCHING, until), Complete)


def test_what_was_fetched_whole_is_complete_at_once():
    step = assess(view(instances=16, last_received_at=QUIET, retrieval=retrieval(DONE)), FETCHING, QUIET + SECOND)
    assert step == Complete("all 16 images that the peer has are here")


def test_an_image_that_the_pacs_did_not_have_starts_the_quiet_period_anew():
    step = assess(view(instances=17, last_received_at=QUIET, retrieval=retrieval(DONE)), FETCHING, QUIET + SECOND)
    assert step == Wait(QUIET + RULE.quiet, ask=False)


def test_a_revision_is_fetched_once_and_the_next_one_again():
    ended = view(instances=14, retrieval=retrieval(GIVEN_UP))
    step = assess(ended, FETCHING, QUIET)
    assert step == Complete("no image came for 30 s; 14 of 16 images that pacs has are here")
    assert assess(replace(ended, revision=2), FETCHING, QUIET) == Fetch()


def test_what_came_of_a_retrieval_that_failed_is_waited_for_as_any_image():
    came = view(instances=15, last_received_at=QUIET, retrieval=retrieval(GIVEN_UP))
    assert assess(came, FETCHING, QUIET + SECOND) == Wait(QUIET + RULE.quiet, ask=False)


def test_a_clock_that_was_set_back_holds_nothing_up():
    ahead = view(last_received_at=T0 + timedelta(hours=1))
    assert assess(ahead, FETCHING, T0) == Complete("the clock was set back since the last image")
