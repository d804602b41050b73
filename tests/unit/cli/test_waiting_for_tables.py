"""`db wait`: a process of a new version begins when its tables are there, and not before."""

import threading

import pytest

from triage_agent.cli import database
from triage_agent.worklist import upgrade


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A configuration without tables; returns its path and the database's address."""
    monkeypatch.setattr(database, "_LOOK_SECONDS", 0.01)
    config = tmp_path / "agent.toml"
    config.write_text(f'data_dir = "{tmp_path}/var"\n')
    return config, f"sqlite:///{tmp_path}/var/triage.db"


def test_it_ends_once_the_tables_are_made(run, site):
    config, url = site
    made = threading.Timer(0.1, upgrade, [url])
    made.start()
    assert run("db", "wait", "--config", config, "--seconds", 60).code == 0
    made.join()


def test_it_gives_up_and_says_who_makes_them(run, site):
    config, _ = site
    done = run("db", "wait", "--config", config, "--seconds", 0)
    assert done.code == 1
    assert "db upgrade" in done.err


def test_a_database_that_is_away_has_no_tables_yet(run, site, monkeypatch, free_port):
    config, _ = site
    monkeypatch.setenv("TRIAGE_AGENT__DATABASE__URL", f"postgresql+psycopg://nobody@127.0.0.1:{free_port}/triage")
    assert run("db", "wait", "--config", config, "--seconds", 0).code == 1
