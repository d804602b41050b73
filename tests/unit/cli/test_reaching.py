"""Whether a collector of traces and a Ray cluster are there: known in seconds, and said in words."""

import socket
import sys
import threading

import pytest
from support.certificates import Authority

from triage_agent.cli import cluster, doctor, reaching
from triage_agent.cli.collecting import look_at_collector, looks
from triage_agent.domain.errors import MissingPackageError, TriageError
from triage_agent.settings import build_settings
from triage_agent.web.app import build_app
from triage_agent.web.server import ServerTls, WebServer


def tracing(traces, **keys):
    return build_settings({"telemetry": {"traces": traces, **keys}}, "here")


def on_ray(address):
    return build_settings({"model": {"runner": "ray", "ray": {"address": address}}}, "here")


@pytest.fixture
def secured(tmp_path, free_port):
    """Somebody who answers by TLS, and who signed that."""
    files = Authority(tmp_path / "ca").files("collector", hosts=("127.0.0.1",))
    tls = ServerTls(certificate=files.certificate, key=files.key)
    server = WebServer(build_app({}, lambda: b"", "9.9"), "127.0.0.1", free_port, tls)
    server.start()
    yield free_port, files.ca
    server.stop()


def test_without_traces_nobody_is_looked_for():
    assert not list(looks(build_settings({}, "here")))


def test_a_collector_that_listens_is_said_to_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = tracing(f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces")
        ((part, look),) = looks(settings)
        assert part == "traces"
        assert look().endswith(" answers")


def test_packages_that_are_missing_are_told_of_before(monkeypatch):
    monkeypatch.delitem(sys.modules, "triage_agent.ops.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(MissingPackageError, match=r"opentelemetry is not installed; .*\[otel\]"):
        look_at_collector(tracing("http://127.0.0.1:1/v1/traces"))


def test_a_collector_that_refuses_is_told_of_with_the_remedy(free_port):
    with pytest.raises(TriageError, match=rf"127\.0\.0\.1:{free_port}: Connection refused; see that it runs"):
        look_at_collector(tracing(f"http://127.0.0.1:{free_port}/v1/traces"))


def test_a_collector_s_certificate_is_looked_at(secured):
    port, ca = secured
    assert look_at_collector(tracing(f"https://127.0.0.1:{port}/v1", ca=str(ca))).endswith("answers by TLSv1.3")
    with pytest.raises(TriageError, match="its certificate is not trusted"):
        look_at_collector(tracing(f"https://127.0.0.1:{port}/v1"))
    with pytest.raises(TriageError, match=r"its certificate is not trusted \(Hostname mismatch"):
        look_at_collector(tracing(f"https://localhost:{port}/v1", ca=str(ca)))


def test_a_collector_that_does_not_speak_tls_and_a_ca_that_is_none_are_told_of(tmp_path, free_port):
    (tmp_path / "ca.pem").write_text("no certificate")
    server = WebServer(build_app({}, lambda: b"", "9.9"), "127.0.0.1", free_port)
    server.start()
    try:
        with pytest.raises(TriageError, match=rf"127\.0\.0\.1:{free_port}: .*name who signed"):
            look_at_collector(tracing(f"https://127.0.0.1:{free_port}/v1"))
        with pytest.raises(TriageError, match=r"telemetry\.ca cannot be used"):
            look_at_collector(tracing(f"https://127.0.0.1:{free_port}/v1", ca=str(tmp_path / "ca.pem")))
    finally:
        server.stop()


def test_a_name_that_nobody_has_is_told_of(monkeypatch):
    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(reaching.socket, "getaddrinfo", unknown)
    with pytest.raises(TriageError, match="there is no host nowhere"):
        reaching.connected("nowhere", 1)


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch):
    ended = threading.Event()

    def silent(*_):
        ended.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(reaching, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(reaching.socket, "getaddrinfo", silent)
    try:
        with pytest.raises(TriageError, match=r"somewhere:1 is silent for 0\.2 s"):
            reaching.connected("somewhere", 1)
    finally:
        ended.set()


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_where_nobody_listens_fails_each_of_its_lines_before_ray_is_asked(address, free_port, monkeypatch):
    def asked(*_args, **_keys):
        raise AssertionError("Ray was asked")

    for module in (cluster, doctor):
        monkeypatch.setattr(module, "build_scorer", asked)
    monkeypatch.setattr(doctor, "build_shadow", asked)
    settings = on_ray(address.format(free_port))
    for look in (cluster.look_at_cluster, doctor._scores, doctor._shadow):
        with pytest.raises(TriageError, match="Connection refused; see that it runs"):
            look(settings)


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_a_cluster_of_its_own_and_one_that_ray_finds_are_left_to_ray(address):
    cluster.require_somebody(on_ray(address))
