"""Ports that `check` looks at: free, taken by our own agent, or taken by somebody else."""

import socket

import pytest
from support.archives import ScriptedArchive, running, study_files
from support.certificates import Authority
from support.listener import listen

from triage_agent.cli import ports
from triage_agent.dimse.peers import ourselves
from triage_agent.domain.errors import TriageError
from triage_agent.settings import Settings
from triage_agent.web.app import build_app
from triage_agent.web.server import ServerTls, WebServer


def settings(port, **dicom):
    return Settings(dicom={"port": port, **dicom}, web={"port": port})


@pytest.fixture
def stranger(monkeypatch):
    """The port of something that says nothing, which is not waited for long."""
    monkeypatch.setattr(ports, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine of ours answers late."""
    monkeypatch.setattr(ports, "_ANSWER_SECONDS", 60.0)


@pytest.mark.parametrize("look", [ports.look_at_dicom, ports.look_at_web])
def test_a_free_port_is_well_and_a_stranger_s_is_not(look, free_port, stranger):
    assert look(settings(free_port)) == f"127.0.0.1:{free_port} is free"
    with pytest.raises(TriageError, match="Address already in use; stop what listens there"):
        look(settings(stranger))


@pytest.mark.parametrize("look", [ports.look_at_dicom, ports.look_at_web])
def test_an_address_that_is_not_this_machine_s_is_told(look, free_port):
    elsewhere = {"host": "192.0.2.1", "port": free_port}
    with pytest.raises(TriageError, match=r"cannot listen on 192\.0\.2\.1"):
        look(Settings(dicom=elsewhere, web=elsewhere))


def test_our_own_listener_on_the_port_is_well(tmp_path):
    ours = listen(tmp_path, peers=[], own=ourselves("TRIAGE", "0.0.0.0", 1))  # noqa: S104 - nothing is bound
    try:
        assert "runs already" in ports.look_at_dicom(settings(ours.port))
        assert ours.audit == []
        with pytest.raises(TriageError):
            ports.look_at_dicom(settings(ours.port, ae_title="OTHER"))
    finally:
        ours.server.stop(1)


def test_another_dicom_application_on_the_port_is_not_ours_whatever_it_answers_to(tmp_path):
    says = "is taken by another DICOM application; stop what listens there, or set .dicom. host and port"
    with running(ScriptedArchive(study_files(tmp_path, (1,)))) as port, pytest.raises(TriageError, match=says):
        ports.look_at_dicom(settings(port, ae_title="PACS"))


def test_our_own_probes_on_the_port_are_well(free_port):
    server = WebServer(build_app({}, bytes, "1"), "127.0.0.1", free_port)
    server.start()
    try:
        assert "answers already" in ports.look_at_web(settings(free_port))
    finally:
        server.stop()


def test_an_agent_that_answers_by_tls_is_known(tmp_path, free_port):
    files = Authority(tmp_path / "ca").files("agent")
    tls = {"certificate": files.certificate, "key": files.key, "ca": files.ca}
    configured = Settings(web={"port": free_port, "tls": tls})
    server = WebServer(build_app({}, lambda: b"", "9.9"), "127.0.0.1", free_port, ServerTls(**tls))
    server.start()
    try:
        assert ports.look_at_web(configured) == f"an agent answers already at 127.0.0.1:{free_port}"
    finally:
        server.stop()


def test_tokens_that_would_go_unencrypted_are_warned_of(free_port):
    web = {"host": "0.0.0.0", "port": free_port, "tokens": [{"name": "E", "token": "t" * 20, "may": ["store"]}]}  # noqa: S104
    with pytest.raises(ports.Noteworthy, match="unencrypted"):
        ports.look_at_web(Settings(web=web))
    assert "free" in ports.look_at_web(Settings(web={**web, "host": "127.0.0.1"}))


def for_orders(port, web_port):
    return Settings(hl7={"listen": {"port": port, "networks": ["10.0.0.0/8"]}}, web={"port": web_port})


def test_the_port_of_orders_is_free_or_ours_or_a_stranger_s(free_port, stranger, monkeypatch):
    assert ports.look_at_orders(for_orders(free_port, free_port)) == f"127.0.0.1:{free_port} is free"
    with pytest.raises(TriageError, match=r"stop what listens there, or set \[hl7.listen\]"):
        ports.look_at_orders(for_orders(stranger, free_port))
    monkeypatch.setattr(ports, "_ANSWER_SECONDS", 5.0)
    server = WebServer(build_app({}, bytes, "1"), "127.0.0.1", free_port)
    server.start()
    try:
        assert "an agent runs here" in ports.look_at_orders(for_orders(stranger, free_port))
    finally:
        server.stop()
