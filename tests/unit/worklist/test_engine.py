import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event
from sqlalchemy.exc import StatementError
from support.story import RULE, T0, received

from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.worklist import SqlWorklist, current, open_engine, transactions, upgrade
from triage_agent.worklist import engine as engine_module


def pragma(engine, name):
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_a_commit_to_sqlite_is_durable_and_readers_do_not_wait(engine):
    assert pragma(engine, "journal_mode") == "wal"
    assert pragma(engine, "synchronous") == 2  # FULL
    assert pragma(engine, "foreign_keys") == 1
    assert pragma(engine, "busy_timeout") >= 5_000


def test_the_folder_of_the_file_is_made(tmp_path):
    url = f"sqlite:///{tmp_path}/a/b/triage.db"
    upgrade(url)
    assert (tmp_path / "a" / "b" / "triage.db").is_file()


def test_many_may_open_a_new_file_at_once(tmp_path):
    url = f"sqlite:///{tmp_path}/triage.db"
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(current, [url] * 8)) == [None] * 8


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://root@localhost/x", "sqlite:////proc/no/x.db"]
)
def test_an_address_that_cannot_be_a_worklist_is_a_configuration_error(url):
    with pytest.raises(ConfigurationError, match=r"\[database\]"):
        open_engine(url)


def test_a_postgres_address_is_spoken_to_through_psycopg_and_not_for_ever():
    engine = open_engine("postgresql://me@db/triage?connect_timeout=3")
    assert engine.url.drivername == "postgresql+psycopg"
    assert engine.url.query["connect_timeout"] == "3"
    assert "tcp_user_timeout" in engine.url.query


def test_a_missing_postgres_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"\[postgres\].* in the agent's clone"):
        open_engine("postgresql://me@db/triage")


def test_a_server_that_is_not_there_is_a_worklist_that_is_away():
    worklist = SqlWorklist(open_engine("postgresql+psycopg://me@127.0.0.1:1/triage"))
    with pytest.raises(WorklistUnavailableError, match="did not answer"):
        worklist.digest_of("1.2")
    with pytest.raises(WorklistUnavailableError):
        worklist.ping()


def test_a_locked_file_is_a_worklist_that_is_away_and_no_patient_is_named(database, monkeypatch):
    for module in (engine_module, transactions):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    engine = open_engine(f"sqlite:///{database}")
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    worklist = SqlWorklist(engine)
    with pytest.raises(WorklistUnavailableError, match="database is locked") as caught:
        worklist.register(received(patient_name="SECRET"), RULE)
    assert "SECRET" not in str(caught.value)
    assert worklist.digest_of("1.2.1.1") is None
    other.execute("ROLLBACK")
    worklist.register(received(), RULE)
    other.close()
    engine.dispose()


def fill(worklist):
    for number in range(1_000):
        worklist.register(received(image=f"1.2.1.{number}"), RULE)


def test_a_writer_whose_turn_does_not_come_gives_up(worklist, monkeypatch):
    monkeypatch.setattr(transactions, "WAIT_SECONDS", 0.05)
    database = worklist._database
    started, done = threading.Event(), threading.Event()

    def hold(session):
        started.set()
        done.wait(60)

    holder = threading.Thread(target=database.write, args=(hold,))
    holder.start()
    started.wait(60)
    with pytest.raises(WorklistUnavailableError, match="busy"):
        worklist.register(received(), RULE)
    done.set()
    holder.join()
    worklist.register(received(), RULE)


def test_a_full_disk_is_a_worklist_that_is_away(database, engine):
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
    worklist = SqlWorklist(engine)
    with pytest.raises(WorklistUnavailableError, match="full"):
        fill(worklist)


def test_a_file_that_is_no_database_is_a_worklist_that_is_away(tmp_path):
    (tmp_path / "triage.db").write_bytes(b"not a database" * 100)
    engine = open_engine(f"sqlite:///{tmp_path}/triage.db")
    with pytest.raises(WorklistUnavailableError, match="not a database"):
        SqlWorklist(engine).digest_of("1.2")
    engine.dispose()


def test_a_transaction_that_fails_leaves_the_connection_usable(worklist):
    with pytest.raises(StatementError, match="without a zone") as caught:
        worklist.register(received(at=T0.replace(tzinfo=None), patient_name="SECRET"), RULE)
    assert "SECRET" not in str(caught.value)
    worklist.register(received(), RULE)
    assert worklist.digest_of("1.2.1.1") is not None
