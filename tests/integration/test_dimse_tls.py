"""TLS on the listener: a handshake that hangs or fails harms nobody else."""

import contextlib
import socket
import ssl
import subprocess
import time

import pytest
from pynetdicom import build_context
from support.listener import listen
from support.programs import require_program

from triage_agent.dimse.outgoing import BoundedEntity

pytestmark = pytest.mark.external


@pytest.fixture
def certificate(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [require_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-nodes", "-days", "1", *names, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return key, certificate


@pytest.fixture
def listening(tmp_path, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    running = listen(tmp_path / "spool", tls=context, timeout_seconds=3.0)
    yield running
    running.server.stop(1)


def echo(listening, certificate):
    """The status of a C-ECHO over TLS; None without an association."""
    context = ssl.create_default_context(cafile=str(certificate[1]))
    entity = BoundedEntity("PACS")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    association = entity.associate(
        "127.0.0.1",
        listening.port,
        contexts=[build_context("1.2.840.10008.1.1")],
        ae_title="TRIAGE",
        tls_args=(context, "localhost"),
    )
    if not association.is_established:
        return None
    status = association.send_c_echo().Status
    association.release()
    return status


def test_an_association_is_made_over_tls(listening, certificate):
    assert echo(listening, certificate) == 0


def test_who_does_not_speak_tls_is_hung_up_on_and_harms_nobody(listening, certificate):
    with contextlib.ExitStack() as silent:
        for _ in range(5):
            silent.enter_context(socket.create_connection(("127.0.0.1", listening.port), 5))
        with socket.create_connection(("127.0.0.1", listening.port), 5) as plain:
            plain.settimeout(10)
            plain.sendall(b"\1\0\0\0\0\x44not tls")
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while plain.recv(100):
                    pass
            assert time.monotonic() - started < 9
        assert echo(listening, certificate) == 0
