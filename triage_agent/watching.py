"""Watches what no message tells of: studies that nobody takes up, a disk that fills, a quarantine that grows."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography.x509 import load_pem_x509_certificate

from triage_agent import __version__
from triage_agent.domain.backlog import Backlogs
from triage_agent.domain.figures import drifts
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.intake.spool import free_percent
from triage_agent.ops.gauges import BacklogGauges, Disk, DiskGauges, DriftGauges
from triage_agent.ops.metrics import Metrics
from triage_agent.ops.process import Readiness
from triage_agent.settings import Settings
from triage_agent.spooling import receiving_folder
from triage_agent.worker import Loop
from triage_agent.worklist.figures import figures_of

log = structlog.get_logger(__name__)

TOO_LONG = timedelta(minutes=5)  # for a study to wait for a worker: scoring one takes seconds
_LOOK_SECONDS = 60.0
_STOP_SECONDS = 0.2  # for a look that hangs with the database: nothing is lost by leaving it
_QUARANTINE_SECONDS = 60.0  # it may have many files, and is scraped every few seconds


def watch_site(settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock) -> "DiskLook":
    """Add to the metrics what the worklist holds, what waits, how scores drift, and the disk; returns that look."""
    folder = receiving_folder(settings)
    if settings.spool.url:  # whoever only scores or shows has none yet, and its disk is looked at
        folder.mkdir(parents=True, exist_ok=True)
    disk = DiskLook(folder)
    routes = sorted({route.to for route in settings.routes})
    metrics.watch(worklist.counts, BacklogGauges(worklist.backlog, clock, routes))
    metrics.add(DiskGauges(disk, settings.storage.low_water_percent))
    if (figures := figures_of(worklist)) is not None:
        metrics.add(DriftGauges(lambda: drifts(figures.scores(clock()))))
    return disk


@contextmanager
def watch_process(
    settings: Settings, role: str, checks: Mapping[str, Callable[[], None]], metrics: Metrics, clock: Clock
) -> Iterator[None]:
    """Add to the metrics what this process is and whether it is ready, until the end of the block."""
    metrics.describe(role, __version__, clock)
    if settings.web.tls is not None:
        expires = _expiry_of(settings.web.tls.certificate)  # of the one in use: it is read once, as the server does
        metrics.watch_certificates(lambda: {"web": expires} if expires else {})
    readiness = Readiness(checks)
    metrics.add(readiness)
    loop = Loop("readiness", readiness.step, idle_seconds=_LOOK_SECONDS)  # woken by each scrape
    readiness.wanted = loop.wake
    loop.start()
    try:
        yield
    finally:
        loop.stop()
        loop.join(_STOP_SECONDS)


def _expiry_of(certificate: Path) -> datetime | None:
    """When the first certificate of a PEM file expires; None where it cannot be read: who serves it says so."""
    try:
        return load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def watch_for_workers(worklist: Worklist, clock: Clock) -> Loop:
    """What logs that studies wait and nobody takes them up, beside whoever receives them."""
    return Loop("watch", WorkerWatch(worklist, clock).step, idle_seconds=_LOOK_SECONDS)


class WorkerWatch:
    """Says at every look that studies have waited for too long, and once that they do not any more.

    At the second look in a row: a study that is put back by hand waits "since" its last image, and is soon taken up.
    """

    def __init__(self, worklist: Backlogs, clock: Clock) -> None:
        self._worklist = worklist
        self._clock = clock
        self._looks = 0  # in a row at which there was such a study

    def step(self) -> bool:
        """Look once; there is never more to do at once."""
        now = self._clock()
        backlog = self._worklist.backlog(now)
        waited = backlog.waits_for(now)
        if waited <= TOO_LONG:
            if self._looks > 1:
                log.info("studies_are_taken_up_again")
            self._looks = 0
            return False
        self._looks += 1
        if self._looks > 1:
            log.error(
                "studies_wait_for_a_worker",
                waiting=backlog.waiting,
                longest_seconds=round(waited.total_seconds()),
                held=backlog.held,
            )
        return False


class DiskLook:
    """Looks at the spool's disk; at the quarantine once a minute."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._quarantine = (0, 0)
        self._again_at = 0.0

    def __call__(self) -> Disk:
        """The present.

        Raises:
            OSError: the spool cannot be looked at.
            StorageExhaustedError: the same.
        """
        if (now := time.monotonic()) >= self._again_at:
            self._quarantine = _size_of(self._spool / "quarantine")
            self._again_at = now + _QUARANTINE_SECONDS
        disk = os.statvfs(self._spool)
        files, size = self._quarantine
        return Disk(
            free_bytes=disk.f_bavail * disk.f_frsize,
            free_percent=free_percent(self._spool),
            quarantine_files=files,
            quarantine_bytes=size,
        )


def _size_of(folder: Path) -> tuple[int, int]:
    """How many instances lie under a folder, and the size of all files; what goes away meanwhile does not count."""
    files = size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(where) / name).stat().st_size
            except FileNotFoundError:
                continue
            files += not name.endswith(".json")  # the note beside each
    return files, size
