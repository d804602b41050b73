"""The agent's workitems over HTTP, wired as a site's are, and plain clients of them."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

from pydicom import Dataset
from support.listener import utc_now
from support.ports import free_port
from support.story import Story, decision
from websockets.sync.client import connect

from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.workitem import workitem_uid
from triage_agent.ops.metrics import Metrics
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY
from triage_agent.settings import build_settings
from triage_agent.ups_web import build_workitem_service
from triage_agent.web.access import Access, Caller
from triage_agent.web.app import build_app
from triage_agent.web.server import WebServer
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.workitems import workitems_of

JSON = "application/dicom+json"
READER, WATCHER, EDGE = "r" * 32, "w" * 32, "e" * 32
STATE, TRANSACTION, PRIORITY, UID = "00741000", "00081195", "00741200", "00080018"
ROOT = "/dicom-web/workitems"


def element(vr, *values):
    return {"vr": vr, "Value": list(values)}


def first(item, tag):
    return item[tag]["Value"][0]


def state(wanted, transaction="2.25.77"):
    """The body of a change of state."""
    said = {STATE: element("CS", wanted)}
    return said | ({TRANSACTION: element("UI", transaction)} if transaction else {})


def posted(**values):
    """What a workitem that is posted must say."""
    item = Dataset()
    item.ScheduledProcedureStepPriority, item.ProcedureStepLabel = "MEDIUM", "Second look"
    item.ScheduledProcedureStepStartDateTime, item.InputReadinessState = "20260101120000", "READY"
    item.ProcedureStepState = "SCHEDULED"
    for name, value in values.items():
        setattr(item, name, value)
    return item.to_json_dict()


def wait_for(look, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Answer:
    def __init__(self, response):
        with response:
            self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        assert self.headers["Content-Type"].startswith(JSON)
        return json.loads(self.body)

    @property
    def warning(self):
        """What the Warning header says, without the service that says it."""
        return (self.headers["Warning"] or "").partition("/workitems: ")[2]


class WebSite:
    """A running web server, its worklist, and the step that tells subscribers.

    READER may do everything, WATCHER may look, EDGE may store; PACS is told over DIMSE.
    """

    def __init__(self, url, port=None, tls=None):
        self.engine = open_engine(url)
        self.worklist, self.port = SqlWorklist(self.engine), port or free_port()
        self.workitems = workitems_of(self.worklist)
        self.story = Story(self.worklist)
        rights = (("READER", READER, "ups"), ("WATCHER", WATCHER, "query"), ("EDGE", EDGE, "store"))
        tokens = [{"name": name, "token": token, "may": [right]} for name, token, right in rights]
        peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["query"]}
        self.settings = build_settings(
            {"web": {"ups": True, "tokens": tokens}, "dicom": {"peers": [peer], "timeout_seconds": 5}}, "test"
        )
        access = Access(
            Caller(name=one.name, token=one.token, may=frozenset(one.may)) for one in self.settings.web.tokens
        )
        self.metrics = Metrics()
        made = build_workitem_service(self.settings, access, self.worklist, self.metrics, utc_now)
        self.step, self.channels = made.announces, made.channels
        self.server = WebServer(build_app({}, lambda: b"", "9.9", made.routers), "127.0.0.1", self.port, tls)
        self.server.start()

    def ask(self, method, path, body=None, token=READER, **headers):
        """The answer to a request below the service's root; `body` is written as JSON unless it is bytes."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {token}", "Content-Type": JSON, **headers}
        url = f"http://127.0.0.1:{self.port}{ROOT}{path}"
        request = urllib.request.Request(url, sent, given, method=method)
        try:
            return Answer(urllib.request.urlopen(request, timeout=20))  # noqa: S310 - our own server
        except urllib.error.HTTPError as error:
            return Answer(error)

    def search(self, token=READER, **keys):
        return self.ask("GET", "?" + urllib.parse.urlencode(keys), token=token)

    def listen(self, receiver="WATCHER", token=WATCHER, path="/ws/subscribers", **options):
        """A WebSocket client, which is connected and known to be."""
        channel = connect(
            f"ws://127.0.0.1:{self.port}{path}/{receiver}",
            additional_headers={"Authorization": f"Bearer {token}"},
            open_timeout=20,
            close_timeout=2,
            **options,
        )
        wait_for(lambda: receiver in self.channels.listening)
        return channel

    @contextmanager
    def telling(self):
        """Tell whoever listens, again and again, as the running agent does."""
        ended = threading.Event()

        def go_on():
            while not ended.wait(0.05):
                while self.step():
                    pass

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(20)

    def close(self):
        self.server.stop()
        self.engine.dispose()


@contextmanager
def web_site(url, port=None, tls=None):
    site = WebSite(url, port, tls)
    try:
        yield site
    finally:
        site.close()


ROUTE_STUDY = "1.2.840.1"
ITEM_OF_ROUTE = workitem_uid(ROUTE_STUDY)


def route_artifact(**changes):
    """The workitem of a result, as a route sends it."""
    image = Dataset()
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    image.SOPInstanceUID, image.SeriesInstanceUID = f"{ROUTE_STUDY}.1", f"{ROUTE_STUDY}.9"
    image.StudyInstanceUID, image.SpecificCharacterSet = ROUTE_STUDY, "ISO_IR 192"
    image.PatientName, image.PatientID, image.AccessionNumber = "Müller^Jürgen", "P1", "A1"
    result = replace(decision(ROUTE_STUDY), **changes)
    return REGISTRY[ArtifactKind.UPS].build(ResultContext(result=result, headers=(image,)))
