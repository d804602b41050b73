"""What the parts of one process do to each other: loops that fail, an end while something is in hand."""

import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support import ports
from support.migrated import migrated
from support.story import MODEL, STUDY, Story, shipment

from triage_agent import bootstrap, watching, worker
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Status
from triage_agent.pipeline import Pipeline
from triage_agent.settings import Settings
from triage_agent.worklist import SqlWorklist, open_engine

SOON = 30.0  # seconds; everything here takes milliseconds


class FakeScorer:
    """Is asked for a built-in image only: no study here has an image file."""

    identity = MODEL

    def score(self, images, anatomies=()):
        return [ImageScore(probability=0.25) for _ in images]


class Wire:
    """A destination that takes what it is sent when it may."""

    kinds = frozenset(ArtifactKind)

    def __init__(self):
        self.taken = []
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.closing = lambda: None
        self.seen_at_close = []

    def send(self, artifact):
        self.asked.set()
        self.may_answer.wait(SOON)
        self.taken.append(artifact.uid)

    def check(self):
        return "there"

    def close(self):
        self.seen_at_close.append(self.closing())


class Site:
    """A worker process with two destinations, inside this one."""

    def __init__(self, folder, web_port):
        self.wires = {"pacs": Wire(), "ris": Wire()}
        self.settings = Settings.model_validate(
            {
                "data_dir": folder,
                "dicom": {"peers": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}]},
                "hl7": {"peers": [{"name": "ris", "host": "127.0.0.1", "port": 2575}]},
                "routes": [{"to": "pacs", "send": ["sr"]}, {"to": "ris", "send": ["hl7-oru"]}],
                "web": {"port": web_port},
            }
        )
        migrated(self.settings.data_dir / "triage.db")
        self.engine = open_engine(self.settings.database_url)
        self.story = Story(SqlWorklist(self.engine))

    @contextmanager
    def running(self):
        try:
            with bootstrap.build_agent(self.settings, "worker") as agent:
                yield agent
        finally:
            for wire in self.wires.values():
                wire.may_answer.set()

    def states(self, study=STUDY):
        return {row.destination: row.state for row in self.story.worklist.study(study).deliveries}


@pytest.fixture
def site(tmp_path, free_port, monkeypatch):
    made = Site(tmp_path, free_port)
    monkeypatch.setattr(bootstrap, "build_scorer", lambda settings: FakeScorer())
    monkeypatch.setattr(bootstrap, "build_transports", lambda settings: made.wires)
    monkeypatch.setattr(worker, "_DATABASE_AWAY_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_IDLE_SECONDS", 0.01)
    yield made
    made.engine.dispose()


def eventually(look):
    deadline = time.monotonic() + SOON
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_loop_that_fails_gives_back_what_it_held_and_nothing_of_the_others(site, monkeypatch):
    """A study is being scored and a report being sent while the loop of another destination loses the database."""
    deciding, may_decide, recovered = threading.Event(), threading.Event(), threading.Event()
    claim, hiccups = SqlWorklist.claim_deliveries, [WorklistUnavailableError("away")]

    def decide_study(self, claimed, owner):
        deciding.set()
        may_decide.wait(SOON)

    def claim_deliveries(self, owner, now, lease, limit, destinations=None):
        if destinations == ["ris"] and deciding.is_set() and site.wires["pacs"].asked.is_set():
            if hiccups:
                raise hiccups.pop()
            recovered.set()  # the loop comes here again after it has given back what it held
        return claim(self, owner, now, lease, limit, destinations)

    monkeypatch.setattr(Pipeline, "decide_study", decide_study)
    monkeypatch.setattr(SqlWorklist, "claim_deliveries", claim_deliveries)
    site.wires["pacs"].may_answer.clear()
    site.story.decided(shipment("2.25.1"), study="1.2.9")
    site.story.receive(STUDY)
    site.story.complete(STUDY)
    with site.running():
        try:
            assert recovered.wait(SOON)
            assert site.story.status() is Status.SCORING
            assert site.states("1.2.9") == {"pacs": DeliveryState.SENDING}
        finally:
            may_decide.set()
            site.wires["pacs"].may_answer.set()
    assert site.wires["pacs"].taken == ["2.25.1"]


def test_what_every_loop_holds_at_the_end_is_given_back_before_connections_are_cut(site, monkeypatch):
    deciding, may_decide = threading.Event(), threading.Event()

    def decide_study(self, claimed, owner):
        deciding.set()
        may_decide.wait(SOON)

    monkeypatch.setattr(Pipeline, "decide_study", decide_study)
    monkeypatch.setattr(bootstrap, "_STOP_SECONDS", 0.1)
    site.wires["pacs"].may_answer.clear()
    site.wires["pacs"].closing = lambda: site.states("1.2.9")["pacs"]
    site.story.decided(shipment("2.25.1"), study="1.2.9")
    site.story.receive(STUDY)
    site.story.complete(STUDY)
    try:
        with site.running():
            assert deciding.wait(SOON)
            assert site.wires["pacs"].asked.wait(SOON)
    finally:
        may_decide.set()
    assert site.story.status() is Status.READY
    assert site.wires["pacs"].seen_at_close == [DeliveryState.PENDING]


def test_only_the_loop_that_did_not_end_is_taken_for_stuck(site, monkeypatch):
    """The study in a loop that ended was not the reason, and one that stops often enough would else need a human."""
    given_back = {}
    give_back = SqlWorklist.give_back

    def remember(self, owner, now, *, counted=True):
        given_back[owner.rpartition("/")[2]] = counted
        return give_back(self, owner, now, counted=counted)

    monkeypatch.setattr(SqlWorklist, "give_back", remember)
    monkeypatch.setattr(bootstrap, "_STOP_SECONDS", 0.5)
    site.wires["pacs"].may_answer.clear()
    site.story.decided(shipment("2.25.1"), study="1.2.9")
    try:
        with site.running():
            assert site.wires["pacs"].asked.wait(SOON)
    finally:
        site.wires["pacs"].may_answer.set()
    assert (given_back["deliver-pacs"], given_back["worker"]) == (True, False)


def test_what_waits_for_a_route_that_is_gone_is_dead_from_the_start_on(site):
    site.story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris-before-it-was-renamed"))
    with site.running():
        eventually(lambda: site.wires["pacs"].taken)
        assert site.states()["ris-before-it-was-renamed"] is DeliveryState.DEAD
    assert "no route" in site.story.item().status_reason


def test_a_listener_without_workers_shows_how_long_studies_wait(site, monkeypatch):
    """And says so in its log: nothing else in that process would."""
    monkeypatch.setattr(watching, "TOO_LONG", timedelta(0))
    monkeypatch.setattr(watching, "_LOOK_SECONDS", 0.01)
    site.story.receive()
    site.story.complete()
    spool = site.settings.data_dir / "spool"
    spool.mkdir()
    for path in site.story.worklist.spool_paths():  # a spool without them would be another's
        (spool / path).touch()
    port = ports.free_port()
    settings = site.settings.model_copy(update={"dicom": site.settings.dicom.model_copy(update={"port": port})})
    with capture_logs() as logs, bootstrap.build_agent(settings, "listener") as agent:
        eventually(lambda: [line for line in logs if line["event"] == "studies_wait_for_a_worker"])
        shown = agent.metrics.exposition().decode()
    assert "triage_waiting_studies 1.0" in shown
    seconds = next(line for line in shown.splitlines() if line.startswith("triage_oldest_waiting_seconds "))
    assert float(seconds.split()[1]) > 0
    assert "triage_disk_free_bytes " in shown
    assert "triage_refused_connections" in shown


def test_what_the_schedule_cannot_do_is_counted(site, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(SqlWorklist, "due_for_completion", fail)
    with site.running() as agent:
        counted = re.compile(rb'triage_tick_failures_total\{what="complete_due"\} [1-9]')
        eventually(lambda: counted.search(agent.metrics.exposition()))
        assert b'triage_tick_failures_total{what="study"} 0.0' in agent.metrics.exposition()
