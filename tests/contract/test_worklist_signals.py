"""A Postgres server wakes who waits for work, also in other processes, and is everybody's clock."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from support.agent import eventually
from support.story import LEASE, Story, flag, shipment

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.signals import SharedClock, Signals

pytestmark = pytest.mark.external


class Heard:
    """Whom the server woke, in order."""

    def __init__(self):
        self.all = []
        self.event = threading.Event()

    def __call__(self, whom):
        self.all.append(whom)
        self.event.set()

    def soon(self, whom):
        eventually(lambda: whom in self.all, 20, every=0.005)
        self.all.clear()


@pytest.fixture
def heard(postgres_url):
    heard = Heard()
    signals = Signals(postgres_url, heard)
    signals.start()
    heard.soon("")  # what came before anybody listened is looked for
    yield heard
    signals.stop()


@pytest.fixture
def engine(postgres_url):
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def story(engine):
    return Story(SqlWorklist(engine))


def test_an_image_wakes_workers(story, heard):
    story.receive()
    heard.soon("worker")


def test_a_study_that_is_wanted_wakes_who_fetches(story, heard):
    want = {"study_instance_uid": "1.2.8", "peer": "pacs", "requested_by": "admin"}
    story.worklist.want_retrieval(now=story.tick(), **want)
    heard.soon("fetch")
    story.worklist.retrieval_ended(
        story.worklist.claim_retrieval("w1", story.tick(), LEASE), story.tick(), error="away", retry_at=None
    )
    story.worklist.want_retrieval(now=story.tick(), **want)
    heard.soon("fetch")


def test_a_complete_study_wakes_workers_and_a_decision_deliverers(story, heard):
    story.receive()
    heard.soon("worker")
    story.complete()
    heard.soon("worker")
    story.claim()
    assert heard.all == []
    story.decide(shipment())
    heard.soon("deliver")


def test_a_flag_wakes_deliverers(story, heard):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment()], story.tick())
    heard.soon("deliver")


def test_what_is_given_back_or_put_back_wakes_whom_it_concerns(story, heard):
    story.claimed(owner="w1")
    heard.soon("worker")
    story.worklist.give_back("w1", story.tick())
    heard.soon("worker")
    story.claim()
    story.decide(shipment())
    story.lose()
    heard.soon("deliver")
    story.worklist.retry_study("1.2.1", "admin", story.tick())
    heard.soon("deliver")


def test_what_is_rolled_back_wakes_nobody(engine, story, heard, monkeypatch):
    def fail(*_):
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr("triage_agent.worklist.registration.append_audit", fail)
        with pytest.raises(ValueError):
            story.receive()
    with engine.begin() as connection:
        connection.execute(text("NOTIFY triage_work, 'last'"))
    eventually(lambda: heard.all, 20, every=0.005)
    assert heard.all == ["last"]


def test_a_connection_that_was_cut_is_made_again_and_what_was_missed_is_looked_for(postgres_url, story, heard):
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query ~ 'LISTEN|clock_timestamp' AND pid <> pg_backend_pid()"
            )
        )
    admin.dispose()
    heard.soon("")
    story.receive()
    heard.soon("worker")


def test_the_clock_is_the_server_s(postgres_url):
    signals = Signals(postgres_url, print)
    assert abs(signals.clock() - datetime.now(UTC)) < timedelta(seconds=5)
    assert signals.clock().utcoffset() == timedelta(0)


def test_a_server_that_is_away_at_the_start_is_said_to_be(tmp_path):
    with pytest.raises(WorklistUnavailableError):
        Signals(f"postgresql+psycopg://triage@/none?host={tmp_path}", print)


def test_the_clock_goes_on_by_this_machine_s_count_until_it_is_asked_again():
    count, at = [100.0], datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    clock = SharedClock(lambda: count[0])
    with pytest.raises(WorklistUnavailableError):
        clock()

    def ask():
        count[0] += 2  # the answer takes two seconds and is of their middle
        return at

    clock.learn(ask)
    assert clock() == at + timedelta(seconds=1)
    count[0] += 10
    assert clock() == at + timedelta(seconds=11)
    clock.learn(lambda: at - timedelta(hours=1))
    assert clock() == at - timedelta(hours=1)


def test_the_end_does_not_wait(postgres_url):
    signals = Signals(postgres_url, lambda _: None)
    signals.start()
    started = time.monotonic()
    signals.stop()
    assert time.monotonic() - started < 5
    assert not signals._thread.is_alive()
