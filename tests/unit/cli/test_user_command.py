"""`user` as an admin types it: accounts made, shown, and given a second factor anew; audited with who did it."""

import getpass
import json
from datetime import UTC, datetime

import pytest

from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.ops.gauges import Disk
from triage_agent.settings import load_settings
from triage_agent.signing_in import build_site
from triage_agent.worklist import SqlAuditTrail, SqlSecondFactors, SqlWorklist, open_engine


@pytest.fixture
def config(tmp_path, run):
    file = tmp_path / "agent.toml"
    file.write_text(f'data_dir = "{tmp_path}/var"')
    assert run("db", "upgrade", "--config", file).code == 0
    return file


@pytest.fixture
def database(config):
    engine = open_engine(load_settings(config).database_url)
    yield SqlWorklist(engine).database
    engine.dispose()


def audited(database, action):
    return [record.event for record in SqlAuditTrail(database).records(AuditQuestion(action=action))]


def test_who_lists_accounts_is_audited_by_the_name_of_the_systems_user(run, config, database):
    assert "/first/" in run("user", "add", "ada", "--role", "admin", "--config", config).out
    (listed,) = json.loads(run("user", "list", "--json", "--config", config).out)
    assert (listed["name"], listed["second_factor"], listed["state"]) == ("ada", "no", "has no password yet")
    (event,) = audited(database, AuditAction.ACCOUNTS_LISTED)
    assert (event.actor, event.detail["accounts"]) == (f"command:{getpass.getuser()}", 1)
    assert {one.actor for one in audited(database, AuditAction.ACCOUNT_CHANGED)} == {event.actor}


def test_a_second_factor_is_forgotten_by_command(run, config, database):
    run("user", "add", "ada", "--role", "admin", "--config", config)
    missing = run("user", "reset-second-factor", "ada", "--config", config)
    assert (missing.code, "no account ada with a second factor" in missing.err) == (1, True)
    (made, *_) = audited(database, AuditAction.ACCOUNT_CHANGED)
    assert SqlSecondFactors(database).set_up("ada", "sealed", 1, ["d"], made.at)
    assert json.loads(run("user", "list", "--json", "--config", config).out)[0]["second_factor"] == "yes"
    assert run("user", "reset-second-factor", "ada", "--config", config).code == 0
    (newest, *_) = audited(database, AuditAction.ACCOUNT_CHANGED)
    assert (newest.actor, newest.detail["change"]) == (f"command:{getpass.getuser()}", "second factor reset")


def test_pages_do_not_start_without_the_list_of_passwords_that_they_are_told_of(config, database, tmp_path):
    with config.open("a") as file:
        file.write(f'\n[web]\nrefused_passwords_file = "{tmp_path}/none.txt"\n')
    with pytest.raises(ConfigurationError, match="is no file"):
        build_site(load_settings(config), SqlWorklist(database.engine), lambda: None, "test", lambda: None)


def test_the_pages_of_a_configuration_have_what_it_asks_for(config, database, tmp_path):
    with config.open("a") as file:
        file.write(
            '\n[web]\npublic_url = "https://triage.example"\nmask_names_for = ["auditor"]\n'
            '[web.oidc]\nissuer = "https://sso.example"\nclient_id = "c"\nroles = { admin = ["it"] }\n'
        )
    worklist = SqlWorklist(database.engine)
    disk = Disk(free_bytes=1, free_percent=1.0, quarantine_files=0, quarantine_bytes=0)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    site, close = build_site(load_settings(config), worklist, lambda: at, "test", lambda: disk)
    close()
    paths = {route.path for router in site.routers for route in router.routes}
    assert {"/second", "/oidc/start", "/oidc/back"} <= paths
    key = tmp_path / "var" / "web-secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600
