import contextlib
import socket
import struct
import threading
import time

import pytest

from triage_agent.dimse.lobby import Lobby, read_request

REQUEST = struct.pack(">BBI", 1, 0, 20) + b"twenty bytes of what"
ABORT = b"\7\0\0\0\0\4\0\0\2\2"


@pytest.fixture
def pairs():
    """Makes connections: ours and the peer's end."""
    made = []

    def make():
        made.append(socket.socketpair(socket.AF_UNIX))
        return made[-1]

    yield make
    for pair in made:
        for end in pair:
            end.close()


def lobby(most=3, most_of_one=2):
    complaints = []
    return Lobby(most, most_of_one, complaints.append), complaints


def hung_up_on(peer):
    peer.settimeout(0.0)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("addresses", "newcomer", "gone"),
    [
        (["a", "b"], "c", []),
        (["a", "b", "a"], "a", [0]),  # too many of one address: its oldest goes
        (["b", "a", "a"], "a", [1]),
        (["a", "b", "c"], "d", [0]),  # too many at all: the oldest goes
    ],
)
def test_whoever_waits_longest_goes_when_it_is_full(pairs, addresses, newcomer, gone):
    waiting, complaints = lobby()
    with contextlib.ExitStack() as stack:
        peers = []
        for address in [*addresses, newcomer]:
            ours, theirs = pairs()
            stack.enter_context(waiting.waits(address, ours))
            peers.append(theirs)
        assert [number for number, peer in enumerate(peers) if hung_up_on(peer)] == gone
        assert complaints == [addresses[number] for number in gone]
        assert len(waiting) == len(peers) - len(gone)
    assert len(waiting) == 0


def test_who_left_takes_no_room(pairs):
    waiting, complaints = lobby()
    for _ in range(10):
        with waiting.waits("a", pairs()[0]):
            pass
    assert complaints == []


def test_once_it_is_closed_everybody_is_sent_away(pairs):
    waiting, _ = lobby()
    (early, early_peer), (late, late_peer) = pairs(), pairs()
    with waiting.waits("a", early):
        waiting.close()
        with waiting.waits("b", late):
            assert hung_up_on(early_peer)
            assert hung_up_on(late_peer)


def test_a_connection_that_is_closed_already_can_be_sent_away(pairs):
    waiting, _ = lobby()
    ours, _ = pairs()
    with waiting.waits("a", ours):
        ours.close()
        waiting.close()


def test_a_request_is_read_however_it_comes_and_nothing_behind_it(pairs):
    ours, theirs = pairs()
    theirs.sendall(REQUEST[:3])
    threading.Timer(0.05, theirs.sendall, [REQUEST[3:] + b"more"]).start()
    assert read_request(ours, 60) == REQUEST
    assert ours.recv(10) == b"more"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"\1", b""),
        (REQUEST[:-1], b""),
        (b"GET / HTTP/1.0", ABORT),
        (b"\4" + REQUEST[1:], ABORT),
        (struct.pack(">BBI", 1, 0, 0xFFFFFFF0) + bytes(100), ABORT),
        (b"\x16\x03\x01\x02\x00\x01", ABORT),  # a TLS handshake
    ],
)
def test_what_is_no_request_is_not(pairs, said, answer):
    ours, theirs = pairs()
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    assert read_request(ours, 60) is None
    ours.shutdown(socket.SHUT_WR)
    assert theirs.recv(100) == answer


@pytest.mark.parametrize("said", [b"", b"\1", REQUEST[:-1]])
def test_a_request_that_does_not_come_in_time_is_not_waited_for(pairs, said):
    ours, theirs = pairs()
    theirs.sendall(said)
    started = time.monotonic()
    assert read_request(ours, 0.1) is None
    assert time.monotonic() - started < 30


def test_a_connection_that_is_reset_is_no_request(pairs):
    ours, _ = pairs()
    ours.close()
    assert read_request(ours, 0.1) is None
