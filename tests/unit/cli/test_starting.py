"""What a command imports before it runs: somebody waits for that, at each command."""

import subprocess
import sys

import pytest
from typer.main import get_command

from triage_agent.cli.app import application

IMPORTED = "import sys; from triage_agent.cli.app import {names}; {call}; print(*sys.modules)"


def imported(names, call="None"):
    """What a new interpreter has imported then, by its first name."""
    code = IMPORTED.format(names=names, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_application_itself_needs_nothing_heavy():
    assert not imported("main") & {"alembic", "highdicom", "numpy", "pydicom", "pynetdicom", "sqlalchemy", "torch"}


def test_the_list_is_shown_without_what_reads_images_or_makes_reports():
    assert not imported("application", 'application("worklist")') & {"fastapi", "highdicom", "pynetdicom", "torch"}


@pytest.mark.parametrize("name", ["worklist", "user", "bundle"])
def test_a_command_that_is_asked_for_is_the_one_of_all(name):
    one, every = get_command(application(name)), get_command(application())
    assert list(one.commands) == [name]
    assert one.commands[name].help == every.commands[name].help
    assert getattr(one.commands[name], "commands", {}).keys() == getattr(every.commands[name], "commands", {}).keys()


def test_what_is_no_command_is_looked_for_among_all():
    assert get_command(application("no-such")).commands.keys() == get_command(application()).commands.keys()
