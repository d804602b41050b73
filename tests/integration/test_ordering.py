"""The listener for orders as a site configures it: peers, networks, TLS."""

import ssl

import pytest
from support.agent import free_port
from support.associations import eventually
from support.certificates import Authority
from support.hl7 import Ris, omi, said
from support.listener import utc_now

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.ops.metrics import Metrics
from triage_agent.ordering import build_order_listener
from triage_agent.settings import build_settings
from triage_agent.worklist import MemoryWorklist


@pytest.fixture
def start(tmp_path):
    made = []

    def make(listen, **tables):
        values = {
            "data_dir": str(tmp_path),
            "hl7": {"listen": {"port": free_port(), **listen}, **tables.pop("hl7", {})},
        }
        worklist = MemoryWorklist()
        listener = build_order_listener(build_settings({**values, **tables}, "here"), worklist, Metrics(), utc_now)
        listener.start()
        made.append(listener)
        return listener, worklist

    yield make
    for each in made:
        each.stop(2)


def test_a_site_without_the_table_listens_for_nothing():
    assert build_order_listener(build_settings({}, "here"), MemoryWorklist(), Metrics(), utc_now) is None


def test_a_peers_host_may_send(start):
    peers = {"peers": [{"name": "ris", "host": "localhost", "port": 2575}]}
    listener, worklist = start({"peers": ["ris"]}, hl7=peers)
    with Ris(listener.port) as ris:
        assert said(ris.send(omi()))[0] == "AA"
    assert len(worklist.orders()) == 1


def test_who_is_in_no_network_is_hung_up_on_and_audited(start):
    listener, worklist = start({"networks": ["192.0.2.0/24"]})
    with Ris(listener.port) as ris:
        assert ris.send(omi()) is None
    assert eventually(lambda: worklist._audit)
    (event,) = worklist._audit
    assert (event.action, event.actor) == (AuditAction.HL7_REJECTED, "127.0.0.1")


@pytest.mark.parametrize("ours", [True, False])
def test_by_tls_only_who_shows_a_certificate_of_our_ca_may_send(start, tmp_path, ours):
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("triage")
    theirs = authority.issue("ris") if ours else Authority(tmp_path / "other").issue("ris")
    tls = {"certificate": str(certificate), "key": str(key), "ca": str(authority.ca), "port": free_port()}
    listener, worklist = start({"networks": ["127.0.0.1/32"], "tls": True}, dicom={"tls": tls})
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(*theirs)
    try:
        with Ris(listener.port, context) as ris:
            answer = ris.send(omi())
    except ssl.SSLError:
        answer = None
    assert (answer is not None) is ours
    assert len(worklist.orders()) == ours


@pytest.mark.parametrize(
    ("hl7", "says"),
    [
        ({"listen": {"port": 2576}}, "give the peers, or the networks"),
        ({"listen": {"port": 2576, "peers": ["ris"]}}, "no \\[\\[hl7.peers\\]\\] name"),
        ({"listen": {"port": 2576, "networks": ["10.0.0.0/8"], "tls": True}}, "needs \\[dicom.tls\\]"),
        ({"listen": {"port": 2576, "networks": ["10.0.0.0/8"], "accession": "PID-3"}}, "such as OBR-18"),
        ({"listen": {"port": 2576, "networks": ["10.0.0.0/8"], "unstated_charset": "x"}}, "no character set"),
        ({"listen": {"port": 2576, "network": ["10.0.0.0/8"]}}, "did you mean 'networks'"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(hl7, says):
    with pytest.raises(ConfigurationError, match=says) as raised:
        build_settings({"hl7": hl7}, "here")
    assert "\n" not in str(raised.value)


def test_an_address_that_is_taken_is_told_of(start):
    listener, _ = start({"networks": ["127.0.0.1/32"]})
    with pytest.raises(ConfigurationError, match="cannot listen"):
        start({"networks": ["127.0.0.1/32"], "port": listener.port})
