"""One writer at a time: among threads, and among processes that share a file of turns."""

import threading
import time

import pytest

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist.one_writer import OneWriter, share_writing


@pytest.fixture
def database(tmp_path):
    return tmp_path / "triage.db"


@pytest.fixture
def shared(database):
    share_writing(f"sqlite:///{database}")
    return database


def write_for_a_while(writer, seconds, began):
    with writer.turn(30):
        began.set()
        time.sleep(seconds)


def test_without_a_file_of_turns_none_is_made(database):
    with OneWriter(database).turn(1):
        assert list(database.parent.iterdir()) == []


def test_processes_that_share_a_file_write_one_after_the_other(shared):
    began = threading.Event()
    other = threading.Thread(target=write_for_a_while, args=(OneWriter(shared), 0.2, began))
    other.start()
    assert began.wait(30)
    started = time.monotonic()
    with OneWriter(shared).turn(30) as left:
        assert time.monotonic() - started > 0.1
        assert left < 30
    other.join()


def test_whose_turn_does_not_come_in_time_is_told(shared):
    with OneWriter(shared).turn(1), pytest.raises(WorklistUnavailableError, match="busy"), OneWriter(shared).turn(0.05):
        pass
    with OneWriter(shared).turn(1):
        pass  # and the turn is free again


def test_threads_of_one_process_take_turns(database):
    writer = OneWriter(database)
    with writer.turn(1), pytest.raises(WorklistUnavailableError, match="busy"), writer.turn(0.05):
        pass


def test_a_file_that_is_shared_later_is_found(database):
    first, second = OneWriter(database), OneWriter(database)
    with first.turn(1), second.turn(1):
        pass
    share_writing(f"sqlite:///{database}")
    with first.turn(1), pytest.raises(WorklistUnavailableError), second.turn(0.05):
        pass


def test_another_database_needs_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    share_writing("postgresql+psycopg://user@host/triage")
    assert list(tmp_path.iterdir()) == []
