"""`db backup` and `db restore` of a site with Postgres, whose own programs copy the database."""

import os
import time

import pytest


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(f'data_dir = "{tmp_path}/var"\n[database]\nurl = "postgresql+psycopg://triage@/triage"\n')
    (tmp_path / "var" / "spool").mkdir(parents=True)
    return file


def test_the_dump_comes_first(run, config, tmp_path):
    done = run("db", "backup", tmp_path / "backup", "--config", config)
    assert done.code == 1
    assert "first `pg_dump" in done.err


@pytest.mark.parametrize(("hours", "is_told"), [(0, False), (5, True)])
def test_an_old_dump_is_told_of(run, config, tmp_path, hours, is_told):
    dump = tmp_path / "backup" / "triage.dump"
    dump.parent.mkdir()
    dump.touch()
    os.utime(dump, (time.time() - 3600 * hours,) * 2)
    done = run("db", "backup", tmp_path / "backup", "--config", config)
    assert done.code == 0
    assert ("the database in it is of" in done.err) == is_told


def test_a_backup_without_a_dump_is_not_restored_into_postgres(run, config, tmp_path):
    (tmp_path / "backup" / "spool").mkdir(parents=True)
    done = run("db", "restore", tmp_path / "backup", "--config", config)
    assert done.code == 1
    assert "there is no" in done.err
    assert "triage.dump" in done.err
