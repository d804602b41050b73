"""SIGTERM while the PACS hangs: the agent ends in time, and loses nothing."""

import socket
import threading
import time
from contextlib import contextmanager

from support.agent import eventually, free_port
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
