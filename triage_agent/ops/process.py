"""What Prometheus is told of a process itself: its role, whether it is ready, and its clock."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from triage_agent.domain.errors import TriageError

_FIRST_SECONDS = 1.0  # for the first scrape to wait for the first look
_STALE_SECONDS = 120.0  # a look that takes so long hangs, and what hangs is not ready


class Readiness(Collector):
    """What `/readyz` answers, looked at beside: a scrape must not wait for a database that hangs.

    A scrape asks for the next look and tells of the last one, so that nothing is looked at where nobody scrapes.

    Attributes:
        wanted: called when a look is; whoever looks calls `step` then.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], None]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`checks`: a name, and a call that raises `TriageError` where that part is not ready; it may change."""
        self._checks = checks
        self._monotonic = monotonic
        self._found: dict[str, bool] = {}
        self._looked_at = float("-inf")
        self._asked, self._looked = threading.Event(), threading.Event()
        self.wanted: Callable[[], object] = lambda: None

    def step(self) -> bool:
        """Look if that was asked for; there is never more to do at once."""
        if not self._asked.is_set():
            return False
        self._asked.clear()
        self._found = {name: _passes(check) for name, check in dict(self._checks).items()}
        self._looked_at = self._monotonic()
        self._looked.set()
        return False

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector`."""
        self._asked.set()
        self.wanted()
        self._looked.wait(_FIRST_SECONDS)
        fresh = self._monotonic() - self._looked_at < _STALE_SECONDS
        parts = GaugeMetricFamily(
            "triage_part_ready", "Whether this part of the process is ready (1), as /readyz names it", labels=["part"]
        )
        for name, ready in sorted(self._found.items()):
            parts.add_metric([name], float(ready and fresh))
        yield parts
        yield GaugeMetricFamily(
            "triage_ready",
            "Whether the process is ready (1), as /readyz says; as of the scrape before",
            value=float(fresh and all(self._found.values())),
        )


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except TriageError:
        return False
    return True


class ClockGauges(Collector):
    """This machine's clock, to be compared with Prometheus's, and the one by which deadlines are reckoned."""

    def __init__(self, clock: Callable[[], datetime], now: Callable[[], float] = time.time) -> None:
        """`clock` is the one of deadlines: the database server's on Postgres."""
        self._clock = clock
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector`."""
        now = self._now()
        yield GaugeMetricFamily(
            "triage_clock_timestamp_seconds", "What this machine's clock says at the scrape", value=now
        )
        yield GaugeMetricFamily(
            "triage_clock_ahead_seconds",
            "How far the database server's clock is ahead of this machine's; 0 on SQLite",
            value=self._clock().timestamp() - now,
        )
