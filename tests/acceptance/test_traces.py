"""A study's way as a trace, the same in each process and after a restart, at a collector that speaks OTLP over HTTP."""

import gzip
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.agent import eventually
from support.ports import free_port
from support.xrays import radiograph, send

from triage_agent.ops.journey import STEPS, WHOLE, ids_of, trace_id

SECOND = 1_000_000_000  # nanoseconds


class Collector:
    """Takes OTLP requests on loopback, and keeps the spans by trace."""

    def __init__(self):
        self.requests = []
        self.traces = defaultdict(list)
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(self.path, self.headers, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, path, headers, body):
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests.append((path, headers, body))
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = {one.key: one.value.string_value for one in of_process.resource.attributes}
            for scope in of_process.scope_spans:
                for span in scope.spans:
                    self.traces[span.trace_id.hex()].append((process, span))

    def names(self, study):
        """Of a study's spans, in the order in which they began."""
        return [
            span.name for _, span in sorted(self.traces[trace_id(study)], key=lambda one: one[1].start_time_unix_nano)
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def telemetry(url, token=""):
    return f'[telemetry]\ntraces = "{url}"\ntoken = "{token}"\n'


def test_a_study_is_one_trace_from_its_image_to_the_acknowledgement_with_nothing_of_its_patient(
    agent, pacs, alarming_bundle, collector
):
    running = agent(bundle=alarming_bundle, pacs_port=pacs.port, tables=telemetry(collector.url, "secret-token"))
    image = radiograph(seed=1)
    study = image.StudyInstanceUID
    before = time.time_ns()
    send(running.port, image)
    running.settled(study)
    eventually(lambda: {*STEPS, WHOLE} <= {*collector.names(study)})
    assert list(collector.traces) == [trace_id(study)]
    spans = [span for _, span in collector.traces[trace_id(study)]]
    _, root = ids_of(study)
    (whole,) = [span for span in spans if span.name == WHOLE]
    assert int.from_bytes(whole.span_id, "big") == root
    assert {span.parent_span_id for span in spans if span is not whole} == {whole.span_id}
    assert whole.parent_span_id == b""
    assert all(before - SECOND <= span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    first = {name: collector.names(study).index(name) for name in STEPS}
    assert sorted(STEPS, key=first.get) == list(STEPS)
    (path, headers, _), *_ = collector.requests
    assert (path, headers["Authorization"]) == ("/v1/traces", "Bearer secret-token")
    sent = b"".join(body for *_, body in collector.requests)
    for value in (study, image.SOPInstanceUID, image.PatientName, image.PatientID, image.AccessionNumber):
        assert str(value).encode() not in sent
    assert trace_id(study) in running.cli("study", study).stdout


def test_processes_and_restarts_add_to_one_trace(agent, pacs, calm_bundle, collector):
    """A listener takes the image and ends; a worker that begins later does the rest."""
    tables = telemetry(collector.url)
    listener = agent(name="listener", role="listener", bundle="/no/bundle", pacs_port=pacs.port, tables=tables)
    image = radiograph(seed=2)
    study = image.StudyInstanceUID
    send(listener.port, image)
    assert listener.stop() == 0
    assert collector.names(study) == ["receive"], "what waits is sent at the end"
    worker = agent(role="worker", bundle=calm_bundle, pacs_port=pacs.port, tables=tables, shares_data_with=listener)
    worker.settled(study)
    eventually(lambda: "acknowledged" in collector.names(study))
    roles = {process["triage.role"] for process, _ in collector.traces[trace_id(study)]}
    assert roles == {"listener", "worker"}


@pytest.mark.asked("TRIAGE_OPS")
def test_a_collector_that_is_away_holds_nothing_up(agent, pacs, calm_bundle):
    running = agent(
        bundle=calm_bundle, pacs_port=pacs.port, tables=telemetry(f"http://127.0.0.1:{free_port()}/v1/traces")
    )
    image = radiograph(seed=3)
    send(running.port, image)
    running.settled(image.StudyInstanceUID)
    eventually(lambda: "traces_not_taken" in running.log_text)
    assert running.log_text.count("traces_not_taken") == 1, "once a minute"
    assert "opentelemetry" not in running.log_text
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 20
