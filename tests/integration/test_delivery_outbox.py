"""The sender over the real worklist: what is decided arrives, whatever one of the destinations does."""

import socketserver
import threading
from contextlib import contextmanager
from datetime import timedelta
from random import Random

import pytest
from support.migrated import migrated
from support.story import LEASE, STUDY, Story, shipment

from triage_agent.delivery.mllp import MllpTransport
from triage_agent.delivery.registry import Endpoint
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.delivery.sender import Sender
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Status
from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine

RETRY = RetryPolicy(first=timedelta(seconds=2), longest=timedelta(seconds=8), give_up_after=timedelta(seconds=20))
MESSAGE = b"MSH|^~\\&|A|B|C|D|20260301||ORU^R01^ORU_R01|ID42|P|2.5.1\r"


class Answering(socketserver.BaseRequestHandler):
    """Answers every message with the code that its server is told to use."""

    def handle(self):
        while (received := self.request.recv(65536)) and received.endswith(b"\x1c\r"):
            self.server.messages.append(received)
            self.request.sendall(b"\x0bMSH|^~\\&|R|H\rMSA|%s|ID42\r\x1c\r" % self.server.code)


@contextmanager
def ris(code=b"AA"):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads, server.messages, server.code = True, [], code
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(params=["memory", "sqlite"])
def story(request, tmp_path):
    if request.param == "memory":
        yield Story(MemoryWorklist())
        return
    url = migrated(tmp_path / "triage.db")
    engine = open_engine(url)
    yield Story(SqlWorklist(engine))
    engine.dispose()


def message(uid, to):
    return shipment(uid, to=to, kind=ArtifactKind.HL7_ORU, body=MESSAGE)


@contextmanager
def sender_of(story, **ports):
    transports = {
        name: MllpTransport(Endpoint(host="127.0.0.1", port=port, name=name, connect_seconds=5, answer_seconds=20))
        for name, port in ports.items()
    }
    sender = Sender(
        worklist=story.worklist,
        transports=transports,
        clock=story.tick,
        rng=Random(1),
        owner="s1",
        lease=LEASE,
        retry=RETRY,
    )
    try:
        yield sender
    finally:
        sender.close()


def states(story):
    return {row.destination: row.state for row in story.worklist.study(STUDY).deliveries}


def test_a_study_is_delivered_when_every_destination_has_its_results(story):
    with ris() as one, ris() as two, sender_of(story, one=one.server_address[1], two=two.server_address[1]) as sender:
        story.decided(message("2.25.1", "one"), message("2.25.2", "two"))
        assert sender.run_once("one") == 1
        assert story.status() is Status.DECIDED
        assert sender.run_once("two") == 1
        assert story.status() is Status.DELIVERED
        assert sender.run_once() == 0
        assert (len(one.messages), len(two.messages)) == (1, 1)


def test_a_dead_destination_is_tried_again_and_blocks_no_other(story, free_port):
    with ris() as alive, sender_of(story, dead=free_port, alive=alive.server_address[1]) as sender:
        story.decided(message("2.25.1", "dead"), message("2.25.2", "alive"))
        assert sender.run_once() == 1
        assert states(story) == {"dead": DeliveryState.PENDING, "alive": DeliveryState.SENT}
        (waiting,) = [row for row in story.worklist.study(STUDY).deliveries if row.destination == "dead"]
        assert waiting.attempts == 1
        assert "no connection (refused)" in waiting.last_error
        assert story.now - timedelta(seconds=5) < waiting.next_attempt_at <= story.now + RETRY.first


def test_a_destination_that_comes_back_gets_what_it_missed(story):
    with ris(b"AE") as peer, sender_of(story, ris=peer.server_address[1]) as sender:
        story.decided(message("2.25.1", "ris"))
        assert sender.run_once("ris") == 0
        peer.code = b"AA"
        story.tick(RETRY.first)
        assert sender.run_once("ris") == 1
        assert story.status() is Status.DELIVERED


def test_a_rejection_is_dead_at_once_and_a_destination_away_for_too_long_in_the_end(story, free_port):
    with ris(b"AR") as peer, sender_of(story, rejects=peer.server_address[1], away=free_port) as sender:
        story.decided(message("2.25.1", "rejects"), message("2.25.2", "away"))
        for _ in range(RETRY.max_attempts):
            sender.run_once()
            story.tick(RETRY.longest)
        assert states(story) == {"rejects": DeliveryState.DEAD, "away": DeliveryState.DEAD}
        attempts = {row.destination: row.attempts for row in story.worklist.study(STUDY).deliveries}
        assert attempts == {"rejects": 1, "away": RETRY.max_attempts}
