"""What one peer may have of the listener's associations, and what the others still have then."""

from dataclasses import replace

import pytest
from support.associations import VERIFICATION, associate, eventually, healthy, threads
from support.listener import PEERS, listen

from triage_agent.dimse.association import GuardedAssociation
from triage_agent.dimse.limits import TOO_FAST, TOO_MANY
from triage_agent.dimse.outgoing import BoundedEntity

IMPLICIT = "1.2.840.10008.1.2"


@pytest.fixture
def limited(tmp_path):
    """A listener whose RIS may have two associations, and begin four in a minute."""
    ris = replace(PEERS[1], max_associations=2, max_associations_per_minute=4)
    running = listen(tmp_path / "spool", peers=(PEERS[0], ris))
    yield running
    running.server.stop(1)
    assert eventually(lambda: threads() == [])


def asked(running, calling="RIS"):
    return associate(running.port, VERIFICATION, IMPLICIT, calling=calling)


def open_ones():
    return [one for one in threads() if isinstance(one, GuardedAssociation)]


def refusal(association):
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_a_peer_with_enough_is_told_to_come_back_and_the_others_are_served(limited):
    held = [asked(limited), asked(limited)]
    third = asked(limited)
    assert third.is_rejected
    assert refusal(third) == (2, 3, 2)  # transient, by the provider, local limit exceeded (PS3.8 table 9-21)
    assert healthy(limited)
    held.pop().release()
    assert eventually(lambda: len(open_ones()) == 1), "it has not heard of the end"
    again = asked(limited)
    assert again.is_established
    for each in (*held, again):
        each.release()
    assert eventually(lambda: [event.detail["reason"] for event in limited.audit] == [TOO_MANY])


def test_a_peer_that_begins_too_many_in_a_minute_is_told_to_come_back(limited):
    for _ in range(4):
        one = asked(limited)
        assert one.is_established
        one.release()
    assert refusal(asked(limited)) == (2, 3, 2)
    assert healthy(limited)
    assert eventually(lambda: [event.detail["reason"] for event in limited.audit] == [TOO_FAST])


def test_of_many_refusals_some_are_audited(limited):
    held = [asked(limited), asked(limited)]
    for _ in range(25):
        assert asked(limited).is_rejected
    assert eventually(lambda: len(limited.audit) == 10)
    for each in held:
        each.release()


def test_a_rejection_is_known_as_one_by_a_caller_who_is_slow_to_look(limited, monkeypatch):
    """pynetdicom looks whether the connection is there, which the rejection has ended by then."""
    made = BoundedEntity._create_socket

    def slow(entity, *args):
        wire = made(entity, *args)
        connected = wire._ready.wait
        wire._ready.wait = lambda: connected() and eventually(lambda: not wire._is_connected, 2)
        return wire

    held = [asked(limited), asked(limited)]
    monkeypatch.setattr(BoundedEntity, "_create_socket", slow)
    assert refusal(asked(limited)) == (2, 3, 2)
    assert asked(limited).is_rejected
    for each in held:
        each.release()
