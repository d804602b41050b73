"""SIGTERM while the PACS or the RIS hangs: the agent ends in time, and loses nothing."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

from support.agent import eventually, free_port
from support.associations import request_pdu
from support.hl7 import Ris, omi, said
from support.instances import DX, EXPLICIT
from support.xrays import radiograph, send

from triage_agent.simulation.pacs import SimulatedPacs

_WELL_BELOW = 22.0  # of the 30 seconds that INTERFACE.md gives

_TABLES = """
[study]
quiet_seconds = 0.5
ask_peer = "pacs"
ask_after_seconds = 0.1
"""


@contextmanager
def hanging(port):
    """A PACS whose connections are taken and never answered; yields how many there were."""
    taken, ended = [], threading.Event()

    def serve():
        while not ended.is_set():
            try:
                taken.append(server.accept()[0])
            except TimeoutError:
                continue

    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield taken
        finally:
            ended.set()
            thread.join()
            for connection in taken:
                connection.close()


def test_a_pacs_that_never_answers_does_not_hold_up_the_end_and_gets_the_report_after_the_next_start(
    agent, calm_bundle
):
    port, image = free_port(), radiograph(seed=1)
    running = agent(bundle=calm_bundle, pacs_port=port, tables=_TABLES, start=False)
    with hanging(port) as connections:
        running.start()
        send(running.port, image)
        # A report is on its way, and the question after it how many images there are of another study.
        eventually(lambda: (running.item(image.StudyInstanceUID) or {"status": ""})["status"] == "decided")
        asked = radiograph(seed=2)
        before = len(connections)
        send(running.port, asked)
        eventually(lambda: len(connections) > before)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < _WELL_BELOW
    states = [row["state"] for row in running.study(image.StudyInstanceUID)["deliveries"]]
    assert states == ["pending"]
    pacs = SimulatedPacs()
    pacs.port = port
    pacs.start()
    try:
        running.start()
        running.settled(image.StudyInstanceUID, asked.StudyInstanceUID)
        reports = [each.StudyInstanceUID for each in pacs.objects]
        assert sorted(reports) == sorted([image.StudyInstanceUID, asked.StudyInstanceUID])
        running.stop()
    finally:
        pacs.stop()


@contextmanager
def dripping(port, first, then):
    """A peer that never comes to the end of what it has begun to say; yields its connection."""
    ended = threading.Event()
    connection = socket.create_connection(("127.0.0.1", port), 10)

    def drip():
        with suppress(OSError):  # it is hung up on
            connection.sendall(then)
            while not ended.wait(0.1):
                connection.sendall(b"x")

    with connection:
        connection.sendall(first)
        if first[:1] == b"\x01":
            assert connection.recv(65536)[:1] == b"\x02", "the association was not accepted"
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield connection
        finally:
            ended.set()
            thread.join()


def test_a_ris_and_a_pacs_that_go_on_sending_end_in_the_same_seconds(agent, calm_bundle):
    """Neither is waited for behind the other, and what the RIS was told is taken is there after the next start."""
    listen = free_port()
    tables = f'[hl7.listen]\nport = {listen}\nnetworks = ["127.0.0.1/32"]\n'
    running = agent(bundle=calm_bundle, pacs_port=free_port(), tables=tables)
    association = request_pdu(contexts=((DX, EXPLICIT),))
    pdu = b"\x04\0" + (1 << 13).to_bytes(4, "big")  # a P-DATA-TF that does not come whole (PS3.8 section 9.3.5)
    with (
        Ris(listen) as ris,
        dripping(listen, b"\x0b", omi()[:-20]),
        dripping(running.port, association, pdu),
    ):
        assert said(ris.send(omi()))[0] == "AA"
        time.sleep(0.5)  # so that both are in the middle of it
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < _WELL_BELOW
    running.start()
    assert "A1" in running.cli("orders").stdout
    running.stop()
