"""What `--help` shows is what the sources say: rich's markup takes words in square brackets away."""

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from triage_agent.cli.app import application

APP = application()


def commands(group, *before):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield pytest.param((*before, name), command, id=" ".join((*before, name)))


@pytest.mark.parametrize(("path", "command"), list(commands(get_command(APP))))
def test_the_help_loses_no_word(path, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", CliRunner().invoke(APP, [*path, "--help"]).output).split())
    assert "( " not in shown
    for text in [command.help, *(parameter.help for parameter in command.params if hasattr(parameter, "help"))]:
        assert " ".join((text or "").split()) in shown
