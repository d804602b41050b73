"""What strangers, broken peers and bursts do to the listener: nothing to the others."""

import random
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from support.associations import (
    PATIENCE,
    VERIFICATION,
    answer_to,
    associate,
    descriptors,
    eventually,
    healthy,
    request_pdu,
    send,
    threads,
)
from support.instances import dx
from support.listener import listen

from triage_agent.domain.errors import ConfigurationError


def test_a_hundred_associations_in_a_row_do_not_get_slower(listening):
    seconds = []
    for _ in range(100):
        started = time.perf_counter()
        association = associate(listening.port, VERIFICATION, "1.2.840.10008.1.2")
        assert association.is_established
        association.release()
        seconds.append(time.perf_counter() - started)
    early, late = sorted(seconds[:20])[10], sorted(seconds[-20:])[10]
    assert late < 3 * early + 0.5
    assert eventually(lambda: threads() == [])


def test_fifty_peers_at_once_are_all_served(listening):
    statuses = []

    def one():
        association = associate(listening.port)
        statuses.extend(send(association, dx()) for _ in range(3))
        association.release()

    peers = [threading.Thread(target=one) for _ in range(50)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join(2 * PATIENCE)
    assert statuses == [0] * 150
    assert len(listening.kept()) == 150


def test_probes_that_connect_and_hang_up_leave_nothing(listening):
    assert healthy(listening)
    assert eventually(lambda: threads() == [])
    before = descriptors()
    for _ in range(200):
        socket.create_connection(("127.0.0.1", listening.port), PATIENCE).close()
    assert eventually(lambda: threads() == []), "probes are held until the association timeout"
    assert eventually(lambda: descriptors() <= before + 2)
    assert healthy(listening)


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_hung_up_on(listening, seed):
    rng = random.Random(seed)
    for size in (1, 5, 6, 7, 100, 5000):
        answer_to(listening.port, rng.randbytes(size))
    for kind in range(1, 9):  # every PDU type there is, and one more
        answer_to(listening.port, struct.pack(">BBI", kind, 0, 40) + rng.randbytes(40))
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_association_request_harms_nobody(listening, seed):
    rng, whole = random.Random(seed), request_pdu()
    for _ in range(30):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            broken[rng.randrange(6, len(broken))] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", listening.port), PATIENCE) as connection:
            connection.sendall(broken)
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize("seed", range(3))
def test_broken_messages_on_an_association_harm_nobody(listening, seed):
    rng, whole = random.Random(seed), request_pdu()
    for size in (0, 1, 5, 6, 20, 200):
        with socket.create_connection(("127.0.0.1", listening.port), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(whole)
            assert connection.recv(6)[0] == 2  # A-ASSOCIATE-AC
            value = rng.randbytes(size)
            item = struct.pack(">IBB", size + 2, 1, rng.choice([0, 1, 2, 3])) + value
            connection.sendall(struct.pack(">BBI", 4, 0, len(item)) + item)
            connection.sendall(rng.randbytes(50))
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


def test_a_pdu_that_announces_gigabytes_is_not_waited_for(patient):
    answer_to(patient.port, struct.pack(">BBI", 1, 0, 0xFFFFFFF0) + b"x" * 100, more=True)
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize(
    "said", [b"", b"\1", request_pdu, lambda: request_pdu()[:50]], ids=["nothing", "a byte", "a request", "half of one"]
)
def test_silence_is_timed_out(impatient, said):
    started = time.monotonic()
    answer_to(impatient.port, said() if callable(said) else said, more=True)
    assert 1.5 < time.monotonic() - started < PATIENCE / 2
    assert eventually(lambda: threads() == [])


def test_a_peer_that_drips_is_timed_out(impatient):
    whole, taken = request_pdu(), 0
    with socket.create_connection(("127.0.0.1", impatient.port), PATIENCE) as connection, suppress(OSError):
        for byte in whole:
            connection.sendall(bytes([byte]))
            taken += 1
            time.sleep(0.1)
    assert taken < len(whole), "it was heard to its end"
    assert eventually(lambda: threads() == [])


def test_slow_and_silent_peers_do_not_keep_others_waiting(patient):
    idlers = [socket.create_connection(("127.0.0.1", patient.port), PATIENCE) for _ in range(40)]
    try:
        assert healthy(patient)
    finally:
        for idler in idlers:
            idler.close()


def test_more_peers_than_allowed_are_told_to_come_back(tmp_path):
    running = listen(tmp_path / "spool", max_associations=3)
    try:
        held = [associate(running.port, VERIFICATION, "1.2.840.10008.1.2") for _ in range(3)]
        refused = associate(running.port, VERIFICATION, "1.2.840.10008.1.2")
        assert [each.is_established for each in held] == [True] * 3
        assert refused.is_rejected
        assert "Transient" in refused.acceptor.primitive.result_str
        for each in held:
            each.release()
        assert eventually(lambda: threads() == [])
        assert healthy(running)
    finally:
        running.server.stop(1)


class TestStopping:
    def test_a_transfer_in_flight_is_finished_and_an_idle_peer_is_not_waited_for(self, tmp_path):
        entered, proceed = threading.Event(), threading.Event()
        running = listen(tmp_path / "spool")
        keep = running.server._receive

        def slow(encoded, **request):
            entered.set()
            proceed.wait(PATIENCE)
            return keep(encoded, **request)

        running.server._receive = slow
        idle, busy, statuses = associate(running.port), associate(running.port), []
        sender = threading.Thread(target=lambda: statuses.append(send(busy, dx())))
        sender.start()
        assert entered.wait(PATIENCE)
        stopping = threading.Thread(target=lambda: statuses.append(running.server.stop(PATIENCE)))
        stopping.start()
        assert eventually(lambda: not idle.is_established)
        assert statuses == []
        proceed.set()
        sender.join()
        stopping.join()
        assert sorted(statuses) == [0, True]
        assert len(running.kept()) == 1
        assert eventually(lambda: threads() == [])

    def test_what_does_not_end_in_time_is_aborted(self, tmp_path):
        entered, release = threading.Event(), threading.Event()
        running = listen(tmp_path / "spool", receive=lambda *_, **__: entered.set() or release.wait(2 * PATIENCE))
        association = associate(running.port)
        sender = threading.Thread(target=send, args=(association, dx()))
        sender.start()
        assert entered.wait(PATIENCE)
        started = time.monotonic()
        assert running.server.stop(0.5) is False
        assert time.monotonic() - started < PATIENCE
        release.set()
        sender.join()
        assert eventually(lambda: threads() == [])

    def test_the_port_is_free_at_once_and_can_be_listened_on_again(self, tmp_path, free_port):
        running = listen(tmp_path / "spool", port=free_port)
        port = running.port
        assert healthy(running)
        running.server.stop(1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)
        again = listen(tmp_path / "spool", port=port)  # below those that clients are given
        assert healthy(again)
        again.server.stop(1)

    def test_a_port_that_is_taken_is_a_configuration_error(self, listening, tmp_path):
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            listen(tmp_path / "other", port=listening.port)
