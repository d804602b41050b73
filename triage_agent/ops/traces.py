"""Steps of journeys as traces for an OpenTelemetry collector (OTLP over HTTP). The home of opentelemetry.

A study's trace has an id that is a digest of its Study Instance UID, and so has the span of its whole way, below which
every other stands. So all processes of a site add to one trace, and go on after a restart, without telling each other
anything; nobody is led back from an id to a study who does not have the study's UID already.
"""

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from triage_agent.domain.errors import MissingPackageError
from triage_agent.ops.journey import WHOLE, Step, ids_of

try:
    import requests
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
    from opentelemetry.trace.status import Status, StatusCode
    from requests.adapters import HTTPAdapter
except ModuleNotFoundError as error:  # pragma: no cover - shown by a process that has not got it
    raise MissingPackageError(error.name or "opentelemetry", extra="otel") from None

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = structlog.get_logger(__name__)

_WAITING = 4096  # spans that wait for the collector; what comes beyond them is dropped
_EVERY_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_END_SECONDS = 2.0  # for what waits at the end of the process
_COMPLAIN_SECONDS = 60.0  # between two log lines about a collector that takes nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Where traces go.

    Attributes:
        url: with its path, usually /v1/traces.
        share: of all studies, 0 to 1.
        ca: who signed its certificate; None for whom the system trusts.
        token: sent as a bearer token; "" for none.
    """

    url: str
    share: float = 1.0
    ca: Path | None = None
    token: str = ""


class Traces:
    """Makes spans of steps; an exporter gets them in a thread of its own: who tells of a step waits for nothing."""

    def __init__(self, exporter: SpanExporter, share: float, **process: str) -> None:
        """`process` are attributes of whoever makes them: its role, its version."""
        self._share = share
        self._ids = _Ids()
        resource = Resource({"service.name": "triage-agent", **process})
        self._provider = TracerProvider(
            resource=resource, sampler=ALWAYS_ON, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_WAITING,
                schedule_delay_millis=_EVERY_SECONDS * 1000,
                export_timeout_millis=_ANSWER_SECONDS * 1000,
            )
        )
        self._tracer: Tracer = self._provider.get_tracer("triage_agent")

    def tell(self, step: Step) -> None:
        """Make a span of a step at once, and raise nothing: a study goes on whatever is wrong with its trace."""
        try:
            self._make(step)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("step_not_traced", step=step.name, error=type(error).__name__)

    def _make(self, step: Step) -> None:
        trace, root = ids_of(step.study_instance_uid)
        if (trace & (1 << 64) - 1) >= self._share * (1 << 64):
            return
        whole = step.name == WHOLE
        if whole:
            self._ids.next(trace, root)
            context = Context()
        else:
            parent = SpanContext(trace, root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(parent), Context())
        attributes = {f"triage.{name}": value for name, value in step.details.items()}
        if step.error:
            attributes["error.type"] = step.error
        span = self._tracer.start_span(step.name, context, attributes=attributes, start_time=step.began)
        if step.error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(step.ended)

    def close(self) -> None:
        """Send what waits, if the collector takes it within seconds."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)


class _Ids(IdGenerator):
    """Random ids, but for the next span of this thread where it is given others."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._given = threading.local()

    def next(self, trace: int, span: int) -> None:
        """The ids of the next span that has no parent."""
        self._given.ids = [trace, span]

    def generate_span_id(self) -> int:
        """See `IdGenerator`."""
        return self._take(1) or self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        return self._take(0) or self._random.generate_trace_id()

    def _take(self, place: int) -> int:
        ids: list[int] = getattr(self._given, "ids", [0, 0])
        taken, ids[place] = ids[place], 0
        return taken


class _Quiet(SpanExporter):
    """Says once a minute that the collector takes nothing; what the library says names addresses, once a batch."""

    def __init__(self, exporter: SpanExporter, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._monotonic = monotonic
        self._again_at = float("-inf")
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = SpanExportResult.FAILURE
        with suppress(Exception):  # whatever is wrong, nobody waits for it, and the next batch may go
            result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return result
        self._lost += len(spans)
        if (now := self._monotonic()) >= self._again_at:
            log.warning("traces_not_taken", spans=self._lost)
            self._again_at, self._lost = now + _COMPLAIN_SECONDS, 0
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class _Trusting(HTTPAdapter):
    """Trusts whom the system trusts, file and folder; requests would trust those that it brings along."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **options, ssl_context=ssl.create_default_context())

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """See `HTTPAdapter`; without its own list."""
        super().cert_verify(conn, url, verify, cert)
        conn.ca_certs = conn.ca_cert_dir = None


def open_traces(collector: Collector, **process: str) -> Traces:
    """Traces that go to a collector, by no proxy of the environment."""
    session = requests.Session()
    session.trust_env = False
    if collector.ca is None:
        session.mount("https://", _Trusting())
    headers = {"Authorization": f"Bearer {collector.token}"} if collector.token else {}
    exporter = OTLPSpanExporter(
        endpoint=collector.url,
        certificate_file=None if collector.ca is None else str(collector.ca),
        headers=headers,
        timeout=_ANSWER_SECONDS,
        session=session,
    )
    return Traces(_Quiet(exporter), collector.share, **process)
