"""TLS to a PACS: our certificate shown, theirs checked, and what each side's refusal looks like."""

import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydicom import dcmread
from support.associations import eventually
from support.callees import client
from support.certificates import Authority
from support.instances import dx, write_part10
from support.programs import require_program

from triage_agent.delivery.dimse import DimseTransport
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.dimse.tls import ClientTls, TlsKeeper
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

pytestmark = pytest.mark.external


def keeper(files):
    return TlsKeeper(files, lambda: datetime.now(UTC))


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


@contextmanager
def storescp(authority, certificate, port, folder):
    """dcmtk's storage server with TLS and a certificate, which wants one of its callers."""
    folder.mkdir()
    tls = ["+tls", str(certificate[1]), str(certificate[0]), "+cf", str(authority.ca)]
    server = subprocess.Popen(
        [require_program("storescp"), "-aet", "PACS", "-od", str(folder), *tls, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: _listens(port))
        yield
    finally:
        server.terminate()
        server.wait(60)


def _listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
        return True
    return False


def patient_client(port, tls, **waits):
    return client(
        port, ae_title="PACS", calling="TRIAGE", tls=tls, **{"connect_seconds": 60, "answer_seconds": 60} | waits
    )


def test_a_report_reaches_a_pacs_over_tls(authority, free_port, tmp_path):
    kept = tmp_path / "kept"
    with storescp(authority, authority.issue("pacs"), free_port, kept):
        tls = ClientTls(keeper(authority.files("triage")))
        transport = DimseTransport(Endpoint(host="localhost", port=free_port, ae_title="PACS", tls=tls))
        assert "answers C-ECHO" in transport.check()
        data_set = dx()
        body = write_part10(tmp_path / "sent.dcm", data_set).read_bytes()
        transport.send(Artifact(kind=ArtifactKind.SR, uid=str(data_set.SOPInstanceUID), body=body, summary=""))
        transport.close()
        (file,) = kept.iterdir()
        assert dcmread(file).SOPInstanceUID == data_set.SOPInstanceUID


@pytest.mark.parametrize(
    ("hosts", "name", "verdict"),
    [
        (("127.0.0.1",), "", None),
        (("other.hospital",), "", "ip address mismatch"),
        (("other.hospital",), "other.hospital", None),
        ((), "Pacs", None),
        (("127.0.0.1",), "other.hospital", "does not name other.hospital"),
    ],
)
def test_the_pacs_must_be_who_we_called(authority, free_port, tmp_path, hosts, name, verdict):
    with storescp(authority, authority.issue("pacs", hosts=hosts), free_port, tmp_path / "kept"):
        calling = patient_client(free_port, ClientTls(keeper(authority.files("triage")), name=name))
        if verdict is None:
            assert "answers C-ECHO" in calling.echo()
        else:
            with pytest.raises(DeliveryError, match=f"no TLS connection: .*{verdict}") as caught:
                calling.echo()
            assert caught.value.away
            assert not caught.value.permanent


def test_a_pacs_of_another_ca_is_not_sent_anything(authority, free_port, tmp_path):
    strangers = Authority(tmp_path / "strangers", "Somebody")
    with storescp(strangers, strangers.issue("pacs"), free_port, tmp_path / "kept"):
        calling = patient_client(free_port, ClientTls(keeper(authority.files("triage"))))
        with pytest.raises(DeliveryError, match=r"no TLS connection: .*certificate in certificate chain"):
            calling.echo()


def test_a_pacs_that_refuses_our_certificate_says_so(authority, free_port, tmp_path):
    """It trusts another CA than the one that signed ours; both know it where we trust the PACS all the same."""
    other = Authority(tmp_path / "other", "Other CA")
    with storescp(authority, authority.issue("pacs"), free_port, tmp_path / "kept"):
        ours = replace(other.files("triage"), ca=authority.ca)
        with pytest.raises(DeliveryError, match=r"no TLS connection: .*unknown ca"):
            patient_client(free_port, ClientTls(keeper(ours))).echo()


def test_a_certificate_of_ours_that_cannot_be_used_is_told_and_tried_again(authority, free_port, tmp_path):
    files = authority.files("triage")
    with storescp(authority, authority.issue("pacs"), free_port, tmp_path / "kept"):
        calling = patient_client(free_port, ClientTls(keeper(replace(files, key=tmp_path / "gone"))))
        with pytest.raises(DeliveryError, match="no such file") as caught:
            calling.echo()
        assert not caught.value.permanent


@pytest.mark.parametrize("says", [b"", b"\2\0\0\0\0\4nope"], ids=["nothing", "no TLS"])
def test_a_peer_that_does_not_shake_hands_is_not_waited_for(authority, says):
    taken = []

    def answer(server):
        with suppress(OSError):
            connection, _ = server.accept()
            taken.append(connection)
            connection.sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=[server], daemon=True).start()
        tls = ClientTls(keeper(authority.files("triage")))
        started = time.monotonic()
        with pytest.raises(DeliveryError, match="no TLS connection"):
            patient_client(server.getsockname()[1], tls, connect_seconds=1.0).echo()
        assert time.monotonic() - started < 30
    for connection in taken:
        connection.close()


def test_a_new_certificate_is_used_for_the_next_connection(authority, free_port, tmp_path):
    """Our old one is refused since it expired; the new one is taken without anything being made anew."""
    files = authority.files("triage", days=-1)
    kept = keeper(files)
    with storescp(authority, authority.issue("pacs"), free_port, tmp_path / "kept"):
        calling = patient_client(free_port, ClientTls(kept))
        with pytest.raises(DeliveryError, match="expired"):
            calling.echo()
        authority.issue("triage")
        assert kept.refresh(at_once=True)
        assert "answers C-ECHO" in calling.echo()
