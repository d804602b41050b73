"""Measures routes: from a decision to the other side's acknowledgement, while studies come at a steady rate.

The agent is the whole one but for its model, which is a hash of the image, so that the routes are measured and not the
model; every peer is a process of its own, and two more send the studies by C-STORE. Each study is abnormal and raised
by its decision. A time begins with the decision's own, before its results are built, and ends where the agent has
noted the acknowledgement; for events of workitems it ends where the subscriber has the report.
"""

import os
import time
from collections import defaultdict
from datetime import UTC
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select
from support.agent import eventually
from support.faultsite import FaultAgent, Images
from support.gauges import _children
from support.launcher import PROBABILITIES
from support.ports import free_port
from support.routepeers import PeerProcess, forking
from support.ups import calling, subscribe
from support.xrays import send

from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.domain.workitem import workitem_uid
from triage_agent.settings import load_settings
from triage_agent.worklist import open_engine
from triage_agent.worklist.tables import DecisionRow, OutboxRow

ABNORMAL = PROBABILITIES[1]
SENDERS = 2
SETTLING_SECONDS = 300.0  # for what is still under way when the last study has come
_TICKS = os.sysconf("SC_CLK_TCK")

# What each route is sent, and to which kind of peer.
ROUTES = {
    "hl7-oru": ("mllp", "hl7-oru"),
    "hl7-omi": ("mllp", "hl7-omi"),
    "sr": ("store", "sr"),
    "sc": ("store", "sc"),
    "pdf": ("store", "pdf"),
    "gsps": ("store", "gsps"),
    "kos": ("store", "kos"),
    "stow-rs": ("stow", "sr"),
    "fhir": ("fhir", "fhir"),
    "ups": ("workitems", "ups"),
    "ups-event": ("events", None),
}
TABLES = {
    "mllp": '[[hl7.peers]]\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\n',
    "store": '[[dicom.peers]]\nname = "{name}"\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\nmay = []\n',
    "stow": '[[dicomweb.peers]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/dicom-web"\n',
    "fhir": '[[fhir.peers]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/fhir"\n',
    "events": '[[dicom.peers]]\nname = "{name}"\nae_title = "WATCHER"\nhost = "127.0.0.1"\nport = {port}\n'
    'may = ["query"]\n',
}
TABLES["workitems"] = TABLES["store"]
_SITE = """
[worker]
lease_seconds = 30
[delivery]
first_retry_seconds = 1
[study]
quiet_seconds = 1.0
"""


def measure(names, *, seconds, rate, folder, launcher):
    """Run these routes side by side; a document of what was found.

    `launcher`: a `support.launcher.Launcher`. Fails where anything did not come, or came twice.
    """
    peers = {name: PeerProcess(ROUTES[name][0]) for name in names}
    try:
        agent = FaultAgent(folder, launcher, pacs_port=free_port(), sends=(), tables=_site(peers))
        try:
            return _measured(agent, peers, seconds, rate)
        finally:
            agent.close()
    finally:
        for peer in peers.values():
            peer.close()


def _site(peers):
    parts = [_SITE]
    for name, peer in peers.items():
        kind, sends = ROUTES[name]
        title = name.upper().replace("-", "")
        parts.append(TABLES[kind].format(name=name, title=title, port=peer.port))
        if sends:
            parts.append(f'[[routes]]\nto = "{name}"\nsend = ["{sends}"]\n')
    return "".join(parts)


def _measured(agent, peers, seconds, rate):
    file = radiograph_file(agent)
    agent.start(wait=True)
    if "ups-event" in peers:
        with calling(agent.port, "WATCHER") as association:
            assert subscribe(association) == 0
    before, started, machine = _used(agent.pid), time.monotonic(), _machine()
    studies = send_steadily(agent.port, file, seconds, rate)
    took = time.monotonic() - started
    used, busy = _used(agent.pid) - before, _machine() - machine
    asked = [name for name in peers if ROUTES[name][1]]
    rows = eventually(lambda: _sent(agent, studies * len(asked)), SETTLING_SECONDS, every=1.0)
    decided = eventually(lambda: _decided(agent, studies), SETTLING_SECONDS, every=1.0)
    if "ups-event" in peers:
        time.sleep(2.0)  # reports are told one after the other; what does not come is missed below
    times = {name: rows[name] for name in asked}
    for name, peer in peers.items():
        came = peer.came()
        if name == "ups-event":
            times[name] = {uid: came[workitem_uid(uid)] for uid in decided if workitem_uid(uid) in came}
        assert len(came) == studies, f"{name}: {len(came)} of {studies} came"
    return {
        "studies": studies,
        "studies_a_second": round(studies / took, 2),
        "agent_cpu_share": round(used / took / (os.cpu_count() or 1), 3),
        "machine_cpu_share": round(busy / took / (os.cpu_count() or 1), 3),
        "load_average": os.getloadavg()[0],
        "routes": {name: _figures(decided, ends) for name, ends in times.items()},
    }


def _figures(decided, ends):
    waits = np.array([ends[uid] - decided[uid] for uid in decided]) * 1000
    over = max(ends.values()) - min(ends.values())
    p50, p95, p99 = np.percentile(waits, (50, 95, 99))
    return {
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(waits.max()), 1),
        "acknowledged": len(ends),
        "acknowledged_a_second": round((len(ends) - 1) / over, 2) if over else None,
    }


# --- what comes in ----------------------------------------------------------------------------------------------------
def radiograph_file(agent):
    """A file of an abnormal radiograph, which `send_steadily` gives new identifiers."""
    file = agent.folder / "radiograph.dcm"
    (image,) = Images(agent.folder).study(ABNORMAL)
    image.save_as(file, enforce_file_format=True)
    return file


def send_steadily(port, file, seconds, rate):
    processes = forking()
    sent, go = processes.Value("i", 0), processes.Event()
    share = (port, str(file), rate, seconds, sent, go)
    senders = [
        processes.Process(target=_send_steadily, args=(number, *share), daemon=True) for number in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    go.set()
    for sender in senders:
        sender.join()
    assert [sender.exitcode for sender in senders] == [0] * SENDERS
    return sent.value


def _send_steadily(number, port, file, rate, seconds, sent, go):
    """An association a study, at its moment; a sender that comes late does not skip any."""
    image = dcmread(file)
    go.wait()
    began = time.monotonic()
    while (moment := number / rate) < seconds:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = (generate_uid() for _ in range(3))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.AccessionNumber = f"A{number}"
        answers = send(port, image)
        assert answers == {image.SOPInstanceUID: 0x0000}, answers
        with sent.get_lock():
            sent.value += 1
        number += SENDERS


# --- what came of it --------------------------------------------------------------------------------------------------
def _rows(agent, statement):
    engine = open_engine(load_settings(agent.config).database_url)
    try:
        with engine.connect() as connection:
            return connection.execute(statement).all()
    finally:
        engine.dispose()


def _sent(agent, number):
    """{destination: {study: when it was acknowledged}} once all are; None before."""
    row = OutboxRow
    found = _rows(agent, select(row.destination, row.study_instance_uid, row.sent_at, row.state))
    if len(found) < number or any(one.state is not DeliveryState.SENT for one in found):
        return None
    assert len(found) == number
    ends = defaultdict(dict)
    for one in found:
        ends[one.destination][one.study_instance_uid] = _seconds(one.sent_at)
    return ends or defaultdict(dict, {"": {}})


def _decided(agent, studies):
    """{study: when it was decided} once all are; None before."""
    found = _rows(agent, select(DecisionRow.study_instance_uid, DecisionRow.decided_at))
    return {uid: _seconds(at) for uid, at in found} if len(found) == studies else None


def _seconds(moment):
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- what it cost -----------------------------------------------------------------------------------------------------
def _used(pid):
    """CPU seconds of the agent, of its children, and of those of them that have ended."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for child in _children(pid):
        try:
            ticks += sum(map(int, _stat(child.name)[11:13]))
        except OSError:
            continue
    return ticks / _TICKS


def _stat(pid):
    """Fields of /proc/PID/stat from the third on (man 5 proc)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _machine():
    """CPU seconds that all programs of the machine have used."""
    user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + soft) / _TICKS
