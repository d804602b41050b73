"""What tests start warm is what they would start cold: arguments, surroundings, output and end."""

import signal
import subprocess

import pytest
from support import warm
from support.agent import COMMAND, cold, triage_agent
from support.ports import free_port


@pytest.fixture
def listener(tmp_path):
    """A `serve` that has said that it listens."""
    config, log = tmp_path / "agent.toml", tmp_path / "agent.log"
    ports = f"[dicom]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    config.write_text(f'data_dir = "{tmp_path}/var"\n{ports}[storage]\nlow_water_percent = 0\n')
    with log.open("wb") as written:
        process = warm.start(
            [COMMAND, "serve", "--role", "listener", "--config", config], stdout=written, stderr=written
        )
    yield process, log
    process.kill()
    process.wait(60)


def heard(listener):
    process, log = listener
    while b"started" not in log.read_bytes():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    return process


@pytest.mark.parametrize("arguments", [["--version"], ["worklist", "--limit", "x"]])
def test_a_command_says_and_ends_as_the_installed_one(arguments):
    one, other = triage_agent(*arguments), cold(*arguments)
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.stdout + one.stderr


def test_it_has_the_environment_and_the_folder_that_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIAGE_AGENT__DATA_DIR", "here")
    assert triage_agent("db", "upgrade").returncode == 0
    assert (tmp_path / "here" / "triage.db").exists()
    elsewhere = triage_agent("db", "upgrade", TRIAGE_AGENT__DATA_DIR="there")
    assert (elsewhere.returncode, (tmp_path / "there" / "triage.db").exists()) == (0, True)


def test_it_ends_by_the_signal_that_it_is_sent(listener):
    process = heard(listener)
    process.terminate()
    assert (process.wait(60), process.poll()) == (0, 0)
    process.kill()  # nothing happens to whoever has its number now


def test_one_that_is_killed_has_the_signal_as_its_end(listener):
    process = heard(listener)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
