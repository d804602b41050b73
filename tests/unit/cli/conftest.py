"""Commands run in this process, over the in-memory worklist."""

import sys
from contextlib import nullcontext

import pytest
from support.story import Story

from triage_agent.cli import app, options, shadow, worklist
from triage_agent.imaging.loader import DirectLoader
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch):
    monkeypatch.setattr("triage_agent.ops.logging.configure_logging", lambda *_args, **_options: None)


@pytest.fixture(autouse=True)
def _files_are_read_in_this_process(monkeypatch):
    """A process takes a second to start; tests/integration/test_decoders.py and the acceptance tests have it."""
    monkeypatch.setattr("triage_agent.bootstrap.build_loader", lambda _settings: nullcontext(DirectLoader()))


class Done:
    """What a command that ran here left: exit code, stdout, stderr."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command line."""
    monkeypatch.setattr(options.stdout, "_width", 200)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["triage-agent", *map(str, arguments)])
        try:
            app.main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


@pytest.fixture
def story(monkeypatch):
    """A worklist that the commands find, whatever the configuration says."""
    told = Story(MemoryWorklist())
    for module in (worklist, shadow):
        monkeypatch.setattr(module, "load_settings", lambda _config: Settings())
        for name in ("open_worklist", "read_worklist"):
            monkeypatch.setattr(module, name, lambda _settings: told.worklist, raising=False)
    return told
