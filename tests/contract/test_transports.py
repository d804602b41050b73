"""What every transport in the registry keeps to: a new one is tested by being listed."""

import contextlib
import socket
import threading
import time

import pytest

from triage_agent.delivery.registry import REGISTRY, Endpoint
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.results.registry import REGISTRY as BUILDERS

PART_10 = (
    b"\0" * 128
    + b"DICM"
    + b"\x02\0\x00\0UL\x04\0\x5a\0\0\0"
    + b"\x02\0\x02\0UI\x1e\x001.2.840.10008.5.1.4.1.1.88.34\0"
    + b"\x02\0\x03\0UI\x06\x002.25.1"
    + b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
)
MESSAGE = b"MSH|^~\\&|A|B|C|D|20260301||ORU^R01^ORU_R01|ID42|P|2.5.1\r"
FHIR = (
    b'{"resourceType":"Bundle","type":"transaction","entry":['
    b'{"resource":{"resourceType":"DiagnosticReport","identifier":[{"system":"a","value":"b"}],"issued":"2026-03-01"},'
    b'"request":{"method":"PUT","url":"DiagnosticReport?identifier=a|b"}},'
    b'{"resource":{"resourceType":"Task","priority":"stat"},"request":{"method":"PUT","url":"Task?identifier=a|c"}}]}'
)
ANSWER_SECONDS = 0.4

# What a peer may do wrong, whatever the protocol: each takes the accepted connection.
MISBEHAVIOURS = {
    "hangs up": lambda connection: None,
    "hangs up after listening": lambda connection: connection.recv(1024),
    "says nothing": lambda connection: time.sleep(3 * ANSWER_SECONDS),
    "talks nonsense": lambda connection: (connection.sendall(b"\xff" * 512), time.sleep(3 * ANSWER_SECONDS)),
    "talks HTTP": lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.fixture(params=REGISTRY)
def make(request):
    """Opens the transport under test; closes what it opened."""
    opened = []

    def make(port):
        endpoint = Endpoint(
            host="127.0.0.1", port=port, ae_title="PACS", connect_seconds=1, answer_seconds=ANSWER_SECONDS
        )
        opened.append(REGISTRY[request.param](endpoint))
        return opened[-1]

    yield make
    for transport in opened:
        transport.close()


def artifact_for(transport):
    kind = min(transport.kinds)
    body = {Family.HL7_MESSAGE: MESSAGE, Family.FHIR_RESOURCE: FHIR}.get(kind.family, PART_10)
    return Artifact(kind=kind, uid="2.25.1", body=body, summary="")


@pytest.fixture
def misbehave():
    """A server whose peer does one of the above with every connection."""
    server = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(how):
        def one(connection):
            with connection, contextlib.suppress(OSError):
                how(connection)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                    threads[-1].start()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return server.getsockname()[1]

    yield serve
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
    for thread in threads:
        thread.join(5)


def test_every_kind_that_is_built_has_a_transport(free_port):
    endpoint = Endpoint(host="127.0.0.1", port=free_port, ae_title="PACS")
    taken = [create(endpoint).kinds for create in REGISTRY.values()]
    assert set().union(*taken) >= set(BUILDERS)
    assert set().union(*taken) <= set(ArtifactKind)
    assert all(taken)


def test_opening_reaches_for_nothing_and_closing_twice_is_once(make, free_port):
    transport = make(free_port)
    transport.close()
    transport.close()


def test_nobody_there_may_be_mended_by_a_retry_and_is_said_at_once(make, free_port):
    transport = make(free_port)
    started = time.monotonic()
    for call in (lambda: transport.send(artifact_for(transport)), transport.check):
        with pytest.raises(DeliveryError) as caught:
            call()
        assert not caught.value.permanent
        assert caught.value.away
        assert str(free_port) in caught.value.message
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("how", MISBEHAVIOURS)
def test_a_peer_that_misbehaves_is_a_failure_that_may_pass_and_ends_in_time(how, make, misbehave):
    transport = make(misbehave(MISBEHAVIOURS[how]))
    started = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        transport.send(artifact_for(transport))
    assert not caught.value.permanent
    assert time.monotonic() - started < 30


def test_a_host_that_does_not_exist_is_a_failure_that_may_pass():
    for create in REGISTRY.values():
        transport = create(Endpoint(host="no-such-host.invalid", port=1, ae_title="PACS", connect_seconds=1))
        for call in (lambda transport=transport: transport.send(artifact_for(transport)), transport.check):
            with pytest.raises(DeliveryError) as caught:
                call()
            assert not caught.value.permanent
            assert caught.value.away


def test_an_endpoint_is_printed_as_people_write_it():
    assert str(Endpoint(host="ris", port=2575)) == "ris:2575"
    assert str(Endpoint(host="pacs", port=104, ae_title="PACS")) == "PACS@pacs:104"
