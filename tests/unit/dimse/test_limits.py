"""How many associations one peer may have."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from triage_agent.dimse.limits import TOO_FAST, TOO_MANY, TOO_MANY_OF_ALL, AssociationLimits
from triage_agent.dimse.peers import Peer


def peer(name="ct", **limits):
    return Peer(name=name, ae_title="CT", host="127.0.0.1", port=104, may=frozenset(), **limits)


class FakeAssociation(SimpleNamespace):
    def __init__(self):
        super().__init__(alive=True, is_released=False, is_aborted=False, is_rejected=False)

    def is_alive(self):
        return self.alive


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def limits(now):
    return AssociationLimits(lambda: now[0])


def test_a_peer_without_limits_has_as_many_as_it_likes(limits):
    assert [limits.enter([peer()], FakeAssociation()) for _ in range(100)] == [None] * 100


@pytest.mark.parametrize("ends", ["is_released", "is_aborted", "is_rejected", "dies"])
def test_a_seat_is_free_again_however_an_association_ended(limits, ends):
    one, two = FakeAssociation(), FakeAssociation()
    ct = peer(max_associations=2)
    assert [limits.enter([ct], each) for each in (one, two, FakeAssociation())] == [None, None, TOO_MANY]
    setattr(one, *(("alive", False) if ends == "dies" else (ends, True)))
    assert limits.enter([ct], FakeAssociation()) is None
    assert limits.enter([ct], FakeAssociation()) == TOO_MANY


def test_within_any_minute_so_many_are_begun_and_those_refused_do_not_count(limits, now):
    ct, answers = peer(max_associations_per_minute=2), []
    for second in (0, 10, 20, 59, 60, 69, 70, 71):
        now[0] = second
        answers.append(limits.enter([ct], FakeAssociation()))
    assert answers == [None, None, TOO_FAST, TOO_FAST, None, TOO_FAST, None, TOO_FAST]


def test_one_peer_s_limit_is_not_another_s(limits):
    full, other = peer("full", max_associations=1), peer("other", max_associations=1)
    assert limits.enter([full], FakeAssociation()) is None
    assert limits.enter([full], FakeAssociation()) == TOO_MANY
    assert limits.enter([other], FakeAssociation()) is None


def test_who_is_two_peers_keeps_within_the_limits_of_both(limits):
    narrow, wide = peer("narrow", max_associations=1), peer("wide", max_associations=2)
    assert limits.enter([wide, narrow], FakeAssociation()) is None
    assert limits.enter([wide, narrow], FakeAssociation()) == TOO_MANY
    assert limits.enter([wide], FakeAssociation()) is None, "what was refused has taken a seat"


def test_what_has_ended_is_held_by_nobody_once_the_same_peer_comes_again(limits):
    ended = FakeAssociation()
    gone = weakref.ref(ended)
    limits.enter([peer()], ended)
    ended.is_released = True
    del ended
    limits.enter([peer()], FakeAssociation())
    gc.collect()
    assert gone() is None


def test_of_all_peers_together_so_many_are_open():
    limits, one = AssociationLimits(most=2), FakeAssociation()
    assert [limits.enter([], each) for each in (one, FakeAssociation(), FakeAssociation())] == [
        None,
        None,
        TOO_MANY_OF_ALL,
    ]
    one.alive = False
    assert limits.enter([peer()], FakeAssociation()) is None
