"""`db backup` and `db restore` of a site with Postgres, whose own programs copy the database."""

import os
import time

import pytest

_A_DUMP = b"PGDMP" + bytes(20)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        f'data_dir = "{tmp_path}/var"\n[database]\nurl = "postgresql+psycopg://triage_agent:secret@/triage"\n'
    )
    (tmp_path / "var" / "spool").mkdir(parents=True)
    return file


@pytest.fixture
def backup(tmp_path, monkeypatch):
    """A folder with a dump that begins as one does; the program that would read on is not there."""
    folder = tmp_path / "backup"
    (folder / "spool").mkdir(parents=True)
    (folder / "triage.dump").write_bytes(_A_DUMP)
    monkeypatch.setenv("PATH", str(tmp_path))
    return folder


def test_the_dump_comes_first(run, config, tmp_path):
    done = run("db", "backup", tmp_path / "backup", "--config", config)
    assert done.code == 1
    assert "first `pg_dump" in done.err
    assert "secret" not in done.err
    assert "***" not in done.err


@pytest.mark.parametrize(("hours", "is_told"), [(0, False), (5, True)])
def test_an_old_dump_is_told_of(run, config, backup, hours, is_told):
    os.utime(backup / "triage.dump", (time.time() - 3600 * hours,) * 2)
    done = run("db", "backup", backup, "--config", config)
    assert done.code == 0
    assert ("the database in it is of" in done.err) == is_told
    assert "was not read through: there is no pg_restore here" in done.err


@pytest.mark.parametrize("left", [b"", b"PGD", b"CREATE TABLE"])
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_a_pg_dump_that_failed_leaves_is_no_backup(run, config, backup, tmp_path, command, left):
    (backup / "triage.dump").write_bytes(left)
    done = run("db", command, backup, "--config", config)
    assert done.code == 1
    assert "triage.dump is not what pg_dump makes, or empty" in done.err
    assert not (tmp_path / "var" / "spool" / ".id").exists()


def test_what_pg_restore_cannot_read_to_its_end_is_no_backup(run, config, backup, tmp_path):
    program = tmp_path / "pg_restore"
    program.write_text("#!/bin/sh\necho 'pg_restore: error: could not read from input file: end of file' >&2\nexit 1\n")
    program.chmod(0o755)
    done = run("db", "backup", backup, "--config", config)
    assert done.code == 1
    assert "triage.dump cannot be read: pg_restore: error: could not read" in done.err


def test_a_backup_without_a_dump_is_not_restored_into_postgres(run, config, tmp_path):
    (tmp_path / "backup" / "spool").mkdir(parents=True)
    done = run("db", "restore", tmp_path / "backup", "--config", config)
    assert done.code == 1
    assert "there is no" in done.err
    assert "triage.dump" in done.err


def test_a_restore_says_who_does_what_in_which_order(run, config, backup):
    done = run("db", "restore", backup, "--config", config)
    assert done.code == 0
    told = [line.strip().split()[0] for line in done.err.splitlines() if line.startswith("  ")]
    assert told == ["createdb", "psql", "pg_restore", "psql"]
    assert "--dbname='postgresql://triage_owner@/triage'" in done.err
    assert "secret" not in done.err
    assert "***" not in done.err


def test_a_restore_of_a_site_with_one_role_is_that_roles(run, config, backup):
    config.write_text(config.read_text().replace("triage_agent:secret", "triage"))
    done = run("db", "restore", backup, "--config", config)
    assert "--dbname='postgresql://triage@/triage'" in done.err
    assert "grants.sql" not in done.err


def test_an_upgrade_says_what_it_upgraded(run, tmp_path, monkeypatch):
    config = tmp_path / "agent.toml"
    config.write_text('data_dir = "here"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIAGE_AGENT_CONFIG", str(config))
    done = run("db", "upgrade")
    assert done.code == 0
    assert f"database is current: {tmp_path}/here/triage.db, migration 0" in done.out
    assert f"(configuration {config})" in done.out
