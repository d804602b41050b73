"""The client against peers that misbehave, and its end while they do."""

import contextlib
import signal
import socket
import subprocess
import threading
import time

import pytest
from pynetdicom import evt
from support.associations import PATIENCE
from support.callees import Accepting, client, scp, until_it_answers
from support.instances import dx, write_part10
from support.programs import require_program

from triage_agent.domain.errors import DeliveryError


@contextlib.contextmanager
def rude_peer(says):
    """A TCP peer that answers the first bytes with `says` and then keeps silent, or hangs up when that is None."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve():
            server.settimeout(0.2)
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(1 << 16)
                    if says is not None:
                        connection.sendall(says)
                        done.wait(2 * PATIENCE)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("says", [None, b"", b"\2", b"\2\0\0\0\0\x50half", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_peer_that_does_not_speak_dicom_is_given_up_in_time(part10, says):
    with rude_peer(says) as port:
        started = time.monotonic()
        with pytest.raises(DeliveryError) as raised:
            client(port, connect_seconds=1.0, answer_seconds=1.0).store(part10)
        assert time.monotonic() - started < PATIENCE / 2
    assert not raised.value.permanent
    assert raised.value.away


@pytest.mark.parametrize("silence", [True, False])
def test_a_peer_that_does_not_answer_a_store_is_given_up_in_time(part10, silence):
    def on_store(event):
        if silence:
            over.wait(2 * PATIENCE)
        event.assoc.abort()
        return 0

    over = threading.Event()
    with scp([(evt.EVT_C_STORE, on_store)]) as port:
        started = time.monotonic()
        with pytest.raises(DeliveryError, match="no answer to C-STORE") as raised:
            client(port, answer_seconds=1.0).store(part10)
        over.set()
        assert not raised.value.permanent
        assert time.monotonic() - started < PATIENCE / 2


class InFlight(threading.Thread):
    """Something that waits for a peer; `ended` is what came of it."""

    def __init__(self, call, *args):
        super().__init__(daemon=True)
        self.call, self.args, self.ended = call, args, None
        self.start()

    def run(self):
        try:
            self.ended = self.call(*self.args)
        except DeliveryError as error:
            self.ended = error

    def ended_within(self, seconds):
        self.join(seconds)
        assert not self.is_alive()
        return self.ended


def closed_within(client, seconds):
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < seconds


def test_closing_waits_for_no_peer_that_does_not_answer_an_association(part10):
    with rude_peer(b"") as port:
        sending = client(port, connect_seconds=4 * PATIENCE, answer_seconds=4 * PATIENCE)
        storing = InFlight(sending.store, part10)
        asking = InFlight(sending.count_instances, "1.2.3")
        time.sleep(0.5)
        assert storing.is_alive()
        assert asking.is_alive()
        closed_within(sending, PATIENCE)
        assert not storing.ended_within(PATIENCE).permanent
        assert asking.ended_within(PATIENCE) is None


def test_closing_waits_for_no_answer_to_an_object_and_the_next_object_is_sent_all_the_same(part10):
    asked, may_answer, peer = threading.Event(), threading.Event(), Accepting()

    def on_store(event):
        if not asked.is_set():
            asked.set()
            may_answer.wait(4 * PATIENCE)
        return peer.on_store(event)

    with scp([(evt.EVT_C_STORE, on_store)]) as port:
        sending = client(port, answer_seconds=4 * PATIENCE)
        storing, waiting = InFlight(sending.store, part10), InFlight(sending.store, part10)
        assert asked.wait(PATIENCE)
        time.sleep(0.2)  # until the second one waits for its turn
        closed_within(sending, PATIENCE)
        assert not storing.ended_within(PATIENCE).permanent
        assert not waiting.ended_within(PATIENCE).permanent
        may_answer.set()
        sending.store(part10)
        sending.close()


@pytest.mark.external
def test_a_peer_that_stops_reading_in_the_middle_of_an_object_is_given_up_in_time(part10, free_port, tmp_path):
    large = dx()
    large.add_new(0x7FE00010, "OB", bytes(30 << 20))
    kept = tmp_path / "kept"
    kept.mkdir()
    command = [require_program("/usr/bin/storescp"), "-od", str(kept), str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as peer:
        try:
            sending = client(free_port, ae_title="STORESCP", answer_seconds=2.0)
            until_it_answers(sending)
            sending.store(part10)
            peer.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(DeliveryError) as raised:
                sending.store(write_part10(tmp_path / "large.dcm", large))
            assert not raised.value.permanent
            assert time.monotonic() - started < PATIENCE / 2
        finally:
            peer.kill()


@pytest.mark.external
def test_closing_waits_for_no_peer_that_stopped_after_it_had_answered(part10, free_port, tmp_path):
    command = [require_program("/usr/bin/storescp"), "-od", str(tmp_path), str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as peer:
        try:
            sending = client(free_port, ae_title="STORESCP", answer_seconds=4 * PATIENCE)
            until_it_answers(sending)
            sending.store(part10)
            peer.send_signal(signal.SIGSTOP)
            closed_within(sending, PATIENCE)
        finally:
            peer.kill()
