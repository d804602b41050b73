"""Large, slow and half-sent messages, and connections that ask for nothing: bounded, and gone without trace."""

import contextlib
import itertools
import os
import random
import socket
import struct
import threading
import time

import pytest
from pydicom.dataset import Dataset
from support.associations import (
    PATIENCE,
    answer_to,
    associate,
    descriptors,
    eventually,
    healthy,
    request_pdu,
    send,
    send_bytes,
    threads,
)
from support.instances import DEFLATED, DX, EXPLICIT, IMPLICIT, dx, encode
from support.listener import listen

from triage_agent.dimse import inbox, messages
from triage_agent.domain.errors import StorageExhaustedError

COMMAND, DATA, LAST = 1, 0, 2  # of a message control header (PS3.8 section E.2)
RELEASE = struct.pack(">BBII", 5, 0, 4, 0)


def large(size=3_000_000, **values):
    """A data set far longer than what stays in memory."""
    data_set = dx(**values)
    data_set.BitsAllocated, data_set.PixelData = 8, random.Random(size).randbytes(size)
    data_set["PixelData"].VR = "OB"
    return data_set


def fragment(kind, value, context=1):
    """A P-DATA-TF with one presentation data value."""
    item = struct.pack(">IBB", len(value) + 2, context, kind) + value
    return struct.pack(">BBI", 4, 0, len(item)) + item


def store_command(sop_instance_uid):
    """The P-DATA-TF of a C-STORE-RQ (PS3.7 section 9.3.1.1)."""
    command = Dataset()
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = DX, sop_instance_uid
    command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 1, 0, 1
    return fragment(COMMAND | LAST, encode(command, IMPLICIT))


@contextlib.contextmanager
def raw(port):
    """A connection on which an association has been accepted; what is sent over it is the caller's."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(request_pdu(contexts=[(DX, EXPLICIT)]))
        assert connection.recv(1 << 16)[0] == 2  # A-ASSOCIATE-AC
        yield connection


def unfinished(listening):
    return list((listening.spool.root / "tmp").iterdir())


class TestLargeDataSets:
    def test_one_grows_on_disk_while_it_comes(self, listening):
        data_set = large()
        encoded = encode(data_set)
        with raw(listening.port) as connection:
            connection.sendall(store_command(data_set.SOPInstanceUID))
            for start in range(0, 1_000_000, 100_000):
                connection.sendall(fragment(DATA, encoded[start : start + 100_000]))
            assert eventually(lambda: [file.stat().st_size > 1_000_000 for file in unfinished(listening)] == [True])
            assert listening.kept() == {}
            for start in range(1_000_000, len(encoded), 100_000):
                last = LAST if start + 100_000 >= len(encoded) else 0
                connection.sendall(fragment(DATA | last, encoded[start : start + 100_000]))
            assert connection.recv(1 << 16)[0] == 4
        assert listening.kept() == {data_set.SOPInstanceUID: encoded}
        assert unfinished(listening) == []

    @pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
    def test_it_is_kept_as_it_came_once_and_other_bytes_go_to_quarantine(self, listening, syntax):
        data_set = large()
        other = large(3_000_001, SOPInstanceUID=data_set.SOPInstanceUID, StudyInstanceUID=data_set.StudyInstanceUID)
        encoded, others = encode(data_set, syntax), encode(other, syntax)
        association = associate(listening.port, syntax=syntax)
        answers = [send_bytes(association, each, data_set.SOPInstanceUID) for each in (encoded, encoded, others)]
        association.release()
        assert answers == [0, 0, 0]
        assert listening.kept() == {data_set.SOPInstanceUID: encoded}
        (file,) = (listening.spool.root / "quarantine").rglob("*.dcm")
        assert file.read_bytes().endswith(others)
        assert unfinished(listening) == []

    def test_one_without_identifiers_is_quarantined_and_the_association_goes_on(self, listening):
        encoded = encode(large(StudyInstanceUID=None, SOPInstanceUID="1.2.3"))
        association = associate(listening.port)
        assert send_bytes(association, encoded, "1.2.3") == 0xA900
        assert send(association, large()) == 0
        association.release()
        (file,) = (listening.spool.root / "quarantine").rglob("*.dcm")
        assert file.read_bytes().endswith(encoded)
        assert unfinished(listening) == []

    def test_while_the_disk_is_full_they_are_refused_and_the_association_goes_on(self, listening, monkeypatch):
        association = associate(listening.port)
        full, look = threading.Event(), listening.spool.check_room

        def room(size=0):
            if full.is_set():
                raise StorageExhaustedError("less than 10 % of the spool's disk would be free")
            look(size)

        monkeypatch.setattr(listening.spool, "check_room", room)
        writev = os.writev

        def refuse(descriptor, parts):
            if full.is_set():
                raise OSError(28, "No space left on device")
            return writev(descriptor, parts)

        monkeypatch.setattr(os, "writev", refuse)
        with raw(listening.port) as connection:  # fills up in the middle of this one
            connection.sendall(store_command("1.2.3") + fragment(DATA, bytes(100_000)) * 10)
            assert eventually(lambda: len(unfinished(listening)) == 1)
            full.set()
            connection.sendall(fragment(DATA, bytes(100_000)) * 10 + fragment(DATA | LAST, bytes(100)))
            answer = connection.recv(1 << 16)
            assert answer[0] == 4
            assert struct.pack("<HHIH", 0, 0x0900, 2, 0xA700) in answer
        assert unfinished(listening) == []
        assert send(association, large()) == 0xA700
        full.clear()
        assert send(association, large()) == 0
        association.release()

    @pytest.mark.parametrize("ending", ["abort", "close", "reset"])
    def test_a_sender_that_ends_in_the_middle_of_one_leaves_nothing(self, listening, ending):
        with raw(listening.port) as connection:
            connection.sendall(store_command("1.2.3") + fragment(DATA, bytes(300_000)) * 3)
            assert eventually(lambda: len(unfinished(listening)) == 1)
            if ending == "abort":
                connection.sendall(struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0))
            elif ending == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert eventually(lambda: threads() == [])
        assert unfinished(listening) == []
        assert healthy(listening)

    def test_a_command_in_the_middle_of_one_is_aborted(self, listening):
        with raw(listening.port) as connection:
            connection.sendall(store_command("1.2.3") + fragment(DATA, bytes(400_000)) + store_command("1.2.4"))
            assert connection.recv(1 << 16)[0] == 7  # A-ABORT
        assert eventually(lambda: unfinished(listening) == [])

    def test_one_in_a_context_that_was_not_accepted_is_aborted(self, listening):
        with raw(listening.port) as connection:
            command = store_command("1.2.3")
            connection.sendall(command[:10] + b"\x07" + command[11:])  # presentation context 7
            assert connection.recv(1 << 16)[0] == 7
        assert healthy(listening)

    def test_one_that_is_too_long_leaves_nothing(self, tmp_path):
        running = listen(tmp_path / "spool", max_instance_bytes=1 << 20)
        try:
            association = associate(running.port)
            assert send(association, large()) is None
            assert eventually(lambda: unfinished(running) == [])
        finally:
            running.server.stop(1)

    def test_those_that_nobody_waits_for_leave_nothing(self, tmp_path):
        """Two requests in a row, of which the first is being served when the peer goes."""
        proceed = threading.Event()
        running = listen(tmp_path / "spool", receive=lambda *_: proceed.wait(2 * PATIENCE))
        try:
            with raw(running.port) as connection:
                connection.sendall((store_command("1.2.3") + fragment(DATA | LAST, bytes(500_000))) * 2)
                assert eventually(lambda: len(unfinished(running)) == 2)
            assert eventually(lambda: len(threads()) == 1), "the upper layer has not ended"
            proceed.set()
            assert eventually(lambda: threads() == [])
            assert unfinished(running) == []
        finally:
            proceed.set()
            running.server.stop(1)


def test_several_messages_in_one_pdu_are_all_answered(listening):
    data_sets = [dx() for _ in range(3)]
    parts = b""
    for one in data_sets:
        parts += store_command(one.SOPInstanceUID)[6:] + fragment(DATA | LAST, encode(one))[6:]
    with raw(listening.port) as connection:
        connection.sendall(struct.pack(">BBI", 4, 0, len(parts)) + parts)
        assert eventually(lambda: len(listening.kept()) == 3)
        connection.sendall(RELEASE)


def test_a_query_may_not_be_longer_than_queries_are(listening, monkeypatch):
    monkeypatch.setattr(inbox, "LARGEST_IN_MEMORY", 200_000)
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = DX, 0x20  # C-FIND-RQ
    command.MessageID, command.Priority, command.CommandDataSetType = 1, 0, 1
    with raw(listening.port) as connection:
        connection.sendall(fragment(COMMAND | LAST, encode(command, IMPLICIT)) + fragment(DATA, bytes(100_000)) * 3)
        assert connection.recv(1 << 16)[0] == 7


def test_reports_wait_their_turn_and_a_peer_has_no_more_of_them_than_of_others(tmp_path):
    begun, proceed = threading.Event(), threading.Event()
    running = listen(tmp_path / "spool", receive=lambda *_, **__: begun.set() or proceed.wait(2 * PATIENCE))
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = DX, 0x0100  # N-EVENT-REPORT-RQ
    command.MessageID, command.CommandDataSetType = 1, 0x0101
    command.AffectedSOPInstanceUID, command.EventTypeID = "1.2.3", 1
    report = fragment(COMMAND | LAST, encode(command, IMPLICIT))
    try:
        with raw(running.port) as connection:
            connection.sendall(store_command("1.2.3") + fragment(DATA | LAST, bytes(100)))
            assert begun.wait(PATIENCE), "it keeps the others waiting"
            before = threading.active_count()
            connection.sendall(report * 4)
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert threading.active_count() == before
            connection.settimeout(PATIENCE)
            connection.sendall(report * 8)
            assert connection.recv(1 << 16)[0] == 7
    finally:
        proceed.set()
        running.server.stop(1)


def test_queries_that_wait_may_not_be_longer_together_than_one_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "LARGEST_IN_MEMORY", 200_000)
    begun, proceed = threading.Event(), threading.Event()
    running = listen(tmp_path / "spool", receive=lambda *_, **__: begun.set() or proceed.wait(2 * PATIENCE))
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField = DX, 0x20  # C-FIND-RQ
    command.MessageID, command.Priority, command.CommandDataSetType = 1, 0, 1
    query = fragment(COMMAND | LAST, encode(command, IMPLICIT)) + fragment(DATA | LAST, bytes(90_000))
    try:
        with raw(running.port) as connection:
            connection.sendall(store_command("1.2.3") + fragment(DATA | LAST, bytes(100)))
            assert begun.wait(PATIENCE), "it keeps the others waiting"
            connection.sendall(query * 2)
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.sendall(query)
            assert connection.recv(1 << 16)[0] == 7
    finally:
        proceed.set()
        running.server.stop(1)


class TestSlowPeers:
    def drip(self, port, seconds=PATIENCE, size=1):
        """Seconds until a peer is hung up on that sends a message in tiny PDUs, each of them in time."""
        started = time.monotonic()
        with raw(port) as connection:
            connection.sendall(store_command("1.2.3"))
            with contextlib.suppress(OSError):
                while time.monotonic() - started < seconds:
                    connection.sendall(fragment(DATA, bytes(size)))
                    connection.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):
                        if connection.recv(1 << 16)[:1] in (b"\7", b""):
                            break
        return time.monotonic() - started

    def test_a_message_that_never_gets_on_is_aborted(self, impatient):
        assert 1.5 < self.drip(impatient.port) < PATIENCE
        assert eventually(lambda: threads() == [])
        assert unfinished(impatient) == []

    def test_one_that_comes_fast_enough_is_not(self, tmp_path):
        running = listen(tmp_path / "spool", timeout_seconds=1.5, min_bytes_per_second=1000)
        try:
            assert self.drip(running.port, seconds=4, size=20_000) >= 4
        finally:
            running.server.stop(1)

    def test_where_a_site_asks_for_no_rate_there_is_none(self, tmp_path):
        running = listen(tmp_path / "spool", timeout_seconds=1.5, min_bytes_per_second=0)
        try:
            assert self.drip(running.port, seconds=4) >= 4
        finally:
            running.server.stop(1)

    def test_our_own_time_to_write_is_not_held_against_the_sender(self, tmp_path, monkeypatch):
        running = listen(tmp_path / "spool", timeout_seconds=3.0, min_bytes_per_second=10_000_000)
        writev, slow = os.writev, itertools.repeat(1.0, 4)
        monkeypatch.setattr(os, "writev", lambda *a: (time.sleep(next(slow, 0.0)), writev(*a))[1])
        try:
            association = associate(running.port)
            assert send(association, large()) == 0
            association.release()
        finally:
            running.server.stop(1)


def hung_up_on(connection):
    connection.settimeout(0.0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class TestConnectionsThatAskForNothing:
    def test_a_hundred_silent_ones_take_nobodys_seat(self, tmp_path):
        running = listen(tmp_path / "spool", max_associations=20)
        silent = [socket.create_connection(("127.0.0.1", running.port), PATIENCE) for _ in range(100)]
        try:
            assert eventually(lambda: sum(map(hung_up_on, silent)) == 80), "the oldest have to go"
            assert eventually(lambda: len(running.server._listeners[0].lobby) == 20)
            assert eventually(lambda: running.server.refused_connections == {"too_many_connections": 80})
            assert eventually(lambda: threads() == []), (
                "a connection that asked for nothing has an association's threads"
            )
            held = [associate(running.port) for _ in range(20)]
            assert [each.is_established for each in held] == [True] * 20
            for each in held:
                each.release()
        finally:
            for each in silent:
                each.close()
            running.server.stop(1)

    def test_they_are_hung_up_on_soon(self, tmp_path):
        running = listen(tmp_path / "spool", request_seconds=1.0)
        try:
            for said in (b"", b"\1", request_pdu()[:50]):
                started = time.monotonic()
                assert answer_to(running.port, said, more=True) == b""
                assert 0.5 < time.monotonic() - started < PATIENCE / 2
        finally:
            running.server.stop(1)

    def test_two_thousand_probes_cost_nothing_and_leave_nothing(self, listening):
        assert healthy(listening)
        assert eventually(lambda: threads() == [])
        before, alive, rng = descriptors(), threading.active_count(), random.Random(4)
        for number in range(2000):
            with socket.create_connection(("127.0.0.1", listening.port), PATIENCE) as probe:
                if number % 4 == 1:
                    probe.sendall(rng.randbytes(100))
                elif number % 4 == 2:
                    probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
                elif number % 4 == 3:
                    probe.sendall(struct.pack(">BBI", 1, 0, 1000) + b"x" * 100)
        assert eventually(lambda: len(listening.server._listeners[0].lobby) == 0)
        assert eventually(lambda: descriptors() <= before + 2)
        assert eventually(lambda: threading.active_count() <= alive)
        assert healthy(listening)

    def test_requests_that_cannot_be_read_hold_no_seat(self, patient):
        whole = request_pdu()
        broken = whole[:74] + b"\x77" + whole[75:]  # where the application context item should be (PS3.8 table 9-11)
        held = [socket.create_connection(("127.0.0.1", patient.port), PATIENCE) for _ in range(20)]
        try:
            for each in held:
                each.sendall(broken)
            for each in held:
                each.settimeout(PATIENCE)
                with contextlib.suppress(ConnectionError):
                    while each.recv(100):
                        pass
            assert eventually(lambda: threads() == [])
            assert healthy(patient)
        finally:
            for each in held:
                each.close()

    def test_those_that_wait_when_the_server_stops_are_hung_up_on(self, tmp_path):
        running = listen(tmp_path / "spool")
        with socket.create_connection(("127.0.0.1", running.port), PATIENCE) as connection:
            assert eventually(lambda: len(running.server._listeners[0].lobby) == 1)
            running.server.stop(1)
            connection.settimeout(PATIENCE)
            assert connection.recv(1) == b""
