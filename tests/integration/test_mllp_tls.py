"""HL7 messages by TLS: the profile, whose certificate it is, ours where the receiver asks for one, and new files."""

import ssl

import pytest
from support.certificates import Authority
from support.mllp import Receiver, ack, framed

from triage_agent.builders import build_transports
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.delivery.tls import PeerTls
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.settings import Settings

MESSAGE = b"MSH|^~\\&|A|B|C|D|20260301||ORU^R01^ORU_R01|ID42|P|2.5.1\rPID|1\r"
ARTIFACT = Artifact(kind=ArtifactKind.HL7_ORU, uid="2.25.1", body=MESSAGE, summary="")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def serving(authority, name="ris", *, clients_of=None, newest=None, **options):
    certificate, key = authority.issue(name, **options)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if clients_of is not None:
        context.load_verify_locations(clients_of.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if newest is not None:
        context.maximum_version = newest
    return context


@pytest.fixture
def receive():
    opened = []

    def receive(context, secured, connect_seconds=10):
        receiver = Receiver(*[framed(ack())] * 3, tls=context)
        transport = MllpTransport(
            Endpoint(
                host="127.0.0.1",
                port=receiver.port,
                connect_seconds=connect_seconds,
                answer_seconds=20,
                secured=secured,
            )
        )
        opened.extend([transport, receiver])
        return receiver, transport

    yield receive
    for one in opened:
        one.close()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_go_by_one_kept_connection(newest, hospital, receive):
    receiver, transport = receive(serving(hospital, newest=newest), PeerTls(ca=hospital.ca))
    for _ in range(3):
        transport.send(ARTIFACT)
    assert (receiver.messages, receiver.connections) == ([MESSAGE] * 3, 1)
    assert transport.check() == f"connected to 127.0.0.1:{receiver.port}"


def test_a_receiver_of_another_ca_is_sent_nothing(hospital, receive, tmp_path):
    receiver, transport = receive(serving(Authority(tmp_path / "other", "Other CA")), PeerTls(ca=hospital.ca))
    with pytest.raises(DeliveryError, match=r"TLS failed \(unable to get local issuer") as caught:
        transport.send(ARTIFACT)
    assert (caught.value.permanent, receiver.messages) == (False, [])


def test_a_certificate_must_be_the_host_s_or_have_the_name_that_is_asked_for(hospital, receive):
    elsewhere = serving(hospital, "elsewhere", hosts=("ris.hospital",))
    _, by_host = receive(elsewhere, PeerTls(ca=hospital.ca))
    with pytest.raises(DeliveryError, match=r"TLS failed \(.*not valid for '127.0.0.1'"):
        by_host.send(ARTIFACT)
    _, by_name = receive(elsewhere, PeerTls(ca=hospital.ca, name="RIS.hospital"))
    by_name.send(ARTIFACT)
    receiver, by_other_name = receive(elsewhere, PeerTls(ca=hospital.ca, name="pacs.hospital"))
    with pytest.raises(DeliveryError, match=r"does not name pacs\.hospital"):
        by_other_name.send(ARTIFACT)
    assert receiver.messages == []


def test_a_receiver_that_asks_for_our_certificate_gets_it(hospital, receive):
    certificate, key = hospital.issue("triage", password="secret")  # noqa: S106 - of a test's own key
    asking = serving(hospital, clients_of=hospital)
    receiver, transport = receive(
        asking,
        PeerTls(ca=hospital.ca, certificate=certificate, key=key, key_password="secret"),  # noqa: S106
    )
    transport.send(ARTIFACT)
    assert receiver.messages == [MESSAGE]
    _, without = receive(asking, PeerTls(ca=hospital.ca))
    # Whether the refusal is read before the connection turns out to be closed is a matter of time.
    refused = r"certificate required|peer hung up|closed the connection|reset by peer|broken pipe"
    for call in (without.check, lambda: without.send(ARTIFACT)):
        with pytest.raises(DeliveryError, match=refused) as caught:
            call()
        assert not caught.value.permanent


def test_a_receiver_without_tls_is_told_as_such(hospital, receive):
    _, transport = receive(None, PeerTls(ca=hospital.ca), connect_seconds=0.3)
    with pytest.raises(DeliveryError, match="did not answer in time"):
        transport.check()


def test_files_that_cannot_be_used_are_named_and_the_message_waits(hospital, receive, tmp_path):
    _, transport = receive(serving(hospital), PeerTls(ca=tmp_path / "no.pem"))
    with pytest.raises(DeliveryError, match=r"no\.pem cannot be used") as caught:
        transport.send(ARTIFACT)
    assert (caught.value.permanent, caught.value.away) == (False, True)


def test_files_that_changed_are_taken_up_by_the_next_connection(hospital, receive, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority(tmp_path / "old", "Old CA").ca.read_bytes())
    receiver, transport = receive(serving(hospital), PeerTls(ca=ca))
    with pytest.raises(DeliveryError):
        transport.send(ARTIFACT)
    ca.write_bytes(hospital.ca.read_bytes())
    transport.send(ARTIFACT)
    assert receiver.messages == [MESSAGE]


@pytest.mark.parametrize("own", [True, False])
def test_the_configuration_says_by_whose_files(own, hospital, receive):
    receiver = Receiver(framed(ack()), tls=serving(hospital))
    certificate, key = hospital.issue("agent")
    peer = {"name": "ris", "host": "127.0.0.1", "port": receiver.port, "tls": True} | (
        {"ca": hospital.ca} if own else {}
    )
    dicom = {} if own else {"tls": {"certificate": certificate, "key": key, "ca": hospital.ca}}
    transport = build_transports(Settings(hl7={"peers": [peer]}, dicom=dicom))["ris"]
    try:
        transport.send(ARTIFACT)
        assert receiver.messages == [MESSAGE]
    finally:
        transport.close()
        receiver.close()
