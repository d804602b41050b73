"""What only a server can do: lose connections, be configured otherwise, fail over."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.story import RULE, Story, received

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist import postgres as postgres_adapter

pytestmark = pytest.mark.external


@pytest.fixture
def engine(postgres_url):
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def admin(postgres_url):
    """A connection past our engine, whose settings for the database are taken back."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
        connection.execute(text("ALTER DATABASE triage RESET ALL"))
    engine.dispose()


def cut(admin):
    """End every other connection to the database."""
    admin.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


def test_connections_that_were_cut_are_replaced(engine, admin):
    worklist = SqlWorklist(engine)
    worklist.register(received(), RULE)
    cut(admin)
    worklist.register(received(image="1.2.1.2"), RULE)
    assert worklist.items()[0].instances == 2


def test_a_connection_that_is_cut_at_work_leaves_nothing_behind(engine, admin, monkeypatch):
    worklist = SqlWorklist(engine)

    def cut_first(session, *events):
        cut(admin)
        session.execute(text("SELECT 1"))

    with monkeypatch.context() as patched:
        patched.setattr("triage_agent.worklist.registration.append_audit", cut_first)
        with pytest.raises(WorklistUnavailableError, match="did not answer"):
            worklist.register(received(), RULE)
    assert worklist.items() == []


def test_a_server_that_would_lose_commits_is_told_not_to(postgres_url, admin):
    admin.execute(text("ALTER DATABASE triage SET synchronous_commit = off"))
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    engine.dispose()


def test_a_stricter_server_is_left_as_it_is(postgres_url, admin):
    admin.execute(text("ALTER DATABASE triage SET synchronous_commit = remote_apply"))
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "remote_apply"
    engine.dispose()


def test_a_server_that_only_reads_is_a_worklist_that_is_away(postgres_url, admin):
    admin.execute(text("ALTER DATABASE triage SET default_transaction_read_only = on"))
    engine = open_engine(postgres_url)
    with pytest.raises(WorklistUnavailableError, match="read-only"):
        SqlWorklist(engine).register(received(), RULE)
    engine.dispose()
    admin.execute(text("SET default_transaction_read_only = off"))


def test_nobody_waits_for_ever(engine):
    with engine.connect() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "5s"


def test_a_row_that_another_holds_for_too_long_is_a_worklist_that_is_away(postgres_url):
    engine = open_engine(f"{postgres_url}&options=-c%20lock_timeout%3D50ms")
    worklist = SqlWorklist(engine)
    worklist.register(received(), RULE)
    with engine.begin() as other:
        other.execute(text("SELECT * FROM studies FOR UPDATE"))
        with pytest.raises(WorklistUnavailableError, match="lock timeout"):
            worklist.register(received(image="1.2.1.2"), RULE)
    engine.dispose()


def test_an_owner_gives_back_also_what_another_transaction_looks_at(engine):
    """It gives back once, at its end: what it skipped would be held until the lease runs out."""
    story = Story(SqlWorklist(engine))
    story.claimed(owner="w1")
    with engine.begin() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("SELECT * FROM studies FOR UPDATE"))
        giving_back = pool.submit(story.worklist.give_back, "w1", story.now)
        with pytest.raises(TimeoutError):
            giving_back.result(0.3)
        other.rollback()
        assert giving_back.result(10) == 1
    assert story.status() is Status.READY


def test_a_connection_whose_server_is_frozen_is_given_up_for_another(postgres_url, monkeypatch):
    """It answers nothing, not even that a time is over, and the network does not say that it is gone."""
    monkeypatch.setattr(postgres_adapter, "ANSWER_SECONDS", 0.3)
    engine = open_engine(postgres_url)
    worklist = SqlWorklist(engine)
    worklist.register(received(), RULE)
    backends = _backends(postgres_url)
    with _frozen(*backends):
        worklist.register(received(image="1.2.1.2"), RULE)
        assert worklist.items()[0].instances == 2
    engine.dispose()


def test_a_frozen_server_is_told_from_a_slow_one_before_a_statement_s_time_is_over(postgres_url, monkeypatch):
    """A connection of the pool that answers no ping is not waited for as a statement is, on top of a new one."""
    monkeypatch.setattr(postgres_adapter, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(postgres_adapter, "PING_SECONDS", 0.2)
    engine = open_engine(f"{postgres_url}&connect_timeout=2")
    worklist = SqlWorklist(engine)
    worklist.register(received(), RULE)
    backends = _backends(postgres_url)
    with _frozen(_parent(backends[0]), *backends):
        started = time.monotonic()
        with pytest.raises(WorklistUnavailableError):
            worklist.register(received(image="1.2.1.2"), RULE)
        assert time.monotonic() - started < 30
    worklist.register(received(image="1.2.1.3"), RULE)
    assert worklist.items()[0].instances == 2
    engine.dispose()


def test_a_statement_that_is_not_answered_ends(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres_adapter, "ANSWER_SECONDS", 0.3)
    engine = open_engine(postgres_url)
    with pytest.raises(WorklistUnavailableError, match="did not answer for"):
        SqlWorklist(engine)._database.read(lambda session: session.execute(text("SELECT pg_sleep(60)")))
    assert SqlWorklist(engine).items() == []
    engine.dispose()


@contextmanager
def _frozen(*processes):
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def _parent(process):
    """The postmaster, which takes new connections."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _backends(url):
    """The server's processes that serve the worklist's idle connections."""
    admin = create_engine(url)
    with admin.connect() as connection:
        found = connection.execute(
            text("SELECT pid FROM pg_stat_activity WHERE application_name = 'triage-agent' AND datname = 'triage'")
        )
        pids = list(found.scalars())
    admin.dispose()
    return pids
