"""What Prometheus is told of the site at each scrape: what waits, the disk, the quarantine, the door."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from triage_agent.domain.backlog import Backlog
from triage_agent.domain.errors import TriageError, WorklistUnavailableError
from triage_agent.domain.figures import Drift
from triage_agent.domain.vocabulary import Priority

Gauges = Iterator[GaugeMetricFamily]
_DRIFT_SECONDS = 300.0


class BacklogGauges(Collector):
    """Who waits, and for how long; nothing while the database is away (`triage_worklist_up` says so)."""

    def __init__(
        self,
        backlog: Callable[[datetime], Backlog],
        clock: Callable[[], datetime],
        destinations: Iterable[str] = (),
    ) -> None:
        """`destinations` are told of even where nothing waits for them: those of the routes."""
        self._backlog = backlog
        self._clock = clock
        self._destinations = frozenset(destinations)

    def collect(self) -> Gauges:
        """See `Collector`."""
        try:
            now = self._clock()
            backlog = self._backlog(now)
        except WorklistUnavailableError:
            return
        yield GaugeMetricFamily(
            "triage_waiting_studies", "Studies that wait for a worker to take them up", value=backlog.waiting
        )
        yield GaugeMetricFamily(
            "triage_oldest_waiting_seconds",
            "How long the longest of them has waited; 0 where none does",
            value=backlog.waits_for(now).total_seconds(),
        )
        yield GaugeMetricFamily("triage_held_studies", "Studies that a living worker has", value=backlog.held)
        yield GaugeMetricFamily(
            "triage_open_retrievals", "Studies to be fetched from a PACS, or being fetched", value=backlog.retrievals
        )
        yield from self._by_priority(backlog, now)
        yield from self._by_destination(backlog, now)

    @staticmethod
    def _by_priority(backlog: Backlog, now: datetime) -> Gauges:
        """Every priority, so that one of which nothing waits is told as 0."""
        number = GaugeMetricFamily(
            "triage_backlog_studies", "Studies that wait for a worker, by priority", labels=["priority"]
        )
        oldest = GaugeMetricFamily(
            "triage_backlog_oldest_seconds", "How long the longest of them has waited", labels=["priority"]
        )
        for priority in Priority:
            waiting = backlog.by_priority.get(priority)
            number.add_metric([priority.value], waiting.number if waiting else 0)
            oldest.add_metric([priority.value], max(0.0, (now - waiting.since).total_seconds()) if waiting else 0)
        yield number
        yield oldest

    def _by_destination(self, backlog: Backlog, now: datetime) -> Gauges:
        """Every route of the site, and what is left of those that are no more."""
        pending = GaugeMetricFamily("triage_pending_deliveries", "Results that wait to be sent", labels=["destination"])
        oldest = GaugeMetricFamily(
            "triage_oldest_pending_delivery_seconds", "How long ago the oldest of them was made", labels=["destination"]
        )
        dead = GaugeMetricFamily(
            "triage_dead_deliveries", "Results that are not tried any more", labels=["destination"]
        )
        for destination in sorted({*self._destinations, *backlog.pending, *backlog.dead}):
            waits = backlog.pending.get(destination)
            pending.add_metric([destination], waits.number if waits else 0)
            oldest.add_metric([destination], max(0.0, (now - waits.since).total_seconds()) if waits else 0)
            dead.add_metric([destination], backlog.dead.get(destination, 0))
        yield pending
        yield oldest
        yield dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The spool's disk, and what of it the quarantine has; `free_bytes` are those that the agent may use."""

    free_bytes: int
    free_percent: float
    quarantine_files: int
    quarantine_bytes: int


class DiskGauges(Collector):
    """The spool's disk; nothing while it cannot be looked at (`/readyz` says so)."""

    def __init__(self, look: Callable[[], Disk], low_water_percent: float) -> None:
        self._look = look
        self._low_water_percent = low_water_percent

    def collect(self) -> Gauges:
        """See `Collector`."""
        yield GaugeMetricFamily(
            "triage_disk_low_water_percent",
            "Below so much free space C-STORE answers 0xA700",
            value=self._low_water_percent,
        )
        try:
            disk = self._look()
        except (OSError, TriageError):
            return
        for name, what, value in (
            ("triage_disk_free_bytes", "Free space at the spool", disk.free_bytes),
            ("triage_disk_free_percent", "The same, of its file system", disk.free_percent),
            ("triage_quarantine_files", "Files that no study could take", disk.quarantine_files),
            ("triage_quarantine_bytes", "Their size", disk.quarantine_bytes),
        ):
            yield GaugeMetricFamily(name, what, value=value)


class ObjectStoreGauges(Collector):
    """Whether the object store answers, as far as was seen, and what waits on this machine until it has it."""

    def __init__(self, up: Callable[[], bool], waiting: Callable[[], tuple[int, float]]) -> None:
        """`waiting`: how many files, and the seconds since the first of them was written."""
        self._up = up
        self._waiting = waiting

    def collect(self) -> Gauges:
        """See `Collector`."""
        files, seconds = self._waiting()
        yield GaugeMetricFamily(
            "triage_object_store_up",
            "1 while the object store answered when it was last asked",
            value=float(self._up()),
        )
        yield GaugeMetricFamily(
            "triage_write_ahead_files", "Files that wait here until the object store has them", value=files
        )
        yield GaugeMetricFamily(
            "triage_oldest_write_ahead_seconds",
            "How long the first of them has waited; 0 where none does",
            value=seconds,
        )


class RefusedConnections(Collector):
    """Connections to the DICOM ports that were closed before they asked for an association."""

    def __init__(self, refused: Callable[[], Mapping[str, int]]) -> None:
        self._refused = refused

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See `Collector`."""
        family = CounterMetricFamily(
            "triage_refused_connections", "Connections closed before they asked for an association", labels=["reason"]
        )
        for reason, number in sorted(self._refused().items()):
            family.add_metric([reason], number)
        yield family


class DriftGauges(Collector):
    """How far each region's scores are from the reference; looked at seldom, since a week's scores are read for it."""

    def __init__(self, look: Callable[[], Sequence[Drift]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._monotonic = monotonic
        self._known: Sequence[Drift] = ()
        self._again_at = float("-inf")

    def describe(self) -> Gauges:
        """See `Collector`: asked for at registration, when no database need be there."""
        yield self._family()

    def collect(self) -> Gauges:
        """See `Collector`; regions with too few studies to tell are left out."""
        if (now := self._monotonic()) >= self._again_at:
            try:
                self._known = self._look()
            except WorklistUnavailableError:
                return
            self._again_at = now + _DRIFT_SECONDS
        family = self._family()
        for one in self._known:
            if one.index is not None:
                family.add_metric([one.region], one.index)
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "triage_drift_psi",
            "Population-stability index of the last week's scores against the reference; above 0.2 is an alarm",
            labels=["region"],
        )
