"""What Prometheus is told of the audit log: what is not sealed yet, and what was not sent yet."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from triage_agent.domain.audit_log import AuditLog
from triage_agent.domain.errors import WorklistUnavailableError

_VERIFIED_SECONDS = 60.0


class AuditGauges(Collector):
    """The chain and its readers; nothing while the database is away (`triage_worklist_up` says so)."""

    def __init__(
        self,
        log: AuditLog,
        reader: str | None,
        clock: Callable[[], datetime],
        verified: Callable[[], tuple[bool, datetime | None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader` is the name of the cursor of what sends messages; None where nothing is sent.

        `verified` tells whether some verification found the log broken, which nothing has undone since, and when it was
        last found intact as a whole; it is asked once a minute.
        """
        self._verified = verified
        self._monotonic = monotonic
        self._standing: tuple[bool, datetime | None] = (False, None)
        self._again_at = float("-inf")
        self._log = log
        self._reader = reader
        self._clock = clock

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """See `Collector`."""
        now = self._clock()
        try:
            head = self._log.head()
            waiting = self._log.unsealed(head.floor if head else 0)
            behind = self._log.behind(self._reader) if self._reader else None
            broken, verified_at = self._look()
        except WorklistUnavailableError:
            return
        yield CounterMetricFamily(
            "triage_audit_sealed_records", "Audit records in the chain", value=head.position if head else 0
        )
        yield GaugeMetricFamily(
            "triage_audit_unsealed_records", "Audit records that are not in the chain yet", value=waiting.number
        )
        yield GaugeMetricFamily(
            "triage_audit_seal_lag_seconds", "How old the oldest of them is", value=waiting.lag(now).total_seconds()
        )
        yield GaugeMetricFamily(
            "triage_audit_broken",
            "Whether a verification found the audit log tampered with (1), and none has found it intact since",
            value=float(broken),
        )
        if verified_at is not None:
            yield GaugeMetricFamily(
                "triage_audit_verified_timestamp_seconds",
                "When the whole audit log was last verified and found intact; left out where it never was",
                value=verified_at.timestamp(),
            )
        if behind is None:
            return
        oldest = 0.0 if behind.oldest is None else max(0.0, (now - behind.oldest).total_seconds())
        yield GaugeMetricFamily(
            "triage_audit_unsent_records",
            "Audit records in the chain that were not sent by syslog",
            value=behind.number,
        )
        yield GaugeMetricFamily("triage_audit_unsent_seconds", "How old the oldest of them is", value=oldest)

    def _look(self) -> tuple[bool, datetime | None]:
        if (now := self._monotonic()) >= self._again_at:
            self._standing = self._verified()
            self._again_at = now + _VERIFIED_SECONDS
        return self._standing
