"""The database's file is removed, replaced, locked or made read-only under a worklist that is open."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.story import RULE, received

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist import SqlWorklist, open_engine, repository, upgrade
from triage_agent.worklist import engine as engine_module

PARTS = ["", "-wal", "-shm"]


@pytest.fixture
def worklist(database):
    """As the agent opens it: it makes no file."""
    engine = open_engine(f"sqlite:///{database}", create=False)
    worklist = SqlWorklist(engine)
    worklist.register(received(), RULE)
    yield worklist
    engine.dispose()


def refuses(worklist):
    """Whether it takes no image, and says that it is not ready."""
    for ask in (worklist.ping, lambda: worklist.register(received(image="1.2.1.2"), RULE)):
        with pytest.raises(WorklistUnavailableError):
            ask()
    return True


@pytest.mark.parametrize("part", PARTS)
def test_what_would_go_into_a_removed_file_is_refused(worklist, database, part):
    Path(f"{database}{part}").unlink()
    with pytest.raises(WorklistUnavailableError, match="removed or replaced"):
        worklist.register(received(image="1.2.1.2"), RULE)
    assert refuses(worklist)
    assert database.exists() == (part != ""), "nothing is made in its place"


@pytest.mark.parametrize("part", PARTS)
def test_a_commit_into_a_file_that_is_removed_meanwhile_is_not_acknowledged(worklist, database, part, monkeypatch):
    def remove_first(*events):
        Path(f"{database}{part}").unlink()

    monkeypatch.setattr("triage_agent.worklist.registration.append_audit", remove_first)
    with pytest.raises(WorklistUnavailableError, match="removed or replaced"):
        worklist.register(received(image="1.2.1.2"), RULE)


def test_another_database_in_the_place_of_ours_is_not_taken_for_ours(worklist, database, tmp_path):
    upgrade(f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "other.db").replace(database)
    assert refuses(worklist)


def test_more_connections_do_not_open_what_took_its_place(worklist, database, tmp_path, engine):
    """Also those that the pool makes later are of the first one's file."""
    engine.dispose()
    database.rename(tmp_path / "aside.db")
    upgrade(f"sqlite:///{database}")
    worklist._database.engine.pool.recreate()
    worklist._database.engine.dispose()
    assert refuses(worklist)


def test_a_file_that_is_put_back_is_used_again(worklist, database, tmp_path):
    names = [f"{database}{part}" for part in PARTS]
    for name in names:
        Path(name).rename(f"{name}.aside")
    assert refuses(worklist)
    for name in names:
        Path(f"{name}.aside").rename(name)
    worklist.register(received(image="1.2.1.2"), RULE)
    worklist.ping()
    assert worklist.items()[0].instances == 2


def test_a_copy_in_its_place_is_not_our_file(worklist, database, tmp_path):
    shutil.copy(database, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(database)
    assert refuses(worklist)


def test_a_file_that_another_process_keeps_locked_is_not_ready_and_refuses_within_the_bound(
    worklist, database, monkeypatch
):
    monkeypatch.setattr(repository, "_PING_SECONDS", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorklistUnavailableError, match="locked"):
            worklist.ping()
        started = time.monotonic()
        with pytest.raises(WorklistUnavailableError, match="locked"):
            worklist._database.write(lambda session: None, patience=0.1)
        assert time.monotonic() - started < engine_module.WAIT_SECONDS
        other.execute("ROLLBACK")
    worklist.ping()


def test_a_database_that_cannot_be_written_is_not_ready(worklist, database, tmp_path):
    """Every write is refused (here by SQLite itself), while reading still works."""
    engine = open_engine(f"sqlite:///{database}", create=False)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(WorklistUnavailableError, match="readonly"):
        SqlWorklist(engine).ping()
    engine.dispose()


def test_no_file_is_made_where_none_is_to_be_made(tmp_path):
    upgrade(f"sqlite:///{tmp_path}/triage.db")
    engine = open_engine(f"sqlite:///{tmp_path}/triage.db", create=False)
    (tmp_path / "triage.db").unlink()
    with pytest.raises(WorklistUnavailableError, match="unable to open"):
        SqlWorklist(engine).ping()
    assert not (tmp_path / "triage.db").exists()
    engine.dispose()
