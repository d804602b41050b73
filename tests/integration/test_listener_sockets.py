"""Servers that accept connections from one socket, as listener processes do."""

import socket
from types import SimpleNamespace

import pytest
from support.associations import associate, healthy
from support.listener import PEERS, RULE, utc_now

from triage_agent.dimse.peers import AccessPolicy
from triage_agent.dimse.server import DicomServer, ServerSettings
from triage_agent.dimse.sockets import listening_sockets
from triage_agent.domain.errors import ConfigurationError
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.listeners.pool import ListenerPool
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings
from triage_agent.worklist.memory import MemoryWorklist


@pytest.fixture
def settings():
    return ServerSettings(ae_title="TRIAGE", host="127.0.0.1", port=0)


@pytest.fixture
def made(settings):
    sockets = listening_sockets(settings)
    yield sockets
    for one in sockets:
        one.close()


@pytest.fixture
def servers(settings, made, tmp_path):
    """Two, each with a copy of the socket as a process of its own would have."""
    worklist = MemoryWorklist()
    receiver = Receiver(Spool(tmp_path, low_water_percent=0), worklist, RULE, utc_now)
    running = [
        DicomServer(
            settings,
            begin=receiver.begin,
            receive=receiver.keep,
            policy=AccessPolicy(PEERS),
            audit=lambda _event: None,
            clock=utc_now,
            listening=[socket.socket(fileno=socket.dup(one.fileno())) for one in made],
        )
        for _ in range(2)
    ]
    for server in running:
        server.start()
    yield running
    for server in running:
        server.stop(0.0)


def test_both_are_served_at_one_port_and_one_goes_on_without_the_other(servers, made):
    here = SimpleNamespace(port=made[0].getsockname()[1])
    assert {server.address[1] for server in servers} == {here.port}
    many = [associate(here.port) for _ in range(6)]
    assert all(one.is_established for one in many)
    for one in many:
        one.release()
    servers[0].stop(5.0)
    assert healthy(here)


def test_a_connection_waits_for_whoever_accepts_next(servers, made):
    for server in servers:
        server.stop(5.0)
    with socket.create_connection(made[0].getsockname(), 5):
        pass  # nobody has accepted it, and nobody has refused it


def test_a_port_that_is_taken_is_a_wrong_configuration_before_a_process_is_started(made):
    port, metrics = made[0].getsockname()[1], Metrics()
    settings = build_settings({"dicom": {"port": port, "processes": 2}}, "here")
    pool = ListenerPool(settings, wake=lambda: None, figures=metrics.all_processes(), share=lambda: None)
    with pytest.raises(ConfigurationError, match="cannot listen on") as told:
        pool.start()
    assert pool.pids == []
    assert f"`ss -ltnp sport = :{port}` says who has it: a process of an agent that was killed" in told.value.remedy
