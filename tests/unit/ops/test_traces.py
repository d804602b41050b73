"""Steps become spans of their study's trace; what is wrong with a trace costs the trace and nothing else."""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs
from support.certificates import Authority
from support.http_peer import Said, http_peer, server_tls
from support.programs import require_program

from triage_agent.domain.errors import MissingPackageError
from triage_agent.ops import traces as module
from triage_agent.ops.journey import NOWHERE, WHOLE, Step, ids_of
from triage_agent.ops.traces import Collector, Traces, _Quiet, open_traces
from triage_agent.settings import Settings
from triage_agent.tracing import trace_journeys

AT = 1_770_000_000_000_000_000


def step(name="decide", study="1.2.1", **more):
    return Step(name=name, study_instance_uid=study, began=AT, ended=AT + 5_000_000, **more)


def made(*steps, share=1.0):
    """The spans that an exporter gets of these steps."""
    exporter = InMemorySpanExporter()
    traces = Traces(exporter, share, **{"triage.role": "worker"})
    for one in steps:
        traces.tell(one)
    traces.close()
    return exporter.get_finished_spans()


def test_a_step_is_a_span_of_its_study_s_trace_below_the_study_s_own():
    (span,) = made(step(details={"peer": "pacs", "bytes": 7}))
    trace, root = ids_of("1.2.1")
    assert (span.context.trace_id, span.parent.span_id) == (trace, root)
    assert span.context.span_id not in {0, root}
    assert (span.name, span.start_time, span.end_time) == ("decide", AT, AT + 5_000_000)
    assert dict(span.attributes) == {"triage.peer": "pacs", "triage.bytes": 7}
    assert dict(span.resource.attributes) == {"service.name": "triage-agent", "triage.role": "worker"}


def test_the_whole_way_is_the_span_above_whichever_process_tells_of_it():
    below, whole, after = made(step(), step(WHOLE), step("deliver"))
    assert whole.parent is None
    assert whole.context.span_id == below.parent.span_id == after.parent.span_id == ids_of("1.2.1")[1]
    assert len({one.context.span_id for one in (below, whole, after)}) == 3


def test_a_step_that_failed_says_so_by_the_type_of_its_error():
    (span,) = made(step(error="OSError"))
    assert not span.status.is_ok
    assert span.status.description is None
    assert span.attributes["error.type"] == "OSError"


def test_a_share_is_of_whole_studies():
    studies = [f"1.2.{number}" for number in range(400)]
    taken = {span.context.trace_id for span in made(*(step(study=one) for one in studies * 2), share=0.25)}
    assert 60 < len(taken) < 140
    assert made(*(step(study=one) for one in studies), share=0.0) == ()


def test_what_cannot_be_made_a_span_is_told_in_a_line_and_raises_nothing(monkeypatch):
    monkeypatch.setattr(module, "ids_of", lambda _uid: 1 / 0)
    with capture_logs() as logs:
        assert made(step()) == ()
    assert [(one["event"], one["error"]) for one in logs] == [("step_not_traced", "ZeroDivisionError")]


class Stuck(SpanExporter):
    """A collector that never answers."""

    def __init__(self):
        self.free = threading.Event()

    def export(self, spans):
        self.free.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self):
        pass


def test_nobody_waits_for_a_collector_that_never_answers_and_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_END_SECONDS", 0.05)
    exporter = Stuck()
    traces = Traces(exporter, 1.0)
    try:
        began = time.monotonic()
        for number in range(3 * module._WAITING):
            traces.tell(step(study=f"1.2.{number % 7}"))
        traces.close()
        assert time.monotonic() - began < 20
        assert (
            len(traces._provider._active_span_processor._span_processors[0]._batch_processor._queue) <= module._WAITING
        )
    finally:
        exporter.free.set()


class Failing(SpanExporter):
    def __init__(self):
        self.wrong = None

    def export(self, spans):
        if self.wrong:
            raise self.wrong
        return SpanExportResult.FAILURE

    def shutdown(self):
        pass


@pytest.mark.parametrize("wrong", [None, ValueError("http://user:password@collector")])
def test_a_collector_that_takes_nothing_is_told_of_once_a_minute(wrong):
    now = [0.0]
    quiet = _Quiet(Failing(), lambda: now[0])
    quiet._exporter.wrong = wrong
    with capture_logs() as logs:
        for now[0] in (0.0, 30.0, 59.0, 61.0):
            assert quiet.export([None] * 5) is SpanExportResult.FAILURE
    assert logs == [
        {"event": "traces_not_taken", "log_level": "warning", "spans": 5},
        {"event": "traces_not_taken", "log_level": "warning", "spans": 15},
    ]


def test_a_site_that_wants_traces_and_lacks_the_packages_for_them_is_told_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "triage_agent.ops.traces")
    settings = Settings(data_dir=tmp_path, telemetry={"traces": "http://127.0.0.1:4318/v1/traces"})
    with ExitStack() as ends, pytest.raises(MissingPackageError, match="opentelemetry is not installed") as caught:
        trace_journeys(settings, "worker", ends)
    assert "'.[otel]'" in caught.value.remedy


def test_a_site_that_wants_none_needs_no_packages(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "triage_agent.ops.traces", None)
    with ExitStack() as ends:
        assert trace_journeys(Settings(data_dir=tmp_path), "worker", ends) is NOWHERE


@pytest.mark.parametrize("named", ["ca", "file", "folder", ""])
def test_a_collector_s_certificate_is_trusted_whose_ca_is_named_or_is_the_system_s(named, monkeypatch, tmp_path):
    """As `check` has it; requests would look into a list of its own instead of the system's file and folder."""
    authority = Authority(tmp_path)
    if named == "file":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    elif named == "folder":
        subprocess.run([require_program("openssl"), "rehash", str(tmp_path)], check=True)
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    elif not named:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(authority.ca))  # the configuration alone counts
    with http_peer(Said(200), tls=server_tls(authority.files("collector"), require_client=False)) as peer:
        url = f"https://127.0.0.1:{peer.port}/v1/traces"
        traces = open_traces(Collector(url=url, ca=authority.ca if named == "ca" else None))
        traces.tell(step())
        traces.close()
        assert [one.path for one in peer.asked] == ["/v1/traces"] * bool(named)
