"""Measures receiving: the agent beside dcmtk's storescp and Orthanc, the same files from the same senders in one run.

Each peer is as it is installed, and has a folder of its own on one disk. A time is that of `storescu` from its start to
its end, on one association or on several at once, each by a sender of its own. The peers take turns, each round begins
with another one, and before each of them everything is written to disk, so that none waits for what another has left.

The agent syncs and commits before it answers. Orthanc syncs its files; storescp syncs nothing.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from support.agent import Agent, eventually
from support.instances import dx, write_part10
from support.orthanc import orthanc_server
from support.ports import free_port
from support.programs import require_program

MEGABYTE = 1_000_000
IMAGES_IN_A_STUDY = 3
_SENT_SECONDS = 600


@dataclass(frozen=True)
class Case:
    """What is sent: `files` images of `size` bytes on each of so many associations at once."""

    name: str
    size: int
    files: int
    associations: int = 1
    compressed: bool = False


# --- what is sent -----------------------------------------------------------------------------------------------------
def write_images(folder, case, seed):
    """A folder of images for each association of a case."""
    chance = np.random.default_rng(seed)
    folders = []
    for number in range(case.associations):
        made = folder / f"{number}"
        made.mkdir(parents=True)
        study = ""
        for image in range(case.files):
            study = study if image % IMAGES_IN_A_STUDY else generate_uid()
            _write_image(made / f"{image}.dcm", case, study, chance)
        folders.append(made)
    return folders


def _write_image(path, case, study, chance):
    """Noise that no codec makes smaller, or, for a compressed one, an image with about five bits of it a pixel."""
    pixels_bytes = case.size * (16 / 5 if case.compressed else 1)
    rows = max(8, int((pixels_bytes / 2) ** 0.5))
    depth = 32 if case.compressed else 4096
    data_set = dx(StudyInstanceUID=study, Rows=rows, Columns=rows, SamplesPerPixel=1, BitsAllocated=16, BitsStored=12)
    data_set.HighBit, data_set.PixelRepresentation, data_set.PhotometricInterpretation = 11, 0, "MONOCHROME2"
    data_set.PixelData = (chance.integers(0, depth, (rows, rows), dtype=np.uint16) + (4096 - depth)).tobytes()
    data_set["PixelData"].VR = "OW"
    write_part10(path, data_set, str(ExplicitVRLittleEndian))
    if case.compressed:
        whole = dcmread(path)
        whole.compress(JPEGLSLossless, generate_instance_uid=False)
        whole.save_as(path)


def send(port, folders, called="TRIAGE"):
    """Send each folder on an association of its own, all at once, as new instances; how long it took."""
    options = ["--max-pdu", "131072", "-R", "+II", "-aet", "PACS", "-aec", called]
    compressed = dcmread(next(folders[0].iterdir()), stop_before_pixels=True).file_meta.TransferSyntaxUID
    if compressed != ExplicitVRLittleEndian:
        options.append("-xt")  # JPEG-LS lossless is proposed
    base = [require_program("/usr/bin/storescu"), *options, "127.0.0.1", str(port), "+sd"]
    started = time.monotonic()
    senders = [
        subprocess.Popen([*base, str(one), "+sp", "*.dcm"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for one in folders
    ]
    said = [sender.communicate(timeout=_SENT_SECONDS)[0] for sender in senders]
    seconds = time.monotonic() - started
    failed = [text[-300:] for text, sender in zip(said, senders, strict=True) if sender.returncode]
    assert not failed, failed
    return seconds


# --- who receives -----------------------------------------------------------------------------------------------------
class AgentReceiver:
    """The installed command, as a listener."""

    called = "TRIAGE"

    def __init__(self, folder, processes=1):
        self._agent = Agent(folder, bundle="embedded", role="listener", pacs_port=free_port(), quiet=3000, sends=())
        text = self._agent.config.read_text().replace('level = "debug"', 'level = "info"')
        if processes > 1:
            text = text.replace("[dicom]\n", f"[dicom]\nprocesses = {processes}\n", 1)
        self._agent.config.write_text(text)

    def __enter__(self):
        self._agent.start(cold=True)
        return self

    def __exit__(self, *_):
        self._agent.close()

    def port_for(self, _associations):
        return self._agent.port

    def received(self):
        return sum(item["instances"] for item in self._agent.worklist())

    def forget_peak(self):
        """From here on `peak` is of what comes."""
        for pid in self._pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """Resident memory at most, in MB, of all its processes together."""
        return sum(_peak_of(pid) for pid in self._pids())

    def _pids(self):
        pid = self._agent.pid
        return [pid, *children_of(pid)]


def children_of(pid):
    """The processes that any thread of a process has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for each in lists for child in each.read_text().split())


def _peak_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


class Storescp:
    """dcmtk's: one process for one association after the other, and one with a child for each of many at once."""

    called = "TRIAGE"

    def __init__(self, folder, *options):
        self._folder = folder
        self._options = options
        self._ports = {}
        self._stack = ExitStack()

    def __enter__(self):
        self._folder.mkdir()
        for many, options in ((False, ()), (True, ("--fork",))):
            port = self._ports[many] = free_port()
            command = [require_program("/usr/bin/storescp"), *options, *self._options, "+xa", "-od", str(self._folder)]
            process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._stack.callback(_end, process)
            eventually(lambda port=port: _listens(port))
        return self

    def __exit__(self, *_):
        self._stack.close()

    def port_for(self, associations):
        return self._ports[associations > 1]

    def received(self):
        return sum(1 for _ in self._folder.iterdir())


def _end(process):
    process.kill()
    process.wait()


def _listens(port):
    """Whether somebody does, without a connection, which would be told of on its output."""
    wanted = f"{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{wanted}") and line.split()[3] == "0A" for line in lines)


class OrthancReceiver:
    """Debian's, as it is installed, but that it takes what anybody sends."""

    called = "PACS"

    def __init__(self, folder):
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self):
        self._folder.mkdir()
        self._server = self._stack.enter_context(orthanc_server(self._folder))
        return self

    def __exit__(self, *_):
        self._stack.close()

    def port_for(self, _associations):
        return self._server.port

    def received(self):
        return json.loads(self._server.ask("statistics"))["CountInstances"]


@contextmanager
def receivers(folder, wanted):
    """Those that are wanted by name, running."""
    makers = {
        "agent": AgentReceiver,
        "agent, 2 processes": lambda place: AgentReceiver(place, 2),
        "storescp": Storescp,
        "storescp, PDUs of 128 KiB": lambda place: Storescp(place, "--max-pdu", "131072"),
        "orthanc": OrthancReceiver,
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(makers[name](folder / f"peer-{n}")) for n, name in enumerate(wanted)}


# --- how long it takes ------------------------------------------------------------------------------------------------
def measure(case, peers, folder, rounds, seed=0):
    """Seconds of each round by peer, their median and its ratio to the other peers'; everything must have come once."""
    folders = write_images(folder, case, seed)
    size = sum(file.stat().st_size for one in folders for file in one.iterdir())
    seconds = {name: [] for name in peers}
    for number in range(rounds + 1):
        order = [*peers][number % len(peers) :] + [*peers][: number % len(peers)]
        for name in order:
            seconds[name].append(_sent(peers[name], folders, case.files * case.associations))
    shutil.rmtree(folder)
    counted = {name: each[1:] for name, each in seconds.items()}  # the first round makes everybody warm
    return {
        "images": case.files * case.associations,
        "bytes": size,
        "associations": case.associations,
        "seconds": {name: [round(one, 3) for one in each] for name, each in counted.items()},
        "median": {name: round(statistics.median(each), 3) for name, each in counted.items()},
        "ratios": _ratios({name: statistics.median(each) for name, each in counted.items()}),
    }


def _sent(peer, folders, images):
    before = peer.received()
    os.sync()
    seconds = send(peer.port_for(len(folders)), folders, peer.called)
    assert peer.received() - before == images
    return seconds


def _ratios(median):
    ours = [name for name in median if name.startswith("agent")]
    return {
        f"{one} / {other}": round(median[one] / median[other], 3) for one in ours for other in median if other != one
    }


def grow(cases, peers, folder, seed=0):
    """For each case the seconds by peer, and the agents' memory at most while it was received."""
    found = []
    for number, case in enumerate(cases):
        folders = write_images(folder / str(number), case, seed + number)
        row = {
            "bytes": case.size,
            "images": case.files,
            "associations": case.associations,
            "seconds": {},
            "peak_mb": {},
        }
        for name, peer in peers.items():
            if isinstance(peer, AgentReceiver):
                peer.forget_peak()
            row["seconds"][name] = round(_sent(peer, folders, case.files * case.associations), 3)
            if isinstance(peer, AgentReceiver):
                row["peak_mb"][name] = round(peer.peak(), 1)
        shutil.rmtree(folder / str(number))
        found.append(row)
    return found


def machine(folder):
    """Where it was measured."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    here = max((one for one in mounts if str(folder).startswith(one[1])), key=lambda one: len(one[1]))
    return {
        "cores": os.cpu_count(),
        "cpu": model.partition(":")[2].strip(),
        "kernel": platform.release(),
        "file_system": here[2],
        "load_before": round(os.getloadavg()[0], 1),
        "dcmtk": _version("storescu"),
        "orthanc": _version("Orthanc"),
    }


def _version(program):
    path = shutil.which(program) or f"/usr/sbin/{program}"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return said[0].strip() if said else ""
