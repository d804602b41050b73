import itertools

import pytest

from triage_agent.domain.errors import IllegalTransitionError
from triage_agent.domain.states import BEGINNINGS, CONCLUDED, TRANSITIONS, next_status, opens_revision, sources_of
from triage_agent.domain.vocabulary import Event, Status

# The table once more, by hand: what changes there must be meant.
LEGAL = {
    "receiving": {"image_received": "receiving", "completed": "ready"},
    "ready": {"image_received": "receiving", "claimed": "scoring"},
    "scoring": {
        "image_received": "receiving",
        "given_back": "ready",
        "decided": "decided",
        "excluded": "out_of_scope",
        "failed": "needs_human",
        "reissued": "receiving",
    },
    "decided": {"image_received": "receiving", "delivered": "delivered", "reissued": "receiving"},
    "delivered": {"image_received": "receiving", "reissued": "receiving"},
    "out_of_scope": {"image_received": "receiving", "retried": "ready", "reissued": "receiving"},
    "needs_human": {"image_received": "receiving", "retried": "ready", "reissued": "receiving"},
}
for status, moves in LEGAL.items():
    moves["object_received"] = moves["conflicted"] = status
PAIRS = list(itertools.product(Status, Event))


@pytest.mark.parametrize(("status", "event"), PAIRS)
def test_every_status_and_event_has_its_answer(status, event):
    expected = LEGAL[status].get(event)
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"a study that is {status} cannot be {event}"):
            next_status(status, event)
    else:
        assert next_status(status, event) == expected


@pytest.mark.parametrize("status", Status)
def test_an_image_is_never_refused(status):
    assert next_status(status, Event.IMAGE_RECEIVED) is Status.RECEIVING


@pytest.mark.parametrize("status", Status)
def test_what_is_no_image_moves_no_study(status):
    assert next_status(status, Event.OBJECT_RECEIVED) is status
    assert next_status(status, Event.CONFLICTED) is status


def test_a_study_begins_by_what_comes_and_needs_a_human_where_nothing_of_it_can_be_kept():
    assert BEGINNINGS == {
        Event.IMAGE_RECEIVED: Status.RECEIVING,
        Event.OBJECT_RECEIVED: Status.RECEIVING,
        Event.CONFLICTED: Status.NEEDS_HUMAN,
    }


@pytest.mark.parametrize(("status", "event"), PAIRS)
def test_only_a_late_image_a_retry_and_a_reissue_open_a_revision(status, event):
    concluded = status in {Status.DECIDED, Status.DELIVERED, Status.OUT_OF_SCOPE, Status.NEEDS_HUMAN}
    assert opens_revision(status, event) == (
        concluded and event in {Event.IMAGE_RECEIVED, Event.RETRIED, Event.REISSUED}
    )


@pytest.mark.parametrize("event", Event)
def test_the_sources_of_an_event_are_where_it_is_legal(event):
    assert sources_of(event) == {status for status in Status if event in LEGAL[status]}


def test_every_status_is_reached_and_left():
    assert set(TRANSITIONS.values()) == set(Status)
    assert {status for status, _ in TRANSITIONS} == set(Status)


def test_what_a_decision_leads_to_is_concluded():
    ends = {next_status(Status.SCORING, event) for event in (Event.DECIDED, Event.EXCLUDED, Event.FAILED)}
    assert ends | {Status.DELIVERED} == CONCLUDED


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TRANSITIONS[Status.READY, Event.DELIVERED] = Status.DELIVERED
