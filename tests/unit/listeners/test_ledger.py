"""Associations of several processes, counted together."""

import pytest

from triage_agent.dimse.limits import TOO_MANY, TOO_MANY_OF_ALL, AssociationLimits
from triage_agent.dimse.peers import Peer
from triage_agent.listeners.pool import Ledger


@pytest.fixture
def ledger():
    peer = Peer(name="ct", ae_title="CT", host="127.0.0.1", port=104, may=frozenset(), max_associations=2)
    return Ledger({"ct": peer}, AssociationLimits(most=3))


def test_a_peer_s_limit_is_that_of_all_processes_together(ledger):
    assert [ledger.enter(process, 1, ["ct"]) for process in ("a", "b", "c")] == [None, None, TOO_MANY]
    ledger.leave("a", 1)
    assert ledger.enter("c", 2, ["ct"]) is None


def test_so_many_associations_are_open_at_once_whoever_has_them(ledger):
    assert [ledger.enter("a", number, []) for number in range(4)] == [None, None, None, TOO_MANY_OF_ALL]
    assert ledger.enter("b", 1, []) == TOO_MANY_OF_ALL


def test_the_seats_of_a_process_that_has_ended_are_free(ledger):
    for number in range(2):
        assert ledger.enter("a", number, ["ct"]) is None
    ledger.has_ended("a")
    assert [ledger.enter("b", number, ["ct"]) for number in range(3)] == [None, None, TOO_MANY]


def test_one_that_was_refused_takes_no_seat_and_leaves_none(ledger):
    for number in range(3):
        ledger.enter("a", number, ["ct"])
    ledger.leave("a", 2)
    ledger.leave("b", 7)
    assert ledger.enter("b", 1, ["ct"]) == TOO_MANY


def test_a_peer_that_is_not_in_the_configuration_counts_among_all(ledger):
    assert ledger.enter("a", 1, ["somebody else"]) is None
