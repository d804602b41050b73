import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest

from triage_agent.dimse.wire import _KEPT_BUFFER, LARGEST_PDU, BoundedSocket, fragments


@pytest.fixture
def pair():
    """A bounded socket, and the peer's end of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    wire = object.__new__(BoundedSocket)
    wire._timeout, wire._buffer, wire._start, wire._end, wire._poll = 0.5, bytearray(), 0, 0, None
    wire.socket, wire._is_connected = ours, True
    wire._assoc = SimpleNamespace(dul=SimpleNamespace(event_queue=SimpleNamespace(put=lambda _: None)))
    ours.settimeout(0.5)
    yield wire, theirs
    ours.close()
    theirs.close()


def p_data(value):
    return struct.pack(">BBI", 4, 0, len(value)) + value


def test_what_was_asked_for_is_read_however_it_comes(pair):
    wire, peer = pair
    peer.sendall(b"abc")
    threading.Timer(0.05, peer.sendall, [b"defgh"]).start()
    assert wire.recv(8) == b"abcdefgh"


def test_less_is_read_when_the_peer_closes(pair):
    wire, peer = pair
    peer.sendall(b"abc")
    peer.shutdown(socket.SHUT_WR)
    assert wire.recv(8) == b"abc"


def test_one_p_data_after_another_is_read(pair):
    wire, peer = pair
    peer.sendall(p_data(b"one") + p_data(b"longer") + p_data(b"2"))
    assert [bytes(wire.receive_p_data()) for _ in range(3)] == [b"one", b"longer", b"2"]


def test_what_was_read_ahead_is_there_to_be_taken(pair):
    wire, peer = pair
    peer.sendall(p_data(b"one") + p_data(b"two"))
    assert bytes(wire.receive_p_data()) == b"one"
    assert wire.wait(60, None)  # nothing is left in the kernel
    assert bytes(wire.receive_p_data()) == b"two"
    assert not wire.ready


@pytest.mark.parametrize("size", [1, _KEPT_BUFFER - 7, _KEPT_BUFFER - 6, _KEPT_BUFFER, LARGEST_PDU])
def test_pdus_of_any_length_come_one_after_the_other_as_they_were_sent(pair, size):
    wire, peer = pair
    sent = [bytes([number]) * size for number in range(4)] + [b"end"]
    sender = threading.Thread(target=lambda: [peer.sendall(p_data(one)) for one in sent])
    sender.start()
    assert [bytes(wire.receive_p_data()) == one for one in sent] == [True] * 5
    sender.join()
    assert len(wire._buffer) <= max(_KEPT_BUFFER, size + 6)


def test_the_memory_of_a_pdu_that_is_longer_than_was_agreed_is_let_go_of(pair):
    wire, peer = pair
    threading.Thread(target=peer.sendall, args=(p_data(bytes(LARGEST_PDU)),)).start()
    assert len(wire.receive_p_data()) == LARGEST_PDU
    peer.sendall(p_data(b"short"))
    assert bytes(wire.receive_p_data()) == b"short"
    assert len(wire._buffer) == _KEPT_BUFFER


def test_another_pdu_is_left_to_be_read(pair):
    wire, peer = pair
    release = struct.pack(">BBII", 5, 0, 4, 0)
    peer.sendall(release)
    assert wire.receive_p_data() is None
    assert wire.ready
    assert wire.recv(6) + wire.recv(4) == release
    assert not wire.ready


def test_a_pdu_longer_than_allowed_is_not_read(pair):
    wire, peer = pair
    peer.sendall(struct.pack(">BBI", 4, 0, LARGEST_PDU + 1))
    with pytest.raises(OSError, match="longer"):
        wire.receive_p_data()
    with pytest.raises(OSError, match="longer"):
        wire.recv(LARGEST_PDU + 1)


@pytest.mark.parametrize("drip", [False, True])
def test_a_pdu_that_does_not_come_whole_in_time_is_given_up(pair, drip):
    wire, peer = pair
    peer.sendall(struct.pack(">BBI", 4, 0, 1000))
    stop = threading.Event()

    def feed():
        while drip and not stop.wait(0.05):
            peer.sendall(b"x")

    feeder = threading.Thread(target=feed)
    feeder.start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        wire.receive_p_data()
    assert time.monotonic() - started < 30
    stop.set()
    feeder.join()


def test_a_connection_that_ends_in_a_pdu_is_an_error(pair):
    wire, peer = pair
    peer.sendall(struct.pack(">BBI", 4, 0, 1000) + b"some")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match="middle"):
        wire.receive_p_data()


def test_a_waker_ends_the_wait(pair):
    wire, _ = pair
    waker, woken = socket.socketpair()
    with waker, woken:
        waker.send(b"\0")
        started = time.monotonic()
        assert wire.wait(60, woken) is False
        assert time.monotonic() - started < 30


def item(context_id, value, length=None):
    return struct.pack(">IB", len(value) + 1 if length is None else length, context_id) + value


def test_fragments_are_told_apart():
    value = memoryview(item(1, b"\3command") + item(5, b"\0data") + item(5, b"\2"))
    assert [(cx, bytes(data)) for cx, data in fragments(value)] == [(1, b"\3command"), (5, b"\0data"), (5, b"\2")]


@pytest.mark.parametrize(
    "value", [b"\0", b"\0\0\0\1\1", item(1, b""), item(1, b"\0x", 0), item(1, b"\0x", 4), item(1, b"\0x", 0xFFFFFFFF)]
)
def test_fragments_that_are_not_as_long_as_they_say_are_an_error(value):
    with pytest.raises(ValueError, match="item"):
        list(fragments(memoryview(value)))


def test_what_is_closed_keeps_no_memory(pair):
    """An association may lie about for hundreds of others before the collector comes round."""
    wire, peer = pair
    peer.sendall(p_data(b"one") + p_data(b"two"))
    assert bytes(wire.receive_p_data()) == b"one"
    assert len(wire._buffer) >= 1000
    wire.shut()
    assert len(wire._buffer) == 0
