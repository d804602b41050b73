"""kill -9 in the middle of a burst: everything that was acknowledged is there afterwards (promise 1)."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import support.killable
from support.instances import dx, write_part10
from support.killable import open_worklist
from support.listener import RULE, utc_now

from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.intake.reconcile import reconcile
from triage_agent.intake.spool import Spool

_SENDERS = 4


@contextlib.contextmanager
def listener(folder, port):
    """A listener process; killed at the end at the latest."""
    path = [str(Path(support.killable.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    command = [sys.executable, support.killable.__file__, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            for line in process.stdout:
                if line == "ready\n":
                    break
            yield process
        finally:
            process.kill()


def burst(port, files, acknowledged, stop):
    """Send until something fails, and remember what was acknowledged."""
    peer = Peer(name="agent", ae_title="TRIAGE", host="127.0.0.1", port=port, may=frozenset())
    client = DicomClient(peer, calling_ae_title="PACS", answer_seconds=5.0)
    try:
        for uid, file in files:
            if stop.is_set():
                break
            client.store(file)
            acknowledged.append(uid)
    except DeliveryError:
        pass
    finally:
        client.close()


@pytest.mark.parametrize("seed", range(2))
def test_nothing_acknowledged_is_lost_and_nothing_half_done_is_left(tmp_path, free_port, seed):
    data_sets = [dx(PatientComments="x" * 5000) for _ in range(_SENDERS * 40)]
    files = [
        (str(each.SOPInstanceUID), write_part10(tmp_path / f"{number}.dcm", each))
        for number, each in enumerate(data_sets)
    ]
    acknowledged, stop = [], threading.Event()
    with listener(tmp_path, free_port) as process:
        senders = [
            threading.Thread(target=burst, args=[free_port, files[number::_SENDERS], acknowledged, stop])
            for number in range(_SENDERS)
        ]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 30
        while len(acknowledged) < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0.0, 0.3))
        process.kill()
        process.wait()
        stop.set()
        for sender in senders:
            sender.join()
    spool, worklist = Spool(tmp_path / "spool", low_water_percent=0), open_worklist(tmp_path)
    assert len(acknowledged) >= 10
    first = reconcile(spool, worklist, RULE, utc_now)
    assert first.quarantined == 0
    assert [uid for uid in acknowledged if worklist.digest_of(uid) is None] == []
    assert list((spool.root / "tmp").iterdir()) == []
    again = reconcile(spool, worklist, RULE, utc_now)
    assert (again.known, again.recovered, again.stale) == (first.known + first.recovered, 0, 0)
    with listener(tmp_path, free_port):  # and the senders' retry of what was not acknowledged does nothing twice
        burst(free_port, files[: len(acknowledged) + 20], [], threading.Event())
    instances = {
        instance.sop_instance_uid
        for item in worklist.items(limit=1000)
        for instance in worklist.study(item.study_instance_uid).instances
    }
    assert len(instances) == len(list(spool.instances()))
