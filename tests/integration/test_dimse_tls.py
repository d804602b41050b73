"""TLS on the listener: who comes in, who does not, and that a handshake that hangs or fails harms nobody else."""

import contextlib
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.associations import PATIENCE, VERIFICATION, associate, eventually, request_pdu, threads
from support.callees import client
from support.certificates import Authority
from support.instances import dx, encode, write_part10
from support.listener import PEERS, listen
from support.programs import require_program

from triage_agent.dimse.door import NO_HANDSHAKE
from triage_agent.dimse.peers import WRONG_CERTIFICATE, Peer
from triage_agent.dimse.tls import ClientTls, TlsKeeper
from triage_agent.domain.errors import ConfigurationError, DeliveryError

NAMED = Peer(
    name="named", ae_title="NAMED", host="127.0.0.1", port=104, may=frozenset({"store"}), certificate_name="Pacs"
)


def keeper(files):
    return TlsKeeper(files, lambda: datetime.now(UTC))


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


@pytest.fixture
def running(tmp_path, authority):
    """A listener with a plain port and one with TLS, which waits for two seconds where it usually waits for thirty."""
    started = listen(
        tmp_path / "spool",
        peers=(*PEERS, NAMED),
        tls=keeper(authority.files("triage")).server,
        tls_port=0,
        timeout_seconds=2.0,
    )
    yield started
    started.server.stop(1)
    assert eventually(lambda: threads() == [])


def caller(running, files, *, calling="PACS", **tls):
    """A client of the listener; its own certificate is `files`."""
    return client(running.server.tls_port, calling=calling, tls=ClientTls(keeper(files), **tls))


def reasons(running):
    return [event.detail["reason"] for event in running.audit]


def storescu(running, authority, certificate, file, *options, calling="PACS"):
    """dcmtk's sender with a certificate of its own."""
    command = [require_program("storescu"), "-aec", "TRIAGE", "-aet", calling]
    tls = ["+tls", str(certificate[1]), str(certificate[0]), "+cf", str(authority.ca)]
    where = ["127.0.0.1", str(running.server.tls_port), str(file)]
    return subprocess.run([*command, *tls, *options, *where], check=False, capture_output=True, text=True, timeout=60)


class TestWhoComesIn:
    def test_an_association_is_made_over_tls_and_over_the_plain_port(self, running, authority):
        assert "answers C-ECHO" in caller(running, authority.files("pacs")).echo()
        assert associate(running.port, VERIFICATION, "1.2.840.10008.1.2").is_established

    def test_nothing_is_listened_on_without_tls_where_the_site_does_not_want_it(self, tmp_path, authority):
        files = authority.files("triage")
        started = listen(tmp_path / "only", tls=keeper(files).server, tls_port=0, plain=False)
        try:
            assert started.port == started.server.tls_port
            assert "answers C-ECHO" in caller(started, files).echo()
            assert not associate(started.port, VERIFICATION, "1.2.840.10008.1.2").is_established
        finally:
            started.server.stop(1)

    def test_both_ports_have_their_seats_in_common(self, tmp_path, authority):
        files = authority.files("triage")
        started = listen(tmp_path / "full", tls=keeper(files).server, tls_port=0, max_associations=1)
        try:
            assert associate(started.port, VERIFICATION, "1.2.840.10008.1.2").is_established
            with pytest.raises(DeliveryError, match="limit"):
                caller(started, files).echo()
        finally:
            started.server.stop(1)

    def test_a_port_that_is_taken_leaves_none_open(self, tmp_path, authority, running):
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            listen(tmp_path / "b", tls=keeper(authority.files("triage")).server, tls_port=running.port)
        assert eventually(lambda: threads() == [])

    def test_who_carries_the_certificate_s_name_comes_in_and_nobody_else_by_that_title(self, running, authority):
        assert caller(running, authority.files("pacs", hosts=["other"]), calling="NAMED").echo()
        assert caller(running, authority.files("Any", hosts=["PACS"]), calling="NAMED").echo()
        with pytest.raises(DeliveryError, match="Calling AE title not recognised"):
            caller(running, authority.files("ct"), calling="NAMED").echo()
        assert eventually(lambda: reasons(running) == [WRONG_CERTIFICATE])

    def test_a_peer_with_a_certificate_s_name_does_not_come_in_without_tls(self, running):
        assert associate(running.port, calling="NAMED").is_rejected
        assert eventually(lambda: reasons(running) == [WRONG_CERTIFICATE])


class TestWhoDoesNot:
    def test_a_certificate_of_another_ca(self, running, authority, tmp_path):
        strangers = Authority(tmp_path / "strangers", "Somebody")
        certificate, key = strangers.issue("pacs")
        with pytest.raises(DeliveryError, match=r"no TLS connection|no answer") as caught:
            caller(running, replace(authority.files("x"), certificate=certificate, key=key)).echo()
        assert not caught.value.permanent
        assert eventually(lambda: reasons(running) == [NO_HANDSHAKE])
        assert "issuer" in running.audit[0].detail["why"]

    def test_a_certificate_that_expired(self, running, authority):
        with pytest.raises(DeliveryError):
            caller(running, authority.files("pacs", days=-1)).echo()
        assert eventually(lambda: [event.detail["why"] for event in running.audit] == ["certificate has expired"])

    def test_no_certificate(self, running, authority):
        context = ssl.create_default_context(cafile=str(authority.ca))
        with (
            socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE) as plain,
            pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.recv(1)  # with TLS 1.3 it is told only then
        assert eventually(lambda: reasons(running) == [NO_HANDSHAKE])

    def test_no_certificate_is_enough_where_the_site_says_so(self, tmp_path, authority):
        files = replace(authority.files("triage"), require_client_certificate=False)
        started = listen(tmp_path / "open", peers=(*PEERS, NAMED), tls=keeper(files).server, tls_port=0)
        try:
            for calling, verdict in (("PACS", b"\2"), ("NAMED", b"\3")):
                with secured_by(started, authority) as secured:
                    secured.sendall(request_pdu(calling))
                    assert secured.recv(1) == verdict
        finally:
            started.server.stop(1)

    @pytest.mark.parametrize(
        "offer", [["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]]
    )
    def test_an_old_version_or_a_weak_suite(self, running, authority, offer):
        assert "Cipher is (NONE)" in s_client(running, authority, *offer)

    @pytest.mark.parametrize(
        ("offer", "agreed"), [(["-tls1_2"], "ECDHE-ECDSA-AES128-GCM-SHA256"), (["-tls1_3"], "TLS_AES_256_GCM_SHA384")]
    )
    def test_what_the_profile_has_is_agreed_on(self, running, authority, offer, agreed):
        said = s_client(running, authority, *offer)
        assert f"Cipher is {agreed}" in said
        assert "Compression: NONE" in said
        assert "Secure Renegotiation IS" in said

    def test_renegotiation_is_refused(self, running, authority):
        said = s_client(running, authority, "-tls1_2", asks="R\n")
        assert "no renegotiation" in said

    def test_who_does_not_speak_tls_or_is_silent_is_hung_up_on_and_harms_nobody(self, running, authority):
        with contextlib.ExitStack() as silent:
            for _ in range(5):
                silent.enter_context(socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE))
            with socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE) as plain:
                plain.settimeout(PATIENCE)
                plain.sendall(b"\1\0\0\0\0\x44not tls")
                with contextlib.suppress(ConnectionError):
                    while plain.recv(100):
                        pass
            assert caller(running, authority.files("pacs")).echo()

    def test_a_handshake_that_drips_in_is_not_waited_for_longer_than_a_request(self, running):
        with (
            socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE) as dripping,
            pytest.raises(OSError),
        ):
            drip(dripping, b"\x16\x03\x01\x02\x00" + bytes(200))
        assert eventually(lambda: [event.detail["why"] for event in running.audit] == ["not in time"])

    def test_probes_that_connect_and_hang_up_are_not_reported(self, running, authority):
        for _ in range(20):
            socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE).close()
        assert caller(running, authority.files("pacs")).echo()
        assert running.audit == []


class TestDcmtk:
    @pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
    def test_storescu_stores_by_each_of_its_bcp_195_profiles(self, running, authority, part10, profile):
        done = storescu(running, authority, authority.issue("pacs"), part10, profile)
        assert done.returncode == 0, done.stderr
        assert len(running.kept()) == 1

    def test_storescu_with_another_title_s_certificate_is_rejected(self, running, authority, part10):
        done = storescu(running, authority, authority.issue("ct"), part10, calling="NAMED")
        assert "Calling AE Title Not Recognized" in done.stdout + done.stderr
        assert running.kept() == {}

    def test_a_large_object_comes_whole(self, running, authority, tmp_path):
        large = dx()
        large.add_new(0x7FE00010, "OB", bytes(range(256)) * 40_000)
        file = write_part10(tmp_path / "large.dcm", large)
        done = storescu(running, authority, authority.issue("pacs"), file)
        assert done.returncode == 0, done.stderr
        (kept,) = running.kept().values()
        assert kept == encode(large)


def drip(connection, content):
    for byte in content:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def secured_by(running, authority):
    context = ssl.create_default_context(cafile=str(authority.ca))
    plain = socket.create_connection(("127.0.0.1", running.server.tls_port), PATIENCE)
    return context.wrap_socket(plain, server_hostname="localhost")


def s_client(running, authority, *options, asks=""):
    """What `openssl s_client` says of a connection."""
    certificate, key = authority.issue("scanner")
    command = [require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{running.server.tls_port}"]
    ours = ["-CAfile", str(authority.ca), "-cert", str(certificate), "-key", str(key)]
    done = subprocess.run(
        [*command, *ours, *options], input=asks, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.stdout + done.stderr
