"""What Prometheus is told of the audit log: what is not sealed yet, and what was not sent yet."""

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from triage_agent.domain.audit_log import AuditLog
from triage_agent.domain.errors import WorklistUnavailableError


class AuditGauges(Collector):
    """The chain and its readers; nothing while the database is away (`triage_worklist_up` says so)."""

    def __init__(self, log: AuditLog, reader: str | None, clock: Callable[[], datetime]) -> None:
        """`reader` is the name of the cursor of what sends messages; None where nothing is sent."""
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
        if behind is None:
            return
        oldest = 0.0 if behind.oldest is None else max(0.0, (now - behind.oldest).total_seconds())
        yield GaugeMetricFamily(
            "triage_audit_unsent_records",
            "Audit records in the chain that were not sent by syslog",
            value=behind.number,
        )
        yield GaugeMetricFamily("triage_audit_unsent_seconds", "How old the oldest of them is", value=oldest)
