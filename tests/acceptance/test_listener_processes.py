"""Several processes that listen on one port: none that is killed loses anything, and limits are those of all."""

import os
import random
import signal
import socket
import time
from contextlib import ExitStack

import pytest
from support.agent import eventually, free_port
from support.associations import associate, request_pdu, send_bytes
from support.faultsite import Modality
from support.ingestbench import children_of
from support.instances import dx, encode
from support.xrays import radiograph

PROCESSES = 2
MOST, MOST_OF_ONE = 4, 3
_KILLS = 2
_WAIT = 60.0


@pytest.fixture
def listening(agent):
    """A listener in two processes, with few associations for all and fewer for its PACS."""
    made = agent(bundle="embedded", role="listener", pacs_port=free_port(), quiet=3000, sends=(), start=False)
    text = made.config.read_text()
    text = text.replace("[dicom]\n", f"[dicom]\nprocesses = {PROCESSES}\nmax_associations = {MOST}\n", 1)
    text = text.replace('name = "pacs"\n', f'name = "pacs"\nmax_associations = {MOST_OF_ONE}\n', 1)
    anybody = '[[dicom.peers]]\nname = "ct"\nae_title = "CT"\nnetworks = ["127.0.0.1/32"]\nmay = ["store"]\n'
    made.config.write_text(text + anybody)
    return made.start()


def listeners(running):
    """The listener processes; none of another kind is started by a listener."""
    return children_of(running.pid)


def ask_for_association(stack, port, calling="PACS"):
    """A connection on which one was asked for, and whether it was accepted."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), _WAIT))
    connection.sendall(request_pdu(calling))
    return connection, connection.recv(1 << 16)[:1] == b"\2"


def kept(running):
    """{SOP Instance UID: whether its file has the bytes that it was registered with} of everything on the worklist."""
    found = {}
    for item in running.worklist():
        for instance in running.study(item["study_instance_uid"])["instances"]:
            found[instance["sop_instance_uid"]] = (running.data_dir / "spool" / instance["path"]).is_file()
    return found


def test_a_killed_process_costs_nothing_that_was_acknowledged_and_all_end_with_the_main_process(listening):
    studies = [[radiograph(seed=number)] for number in range(60)]
    modalities = [Modality(listening.port, studies[start::3]) for start in range(3)]
    chance = random.Random(7)
    for modality in modalities:
        modality.start()
    for _ in range(_KILLS):
        time.sleep(chance.uniform(0.05, 0.4))
        if running := listeners(listening):
            os.kill(chance.choice(running), signal.SIGKILL)
    for modality in modalities:
        modality.join(_WAIT)
    acknowledged = {uid for modality in modalities for uid in modality.acknowledged}
    assert len(acknowledged) == len(studies)
    assert kept(listening) == dict.fromkeys(acknowledged, True)
    eventually(listening.ready)
    assert len(listeners(listening)) == PROCESSES
    assert "listener_process_ended" in listening.log_text
    processes = listeners(listening)
    listening.kill()
    for process in processes:
        eventually(lambda process=process: not os.path.exists(f"/proc/{process}"))  # noqa: PTH110 - no path of ours


def test_limits_are_those_of_all_processes_and_at_the_stop_each_ends_what_it_receives(listening):
    with ExitStack() as stack:
        open_ones = [ask_for_association(stack, listening.port) for _ in range(MOST_OF_ONE + 2)]
        assert [accepted for _, accepted in open_ones] == [True] * MOST_OF_ONE + [False] * 2
        others = [ask_for_association(stack, listening.port, "CT") for _ in range(3)]
        assert [accepted for _, accepted in others] == [True] * (MOST - MOST_OF_ONE) + [False] * 2
        open_ones[0][0].close()  # and its seat is free again, whichever process had it
        eventually(lambda: ask_for_association(stack, listening.port)[1])

    def rejected():
        lines = listening.get("metrics")[1].splitlines()
        return [line for line in lines if line.startswith("triage_rejected_associations_total{")]

    eventually(lambda: sum(float(line.rsplit(" ", 1)[1]) for line in rejected()) >= 4)
    assert {line.split('"')[1] for line in rejected()} == {
        "too many associations of this peer",
        "too many associations",
    }

    stop_in_the_middle_of_an_image(listening)


def stop_in_the_middle_of_an_image(listening):
    association, data_set = associate(listening.port), dx(PixelData=bytes(4_000_000), BitsAllocated=8)
    data_set["PixelData"].VR = "OB"
    assert association.is_established
    write = association.dul.socket.send
    sent = []

    def slowly(pdu):
        sent.append(write(pdu))
        if len(sent) == 3:
            listening.terminate()
            time.sleep(1.0)

    association.dul.socket.send = slowly
    assert send_bytes(association, encode(data_set), data_set.SOPInstanceUID) == 0
    association.release()
    assert listening.wait() == 0
    assert kept(listening) == {data_set.SOPInstanceUID: True}
