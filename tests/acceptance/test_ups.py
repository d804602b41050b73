"""The agent's workitems as a workstation uses them: told of a raise, claimed, read, completed."""

import pytest
from support.agent import eventually, free_port
from support.ups import PUSH, Watcher, act, calling, claim, find, keys, performed, subscribe, watching
from support.xrays import radiograph, send

from triage_agent.domain.workitem import workitem_uid

PROGRESS = 3


def _peers(watcher_port):
    return f"""
[[dicom.peers]]
name = "watcher"
ae_title = "WATCHER"
host = "127.0.0.1"
port = {watcher_port}
may = ["query"]
[[dicom.peers]]
name = "reader"
ae_title = "READER"
networks = ["127.0.0.1"]
may = ["query", "ups"]
"""


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def hospital(agent, pacs, doubting_bundle):
    """Starts an agent that raises whatever it sees, and tells whoever listens at a port."""

    def start(watcher_port):
        return agent(bundle=doubting_bundle, pacs_port=pacs.port, quiet=2, tables=_peers(watcher_port))

    return start


def test_a_raise_is_told_to_a_subscriber(hospital, watcher):
    with watching(watcher) as port:
        running = hospital(port)
        with calling(running.port, "WATCHER") as association:
            assert subscribe(association) == 0
        image = radiograph(seed=1)
        send(running.port, image)
        uid = workitem_uid(image.StudyInstanceUID)
        raised = eventually(lambda: [one for one in watcher.told if (one[0], one[1]) == (PROGRESS, uid)])
        assert raised[0][2].ScheduledProcedureStepPriority == "MEDIUM"
        assert running.item(image.StudyInstanceUID)["priority"] == "urgent"


def test_a_study_is_found_by_its_priority_read_and_completed(hospital):
    running = hospital(free_port())
    image = radiograph(seed=2)
    send(running.port, image)
    running.settled(image.StudyInstanceUID)
    uid = workitem_uid(image.StudyInstanceUID)
    with calling(running.port) as reader:
        found, _ = find(reader, keys(ScheduledProcedureStepPriority="MEDIUM"))
        assert [one.SOPInstanceUID for one in found] == [uid]
        assert claim(reader, uid, "2.25.7") == 0
        given = performed(TransactionUID="2.25.7")
        assert reader.send_n_set(given, PUSH, uid)[0].Status == 0
        assert act(reader, 1, uid, ProcedureStepState="COMPLETED", TransactionUID="2.25.7") == 0
        assert find(reader, keys(ProcedureStepState="SCHEDULED"))[0] == []
    assert running.actions(image.StudyInstanceUID).count("workitem_changed") == 3


def test_what_a_subscriber_was_not_told_is_told_after_a_restart(hospital, watcher):
    port = free_port()
    running = hospital(port)
    with calling(running.port, "WATCHER") as association:
        assert subscribe(association) == 0
    image = radiograph(seed=3)
    send(running.port, image)
    running.settled(image.StudyInstanceUID)
    running.kill()
    with watching(watcher, port):
        running.start()
        told = watcher.wait_for(3, seconds=150)  # a report that was being told is somebody's for a minute
    uid = workitem_uid(image.StudyInstanceUID)
    assert {one[1] for one in told} == {uid}
    assert PROGRESS in [one[0] for one in told]
