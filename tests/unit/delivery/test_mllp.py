"""MLLP against a receiver that answers as it is told to."""

import os
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.mllp import Receiver, ack, framed

from triage_agent.delivery.acknowledgement import parse_acknowledgement
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

MESSAGE = "MSH|^~\\&|A|B|C|D|20260301||ORU^R01^ORU_R01|ID42|P|2.5.1\rPID|1||7||Göran^Eva\r".encode()
ARTIFACT = Artifact(kind=ArtifactKind.HL7_ORU, uid="2.25.1", body=MESSAGE, summary="")


@pytest.fixture
def receive():
    receivers, transports = [], []

    def receive(*answers, answer_seconds=20.0):
        receivers.append(Receiver(*answers))
        transports.append(
            MllpTransport(Endpoint(host="127.0.0.1", port=receivers[-1].port, answer_seconds=answer_seconds))
        )
        return receivers[-1], transports[-1]

    yield receive
    for one in [*transports, *receivers]:
        one.close()


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_an_accepted_message_is_sent_and_arrives_as_it_is(code, receive):
    receiver, transport = receive(framed(ack(code)))
    transport.send(ARTIFACT)
    assert receiver.messages == [MESSAGE]


def test_one_connection_serves_many_messages(receive):
    receiver, transport = receive(*[framed(ack())] * 3)
    for _ in range(3):
        transport.send(ARTIFACT)
    assert (receiver.connections, len(receiver.messages)) == (1, 3)


@pytest.mark.parametrize(
    ("code", "permanent", "said"),
    [
        ("AE", False, "could not process the message (AE)"),
        ("CE", False, "could not process the message (CE)"),
        ("AR", True, "rejected the message (AR)"),
        ("CR", True, "rejected the message (CR)"),
    ],
)
def test_a_negative_answer_is_permanent_only_when_it_is_a_rejection(code, permanent, said, receive):
    _, transport = receive(framed(ack(code, extra="|Lind^Eva is unknown")))
    with pytest.raises(DeliveryError) as caught:
        transport.send(ARTIFACT)
    assert caught.value.permanent is permanent
    assert said in caught.value.message
    assert "Lind" not in str(caught.value)


def test_the_error_s_code_is_told_and_its_text_is_not(receive):
    answer = ack("AE") + b"ERR||PID^1^3|204^Unknown key Lind^HL70357|E||||Lind^Eva\r"
    _, transport = receive(framed(answer))
    with pytest.raises(DeliveryError, match=r"\(AE, error 204\)$"):
        transport.send(ARTIFACT)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (framed(ack(control_id="OTHER")), "acknowledged another message"),
        (framed(ack(control_id="")), "acknowledged another message"),
        (framed(b"MSH|^~\\&|nothing else\r"), "did not answer with an acknowledgement"),
        (framed(ack("XX")), "did not answer with an acknowledgement"),
        (framed(b""), "did not answer with an acknowledgement"),
        (framed(b"\xff\xfe\x00garbage"), "did not answer with an acknowledgement"),
        (None, "closed the connection without an answer"),
    ],
)
def test_any_other_answer_may_be_mended_by_a_retry(answer, said, receive):
    receiver, transport = receive(answer, framed(ack()))
    with pytest.raises(DeliveryError, match=said) as caught:
        transport.send(ARTIFACT)
    assert not caught.value.permanent
    transport.send(ARTIFACT)  # on a connection of its own: a late answer cannot be taken for this one's
    assert receiver.connections == 2


def test_silence_ends_in_time_and_its_late_answer_is_not_taken_for_the_next_one_s(receive):
    receiver, transport = receive(..., framed(ack()), answer_seconds=0.15)
    with pytest.raises(DeliveryError, match=r"did not answer in time") as caught:
        transport.send(ARTIFACT)
    assert not caught.value.permanent
    transport.send(ARTIFACT)
    assert receiver.connections == 2


def test_a_peer_that_drips_does_not_stretch_the_time(receive):
    def drip():
        for _ in range(100):
            threading.Event().wait(0.03)
            yield b"x"

    _, transport = receive(drip(), answer_seconds=0.15)
    with pytest.raises(DeliveryError, match=r"did not answer in time"):
        transport.send(ARTIFACT)


def test_an_answer_without_end_is_not_kept_in_memory(receive):
    _, transport = receive([b"x" * 65536] * 40)
    with pytest.raises(DeliveryError, match="no end"):
        transport.send(ARTIFACT)


def test_an_answer_in_pieces_is_one_answer(receive):
    whole = framed(ack())
    _, transport = receive([whole[:1], whole[1:20], whole[20:-1], whole[-1:]])
    transport.send(ARTIFACT)


def test_a_connection_that_was_closed_while_idle_is_made_again(receive):
    receiver, transport = receive(framed(ack()), framed(ack()))
    transport.send(ARTIFACT)
    receiver.open[0].shutdown(socket.SHUT_RDWR)
    transport.send(ARTIFACT)
    assert (receiver.connections, len(receiver.messages)) == (2, 2)


@pytest.fixture
def many_descriptors():
    """As of a listener with a thousand associations: what is opened next has a number beyond 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, hard))
    first = os.open(os.devnull, os.O_RDONLY)
    others = [os.dup(first) for _ in range(1024 - first)]
    yield
    for descriptor in [first, *others]:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_kept_connection_is_looked_at_whatever_its_number(receive):
    receiver, transport = receive(framed(ack()), framed(ack()))
    transport.send(ARTIFACT)
    assert transport._connection.fileno() > 1023
    transport.send(ARTIFACT)
    assert receiver.connections == 1


def test_a_kept_connection_that_breaks_under_a_message_is_made_again_once(receive):
    receiver, transport = receive(framed(ack()), None, framed(ack()))
    transport.send(ARTIFACT)
    transport.send(ARTIFACT)
    assert (receiver.connections, len(receiver.messages)) == (2, 3)


def test_closing_hangs_up_and_the_next_message_connects_again(receive):
    receiver, transport = receive(framed(ack()), framed(ack()))
    transport.send(ARTIFACT)
    transport.close()
    transport.close()
    transport.send(ARTIFACT)
    assert receiver.connections == 2


@pytest.mark.parametrize("kept", [False, True])
def test_closing_waits_for_no_answer_and_the_message_can_be_sent_again(receive, kept):
    receiver, transport = receive(*([framed(ack())] if kept else []), ..., framed(ack()))
    if kept:
        transport.send(ARTIFACT)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(transport.send, ARTIFACT)
        while len(receiver.messages) < 1 + kept:
            time.sleep(0.001)
        started = time.monotonic()
        transport.close()
        with pytest.raises(DeliveryError) as raised:
            sending.result(5)
        assert time.monotonic() - started < 5
    assert not raised.value.permanent
    assert receiver.connections == 1
    transport.send(ARTIFACT)


def test_checking_connects_and_sends_nothing(receive):
    receiver, transport = receive()
    assert transport.check() == f"connected to 127.0.0.1:{receiver.port}"
    assert receiver.messages == []


def test_nobody_there_is_a_failure_that_may_pass(free_port):
    transport = MllpTransport(Endpoint(host="127.0.0.1", port=free_port, connect_seconds=1))
    for call in (transport.check, lambda: transport.send(ARTIFACT)):
        with pytest.raises(DeliveryError, match=r": no connection \(refused\); ") as caught:
            call()
        assert not caught.value.permanent
        assert "running" in caught.value.remedy


def test_a_host_without_an_address_is_told_as_such():
    with pytest.raises(DeliveryError, match="name is not known; check the peer's host"):
        MllpTransport(Endpoint(host="no-such-host.invalid", port=1, connect_seconds=1)).check()


@pytest.mark.parametrize(
    ("frame", "code", "control_id"),
    [
        (b"\x0b" + ack(), "AA", "ID42"),
        (b"junk\x0b" + ack(), "AA", "ID42"),
        (ack().replace(b"\r", b"\n"), "AA", "ID42"),
        (ack().replace(b"\r", b"\r\n"), "AA", "ID42"),
        (b"MSH#^~\\&#C\rMSA#AE#ID1\r", "AE", "ID1"),
        (b"MSA|AA\r", "AA", ""),
        (b"MSH", "", ""),
        (b"", "", ""),
    ],
)
def test_acknowledgements_are_read_as_systems_write_them(frame, code, control_id):
    said = parse_acknowledgement(frame)
    assert (said.code, said.control_id) == (code, control_id)
