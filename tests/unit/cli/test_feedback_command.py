"""`feedback export` as it is typed."""

import json
from datetime import UTC, datetime

import pytest
from support.story import STUDY, Story
from typer.testing import CliRunner

from triage_agent.bootstrap import open_worklist
from triage_agent.builders import migrate_own
from triage_agent.cli.app import application
from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.feedback import Verdict
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.settings import load_settings
from triage_agent.worklist import SqlAuditTrail, SqlFeedback, database_of


@pytest.fixture
def site(tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text(f'data_dir = "{tmp_path / "var"}"\n')
    settings = load_settings(config)
    settings.data_dir.mkdir()
    migrate_own(settings)
    worklist = open_worklist(settings)
    Story(worklist).decided()
    at = datetime(2026, 3, 2, tzinfo=UTC)
    SqlFeedback(database_of(worklist)).give(STUDY, "ada", Verdict.OVERCALLED, "Jane Doe", at)
    return config, worklist


def export(config, *words):
    return CliRunner().invoke(
        application("feedback"), ["feedback", "export", *map(str, words), "--config", str(config), "--json"]
    )


def test_the_set_is_written_and_the_export_audited(site, tmp_path):
    config, worklist = site
    answer = export(config, tmp_path / "out", "--images", "--since", "2026-03-01")
    told = json.loads(answer.stdout)
    assert (told["rows"], told["images"], len(told["refused"])) == (1, 0, 1)  # its file is not in the spool
    (row,) = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert (row["verdict"], row["label"]) == ("overcalled", "normal")
    (record,) = SqlAuditTrail(database_of(worklist)).records(AuditQuestion(action=AuditAction.FEEDBACK_EXPORTED))
    assert record.event.actor.startswith("command:")
    assert record.event.detail["rows"] == 1
    assert ((tmp_path / "out").stat().st_mode & 0o007) == 0


def test_a_time_in_which_nothing_was_said_is_an_empty_set(site, tmp_path):
    assert json.loads(export(site[0], tmp_path / "out", "--until", "2026-03-01").stdout)["rows"] == 0


def test_with_a_secret_kept_names_are_the_same_in_later_exports(site, tmp_path):
    files = []
    for name in ("one", "two"):
        assert export(site[0], tmp_path / name, "--secret-file", tmp_path / "secret").exit_code == 0
        files.append((tmp_path / name / "labels.csv").read_bytes())
    export(site[0], tmp_path / "three")
    assert files[0] == files[1] != (tmp_path / "three" / "labels.csv").read_bytes()
    assert ((tmp_path / "secret").stat().st_mode & 0o077) == 0


def test_a_secret_that_is_none_is_refused(site, tmp_path):
    (tmp_path / "secret").write_text("short")
    answer = export(site[0], tmp_path / "out", "--secret-file", tmp_path / "secret")
    assert isinstance(answer.exception, ConfigurationError)
    assert not (tmp_path / "out").exists()
