"""How commands end: 0 done, 1 failed, 2 wrong usage or configuration; the agent's errors are one line."""

import os

import pytest
from typer.main import get_command

from triage_agent.cli import worklist
from triage_agent.cli.app import application
from triage_agent.domain.errors import ConfigurationError, TriageError, WorklistUnavailableError

COMMANDS = [
    *(
        ["serve"],
        ["check"],
        ["conformance"],
        ["worklist"],
        ["study", "1.2"],
        ["retry", "--failed"],
        ["shadow"],
        ["orders"],
        ["db", "current"],
        ["db", "upgrade"],
        ["db", "wait", "--seconds", "0"],
        ["db", "rebuild"],
        ["db", "backup", "out"],
        ["db", "restore", "out"],
    ),
    *(["demo"], ["triage", "."], ["reading-queue"], ["phantom", "out"], ["train", "."], ["evaluate", "."]),
    ["explain", ".", "--out", "out"],
    ["reading-queue"],
    ["fetch", "1.2.3", "--from", "pacs"],
    ["withdraw", "1.2.3", "--reason", "quality"],
    *(["policy", "check"], ["policy", "test"]),
    *(["audit", "verify"], ["audit", "export"], ["audit", "tail"]),
    ["feedback", "export", "out"],
    *(["user", "add", "ada", "--role", "admin"], ["user", "roles", "ada", "--role", "admin"], ["user", "list"]),
    *(["user", "link", "ada"], ["user", "disable", "ada"], ["user", "enable", "ada"]),
    ["user", "reset-second-factor", "ada"],
    *(["notify", "test", "mail"], ["notify", "list"]),
    *(["bundle", "show", "embedded"], ["bundle", "verify", "embedded"], ["bundle", "zero-shot", "out"]),
]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TriageError("it failed", remedy="do this"), 1),
        (WorklistUnavailableError("it failed", remedy="do this"), 1),
        (ConfigurationError("it failed", remedy="do this"), 2),
    ],
)
def test_an_error_of_the_agent_is_one_line_with_its_remedy(run, story, monkeypatch, error, code):
    def fail(_settings):
        raise error

    monkeypatch.setattr(worklist, "read_worklist", fail)
    done = run("worklist")
    assert (done.code, done.out, done.err) == (code, "", "triage-agent: it failed; do this\n")


def test_an_error_is_one_line_however_long_and_whatever_is_in_it(run, story, monkeypatch):
    message = "[bold]" + "x" * 500 + "[/nothing]"

    def fail(_settings):
        raise TriageError(message)

    monkeypatch.setattr(worklist, "read_worklist", fail)
    assert run("worklist").err == f"triage-agent: {message}\n"


def test_a_place_where_this_user_may_not_write_is_one_line(run, story, monkeypatch):
    def refuse(_settings):
        raise PermissionError(13, "Permission denied", "/root/studies")

    monkeypatch.setattr(worklist, "read_worklist", refuse)
    done = run("worklist")
    assert done.code == 1
    assert done.err == "triage-agent: /root/studies: this user may not; name another place, or be another user\n"


def test_ctrl_c_ends_as_shells_expect(run, story, monkeypatch):
    def interrupt(_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(worklist, "read_worklist", interrupt)
    assert run("worklist").code == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["serve", "--role", "boss"],
        ["worklist", "--limit", "0"],
        ["worklist", "--status", "lost"],
        ["worklist", "--priority", "whenever"],
        ["study"],
        ["retry"],
        ["retry", "1.2.3", "--failed"],
        ["bundle", "show"],
        ["db", "downgrade"],
        ["worklist", "--no-such-option"],
        ["demo", "--studies", "0"],
        ["triage", "/no/such/file"],
        ["train", "/no/such/folder"],
        ["phantom"],
        ["conformance", "--format", "docx"],
        ["conformance", "--json", "--out", "statement.json"],
    ],
)
def test_wrong_usage_ends_with_two_and_one_line_that_says_where_help_is(run, arguments):
    done = run(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("triage-agent: ")
    assert "--help`)" in done.err


@pytest.mark.parametrize("group", [[], ["audit"], ["bundle"], ["db"], ["notify"], ["policy"], ["user"]])
def test_no_command_at_all_shows_the_help(run, group):
    done = run(*group)
    assert (done.code, done.err) == (2, "")
    assert "Usage:" in done.out


@pytest.mark.parametrize(
    "command",
    [
        ["worklist"],
        ["study", "1.2.3"],
        ["retry", "1.2.3"],
        ["retry", "--failed"],
        ["shadow"],
        ["orders"],
        ["policy", "test"],
        ["notify", "list"],
    ],
)
def test_who_looks_on_a_machine_without_a_worklist_is_told_so_and_makes_none(run, tmp_path, command):
    config = tmp_path / "agent.toml"
    config.write_text(f'data_dir = "{tmp_path}/var"\n')
    done = run(*command, "--config", config)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"triage-agent: there is no worklist at {tmp_path}/var/triage.db yet; "
        "`triage-agent serve` or `triage-agent db upgrade` makes it; if it should be there, name the site's "
        "configuration (--config or TRIAGE_AGENT_CONFIG)\n"
    )
    assert not (tmp_path / "var").exists()


def test_the_migration_of_a_worklist_that_is_not_there_is_none_and_asking_makes_none(run, tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text(f'data_dir = "{tmp_path}/var"\n')
    assert run("db", "current", "--config", config).out == "empty: run `triage-agent db upgrade`\n"
    assert run("db", "current", "--json", "--config", config).out == '{\n  "revision": null\n}\n'
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("text", ["[dicom]\nae_tilte = 1\n", "[nothing]\n", "dicom = [\n", '[[routes]]\nto = "x"\n'])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_configuration_ends_every_command_with_two_and_one_line(run, tmp_path, command, text):
    config = tmp_path / "agent.toml"
    config.write_text(text)
    done = run(*command, "--config", config)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert str(config) in done.err


def test_the_version_is_told(run):
    done = run("--version")
    assert (done.code, done.out.split()[0]) == (0, "triage-agent")


def test_every_command_is_tried_above():
    def names(group, *before):
        for name, command in group.commands.items():
            yield from names(command, *before, name) if hasattr(command, "commands") else [(*before, name)]

    groups = {"audit", "bundle", "db", "feedback", "notify", "policy", "user"}
    tried = {tuple(command[: 2 if command[0] in groups else 1]) for command in COMMANDS}
    assert set(names(get_command(application()))) == tried


def test_what_is_made_the_world_cannot_read(run, tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text(f'data_dir = "{tmp_path}/var"')
    before = os.umask(0o022)
    try:
        assert run("db", "upgrade", "--config", config).code == 0
    finally:
        os.umask(before)
    made = [tmp_path / "var", *(tmp_path / "var").iterdir()]
    assert len(made) > 1
    assert [path.name for path in made if path.stat().st_mode & 0o007] == []
