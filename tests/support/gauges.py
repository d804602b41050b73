"""What a running agent uses of its machine, read from /proc, and how it develops."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pynetdicom import AE
from pynetdicom.sop_class import Verification

_MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One look.

    Seconds since the first one, MiB of the main process and of its children, open descriptors, threads, MiB of the
    database and of its write-ahead log, seconds to set an association up, studies that were sent and are delivered.
    """

    at: float
    memory: float
    children: float
    descriptors: int
    threads: int
    database: float
    journal: float
    association: float
    sent: int
    delivered: int


def read(agent, *, since, sent, delivered):
    """A look at `agent`; its descriptors and threads are those of its main process."""
    process = Path("/proc") / str(agent.pid)
    files = [agent.data_dir / "triage.db", agent.data_dir / "triage.db-wal"]
    database, journal = (file.stat().st_size / _MIB if file.exists() else 0.0 for file in files)
    return Gauge(
        at=time.monotonic() - since,
        memory=_resident(process),
        children=sum(_resident(child) for child in _children(agent.pid)),
        descriptors=len(list((process / "fd").iterdir())),
        threads=len(list((process / "task").iterdir())),
        database=database,
        journal=journal,
        association=association_seconds(agent.port),
        sent=sent,
        delivered=delivered,
    )


def association_seconds(port):
    """How long the set-up of an association takes, by the clock of who asks for it."""
    entity = AE("PACS")
    entity.add_requested_context(Verification)
    started = time.perf_counter()
    association = entity.associate("127.0.0.1", port, ae_title="TRIAGE")
    seconds = time.perf_counter() - started
    assert association.is_established
    association.release()
    return seconds


def growth(gauges, name, after=0.25):
    """How much a gauge rises from the end of its first quarter to its end, by a straight line, and its level there."""
    kept = [one for one in gauges if one.at >= after * gauges[-1].at]
    times, values = np.array([one.at for one in kept]), np.array([float(getattr(one, name)) for one in kept])
    slope = np.polyfit(times, values, 1)[0]
    return float(slope * (times[-1] - times[0])), float(np.median(values))


def _resident(process):
    try:
        return int((process / "statm").read_text().split()[1]) * _PAGE / _MIB
    except OSError:  # it has ended meanwhile
        return 0.0


def _children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            names = (task / "children").read_text().split()
        except OSError:
            continue
        for name in names:
            found += [Path("/proc") / name, *_children(int(name))]
    return found
