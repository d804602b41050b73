"""Many senders at once, small objects and huge ones: the listener's memory stays bounded, and nobody waits to come in.

The long form, TRIAGE_FAULT_TRIALS=1: 50 associations at once, 20,000 small instances and ten of 200 MB. Its figures are
written to build/faults/receiving_load.json.
"""

import json
import os
import random
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from support.agent import free_port
from support.associations import request_pdu
from support.instances import dx, write_part10
from support.orthanc import orthanc_server
from support.programs import require_program

LONG = "TRIAGE_FAULT_TRIALS" in os.environ
SMALL_SENDERS, SMALL_EACH = (39, 500) if LONG else (8, 30)  # besides Orthanc, which sends as many as one of them
HUGE, HUGE_BYTES = (10, 200_000_000) if LONG else (1, 60_000_000)
_MOST_MEMORY = 400  # MB, the whole process
_MOST_GROWTH = 60  # MB more than before the first association
_LONGEST_SETUP = 1.0 if LONG else 10.0  # seconds; the short form runs beside other tests
_WAIT = 1500 if LONG else 200  # seconds

pytestmark = [pytest.mark.external, pytest.mark.timeout(_WAIT + 100)]


class Watch(threading.Thread):
    """Looks at a process's memory, and at how long an association takes to be accepted, until it is stopped."""

    def __init__(self, pid, port):
        super().__init__(daemon=True)
        self._pid, self._port = pid, port
        self._request = request_pdu()
        self._stop_now = threading.Event()
        self.memory, self.setups = [], []

    def run(self):
        while not self._stop_now.wait(0.1):
            self.memory.append(memory_of(self._pid))
            self.setups.append(self._associate())

    def stop(self):
        self._stop_now.set()
        self.join()

    def _associate(self):
        """Seconds from connecting to A-ASSOCIATE-AC."""
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", self._port), 30) as connection:
            connection.settimeout(30)
            connection.sendall(self._request)
            assert connection.recv(1) == b"\2"
            seconds = time.monotonic() - started
            connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")  # A-RELEASE-RQ
        return seconds


def memory_of(pid):
    """Resident memory of a process in MB: now, and at most since it started."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM", "RssAnon")}


def small_files(folder, count, sender):
    """Data sets of a few hundred bytes, ten a study; written by replacing UIDs, since there are many."""
    folder.mkdir()
    instance, study = "1.2.826.0.1.1000000000001", "1.2.826.0.2.1000000000001"
    template = write_part10(folder / "0.dcm", dx(SOPInstanceUID=instance, StudyInstanceUID=study)).read_bytes()
    for number in range(count):
        whole = template.replace(instance.encode(), f"1.2.826.0.1.1{sender:04d}{number:08d}".encode())
        whole = whole.replace(study.encode(), f"1.2.826.0.2.1{sender:04d}{number // 10:08d}".encode())
        (folder / f"{number}.dcm").write_bytes(whole)
    return folder


def huge_file(folder, number):
    folder.mkdir()
    data_set = dx(BitsAllocated=8)
    data_set.PixelData = random.Random(number).randbytes(1 << 20) * (HUGE_BYTES >> 20)
    data_set["PixelData"].VR = "OB"
    write_part10(folder / "huge.dcm", data_set)
    return folder


def storescu(port, folder):
    """Start dcmtk's sender on every file of a folder, over one association."""
    options = ["--max-pdu", "131072", "-R", "-aet", "PACS", "-aec", "TRIAGE"]
    command = [
        require_program("/usr/bin/storescu"),
        *options,
        "127.0.0.1",
        str(port),
        "+sd",
        str(folder),
        "+sp",
        "*.dcm",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class OrthancSender(threading.Thread):
    """Orthanc sends what it was given over an association of its own."""

    def __init__(self, orthanc, port, folder):
        super().__init__(daemon=True)
        self._web, self.result = orthanc._web, None
        self._numbers = [
            json.loads(self._ask("POST", "instances", file.read_bytes()))["ID"] for file in sorted(folder.glob("*.dcm"))
        ]
        self._ask("PUT", "modalities/triage", json.dumps(["TRIAGE", "127.0.0.1", port]).encode())

    def run(self):
        order = {"Resources": self._numbers, "Synchronous": True, "Timeout": 60}
        self.result = json.loads(self._ask("POST", "modalities/triage/store", json.dumps(order).encode()))

    def _ask(self, method, path, body):
        request = urllib.request.Request(f"{self._web}/{path}", data=body, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=_WAIT) as answer:  # noqa: S310
            return answer.read()


def report(running, before, watch, seconds):
    peak = watch.memory[-1] if watch.memory else before
    setups = sorted(watch.setups)
    figures = {
        "associations": SMALL_SENDERS + 1 + HUGE,
        "small_instances": (SMALL_SENDERS + 1) * SMALL_EACH,
        "huge_instances": HUGE,
        "huge_bytes": HUGE_BYTES,
        "seconds": round(seconds, 1),
        "memory_before_mb": before["VmRSS"],
        "memory_peak_mb": max(memory_of(running._process.pid)["VmHWM"], peak["VmHWM"]),
        "anonymous_memory_peak_mb": max(each["RssAnon"] for each in watch.memory),
        "setups": len(setups),
        "setup_median_seconds": round(setups[len(setups) // 2], 3),
        "setup_99_percent_seconds": round(setups[int(len(setups) * 0.99)], 3),
        "setup_longest_seconds": round(setups[-1], 3),
    }
    if LONG:
        Path("build/faults").mkdir(parents=True, exist_ok=True)
        Path("build/faults/receiving_load.json").write_text(json.dumps(figures, indent=1))
    return figures


def test_many_senders_and_huge_objects_at_once_keep_memory_bounded_and_the_door_open(agent, calm_bundle, tmp_path):
    small = [small_files(tmp_path / f"small-{n}", SMALL_EACH, n) for n in range(SMALL_SENDERS + 1)]
    huge = [huge_file(tmp_path / f"huge-{n}", n) for n in range(HUGE)]
    (tmp_path / "orthanc").mkdir()
    running = agent(bundle=calm_bundle, pacs_port=free_port(), quiet=3000, role="listener")
    pid = running._process.pid
    with orthanc_server(tmp_path / "orthanc") as pacs:
        orthanc = OrthancSender(pacs, running.port, small[-1])
        before, watch, started = memory_of(pid), Watch(pid, running.port), time.monotonic()
        watch.start()
        orthanc.start()
        senders = [storescu(running.port, folder) for folder in [*huge, *small[:-1]]]
        said = [sender.communicate(timeout=_WAIT)[0] for sender in senders]
        orthanc.join(_WAIT)
        seconds = time.monotonic() - started
        watch.stop()
    figures = report(running, before, watch, seconds)

    assert [text[-300:] for sender, text in zip(senders, said, strict=True) if sender.returncode] == []
    assert (orthanc.result["FailedInstancesCount"], orthanc.result["InstancesCount"]) == (0, SMALL_EACH)
    assert sum(item["instances"] for item in running.worklist()) == figures["small_instances"] + HUGE
    assert list((running.data_dir / "spool" / "tmp").iterdir()) == []
    assert figures["memory_peak_mb"] <= _MOST_MEMORY, figures
    assert figures["memory_peak_mb"] - before["VmRSS"] <= _MOST_GROWTH, figures
    assert figures["setup_longest_seconds"] <= _LONGEST_SETUP, figures
    print(json.dumps(figures))  # noqa: T201 - shown by -s and -rP
