"""What Prometheus scrapes. Counters count what this process did; gauges are read from the worklist at scrape."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.ops.journey import NOWHERE, Journey
from triage_agent.ops.process import ClockGauges
from triage_agent.ops.processes import AllProcesses
from triage_agent.ops.timings import Timings

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900)


class Metrics:
    """The agent's metrics on a registry of their own, so that two agents in one process do not mix.

    `journey` is told of each study's steps by whoever counts them here.
    """

    def __init__(self, journey: Journey = NOWHERE) -> None:
        self.registry = CollectorRegistry()
        self._shown = self.registry
        self.journey = journey
        self.timings = Timings(self.registry)
        self._certificates: _CertificateCollector | None = None
        self.stores = Counter("triage_store_answers", "C-STORE responses", ["status"], registry=self.registry)
        self.rejected = Counter(
            "triage_rejected_associations", "Associations rejected", ["reason"], registry=self.registry
        )
        self.assessed = Counter("triage_assessed_images", "Images assessed", ["outcome"], registry=self.registry)
        self.decided = Counter("triage_decided_studies", "Decisions made", ["finding"], registry=self.registry)
        self.flagged = Counter(
            "triage_flagged_studies", "Priorities raised before completeness", registry=self.registry
        )
        self.shadow = Counter(
            "triage_shadow", "Decided studies compared with the shadow bundle", ["agrees"], registry=self.registry
        )
        self.evidence = Counter(
            "triage_evidence", "Decided studies that were to have maps", ["outcome"], registry=self.registry
        )
        self.shadow_loaded = Gauge(
            "triage_shadow_loaded", "Whether the shadow bundle was loaded", ["bundle"], registry=self.registry
        )
        self.deliveries = Counter(
            "triage_deliveries", "Attempts to send a result", ["destination", "outcome"], registry=self.registry
        )
        self.commitment_requests = Counter(
            "triage_commitment_requests",
            "Responses to requests for storage commitment",
            ["status"],
            registry=self.registry,
        )
        self.queries = Counter(
            "triage_worklist_queries",
            "Final responses to Modality Worklist queries",
            ["status"],
            registry=self.registry,
        )
        self.hl7_answers = Counter(
            "triage_hl7_answers", "Answers to HL7 messages about orders and patients", ["code"], registry=self.registry
        )
        self.hl7_left_out = Counter(
            "triage_hl7_left_out",
            "What was not kept of HL7 messages that were taken: patient_not_named, name_cut",
            ["what"],
            registry=self.registry,
        )
        self.commitment_answers = Counter(
            "triage_commitment_answers",
            "Attempts to answer a request: committed, failed (some instance is not kept), retry, dead",
            ["outcome"],
            registry=self.registry,
        )
        self.workitem_requests = Counter(
            "triage_workitem_requests",
            "Responses to requests about workitems (UPS), but for queries",
            ["kind", "status"],
            registry=self.registry,
        )
        self.workitem_reports = Counter(
            "triage_workitem_reports", "Reports of workitems to subscribers", ["outcome"], registry=self.registry
        )
        self.notices = Counter(
            "triage_notices",
            "Attempts to tell people by e-mail or webhook: sent, retry, dead",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.commitments = Counter(
            "triage_commitments",
            "Results whose destination was asked, or answered: asked, away, refused, committed, resent, dead",
            ["destination", "outcome"],
            registry=self.registry,
        )
        self.unbuilt = Counter(
            "triage_results_not_built", "Results that could not be built", ["kind"], registry=self.registry
        )
        self.ticks = Counter(
            "triage_tick_failures",
            "Ticks of the schedule that failed, by name; looks at one study; questions to the PACS",
            ["what"],
            registry=self.registry,
        )
        self.retrievals = Counter(
            "triage_retrievals",
            "Tries to fetch a study: complete, incomplete (the PACS has more), failed",
            ["outcome"],
            registry=self.registry,
        )
        self.scoring_seconds = Histogram(
            "triage_scoring_seconds", "Decode and model time of one image", buckets=_SECONDS, registry=self.registry
        )

    def watch_ticks(self, work: Iterable[str]) -> None:
        """Show a zero for each of what may fail: of a series that begins with its first failure no increase is seen."""
        for what in work:
            self.ticks.labels(what)

    def tick_failed(self, what: str) -> None:
        """Count what the schedule could not do."""
        self.ticks.labels(what).inc()

    def add(self, collector: Collector) -> None:
        """Add what is asked for at each scrape; see `gauges`."""
        self.registry.register(collector)

    def watch(self, counts: Callable[[], dict[str, dict[str, int]]], also: Collector | None = None) -> None:
        """Add the worklist's own numbers; `counts` is `Worklist.counts`, `also` asks it for more where it answers."""
        self.registry.register(_WorklistCollector(counts, also))

    def watch_certificates(
        self, expires: Callable[[], dict[str, datetime]], current: Callable[[], bool] | None = None
    ) -> None:
        """Add when certificates expire, and, where `current` can tell, whether the files as they are are in use."""
        if self._certificates is None:
            self._certificates = _CertificateCollector()
            self.registry.register(self._certificates)
        self._certificates.sources.append(expires)
        self._certificates.current = current or self._certificates.current

    def describe(self, role: str, version: str, clock: Callable[[], datetime]) -> None:
        """Add what this process is: its role, its clock, and what it takes of the machine."""
        Gauge("triage_info", "A process of the agent", ["serves", "version"], registry=self.registry).labels(
            role, version
        ).set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(ClockGauges(clock))

    def all_processes(self) -> AllProcesses:
        """Show what other processes have counted, too; what is returned is told of it."""
        shown = AllProcesses(self.registry)
        self._shown = CollectorRegistry()
        self._shown.register(shown)
        return shown

    def exposition(self) -> bytes:
        """The text that `/metrics` answers with."""
        return generate_latest(self._shown)


class _CertificateCollector(Collector):
    """Asked at each scrape: certificates change while the agent runs."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], dict[str, datetime]]] = []
        self.current: Callable[[], bool] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        expires = GaugeMetricFamily(
            "triage_certificate_expires_timestamp_seconds",
            "When a certificate expires: own (DICOM and HL7), ca (the next of the CAs), web",
            labels=["certificate"],
        )
        for source in self.sources:
            for which, at in source().items():
                expires.add_metric([which], at.timestamp())
        yield expires
        if self.current is not None:
            yield GaugeMetricFamily(
                "triage_certificate_current",
                "Whether the TLS files as they are now are in use (1), or what they were before (0)",
                value=float(self.current()),
            )


class _WorklistCollector(Collector):
    """Backlog gauges, asked for at each scrape so that they move when the database does.

    While the database is away there is no backlog to tell, and `triage_worklist_up` is 0: what this process counts
    itself is wanted just then, and one that is frozen is waited for once a scrape, not for each number.
    """

    def __init__(self, counts: Callable[[], dict[str, dict[str, int]]], also: Collector | None) -> None:
        self._counts = counts
        self._also = also

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("triage_worklist_up", "Whether the worklist's database answers (1) or not (0)")
        try:
            counts = self._counts()
        except WorklistUnavailableError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        for label, values in counts.items():
            gauge = GaugeMetricFamily(f"triage_worklist_{label}", f"Rows by {label}", labels=[label])
            for value, number in sorted(values.items()):
                gauge.add_metric([value], number)
            yield gauge
        if self._also is not None:
            yield from self._also.collect()
