"""Both modes of acknowledgement (HL7 v2 chapter 2.9), and answers that nobody asked for."""

import pytest
from support.mllp import Receiver, ack, framed

from triage_agent.delivery.acknowledgement import acknowledge, asks_for, parse_acknowledgement
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

ACCEPT = "AL|NE"
APPLICATION = "AL|AL"


def artifact(asked="|"):
    """A message whose MSH-15 and MSH-16 are as given."""
    body = f"MSH|^~\\&|A|B|C|D|20260301||ORU^R01^ORU_R01|ID42|P|2.5.1|||{asked}||UNICODE UTF-8\rPID|1\r".encode()
    return Artifact(kind=ArtifactKind.HL7_ORU, uid="2.25.1", body=body, summary="")


def processed(code="AA", *, own_id="APP7", wants="", control_id="ID42"):
    """An application acknowledgement, with MSH-10 and MSH-15."""
    return framed(f"MSH|^~\\&|R|H|A|B|20260301||ACK|{own_id}|P|2.5.1|||{wants}|NE\rMSA|{code}|{control_id}\r".encode())


@pytest.fixture
def receive():
    opened = []

    def receive(*answers, answer_seconds=20.0):
        receiver = Receiver(*answers)
        transport = MllpTransport(Endpoint(host="127.0.0.1", port=receiver.port, answer_seconds=answer_seconds))
        opened.extend([transport, receiver])
        return receiver, transport

    yield receive
    for one in opened:
        one.close()


def test_by_accept_acknowledgement_a_message_is_sent_when_it_is_taken(receive):
    receiver, transport = receive(framed(ack("CA")), framed(ack("CA")))
    for _ in range(2):
        transport.send(artifact(ACCEPT))
    assert (len(receiver.messages), receiver.connections) == (2, 1)


def test_by_application_acknowledgement_it_is_sent_when_it_is_processed(receive):
    receiver, transport = receive(framed(ack("CA")) + processed(), [framed(ack("CA")), processed()])
    for _ in range(2):
        transport.send(artifact(APPLICATION))
    assert (len(receiver.messages), receiver.connections) == (2, 1)


@pytest.mark.parametrize(("code", "permanent"), [("AE", False), ("AR", True)])
def test_what_was_taken_and_not_processed_is_not_sent(code, permanent, receive):
    _, transport = receive(framed(ack("CA")) + processed(code))
    with pytest.raises(DeliveryError, match=code) as caught:
        transport.send(artifact(APPLICATION))
    assert caught.value.permanent is permanent


@pytest.mark.parametrize(("code", "permanent"), [("CE", False), ("CR", True)])
def test_what_is_not_taken_is_not_waited_for_any_longer(code, permanent, receive):
    _, transport = receive(framed(ack(code)))
    with pytest.raises(DeliveryError, match=code) as caught:
        transport.send(artifact(APPLICATION))
    assert caught.value.permanent is permanent


def test_a_receiver_that_knows_only_the_original_mode_is_understood(receive):
    _, transport = receive(framed(ack("AA")))
    transport.send(artifact(APPLICATION))


def test_silence_after_a_message_was_taken_ends_in_time(receive):
    _, transport = receive(framed(ack("CA")), answer_seconds=0.2)
    with pytest.raises(DeliveryError, match="did not answer in time"):
        transport.send(artifact(APPLICATION))


def test_an_answer_that_asks_to_be_acknowledged_is(receive):
    receiver, transport = receive(framed(ack("CA")) + processed(wants="AL"), ..., framed(ack("CA")) + processed())
    transport.send(artifact(APPLICATION))
    transport.send(artifact(APPLICATION))
    said = parse_acknowledgement(receiver.messages[1])
    assert (said.code, said.control_id) == ("CA", "APP7")
    assert len(receiver.messages) == 3


def test_an_answer_to_another_message_is_none(receive):
    _, transport = receive(framed(ack("CA")) + processed(control_id="OTHER"))
    with pytest.raises(DeliveryError, match="acknowledged another message"):
        transport.send(artifact(APPLICATION))


def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(receive):
    receiver, transport = receive(framed(ack()) + b"\x0bMSH|half of", framed(ack()))
    transport.send(artifact())
    transport.send(artifact())
    assert receiver.connections == 2


@pytest.mark.parametrize("own_id", ["a b", "x" * 200, "é", ""])
def test_an_answer_s_own_id_is_repeated_only_where_it_is_one(own_id):
    frame = f"MSH|^~\\&|R|H|A|B|1||ACK|{own_id}|P|2.5.1|||AL\rMSA|AA|1\r".encode()
    assert acknowledge(parse_acknowledgement(frame)).endswith(b"\rMSA|CA|\r")


@pytest.mark.parametrize("message", [b"", b"MSH", b"MSH|", b"\xff\xfe", b"MSH|^~\\&|A\rPID|1"])
def test_a_message_without_a_header_asks_for_nothing(message):
    assert (asks_for(message).control_id, asks_for(message).application) == ("", False)
