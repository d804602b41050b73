"""The units for systemd, as systemd reads them; nothing is started by them here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import require_program

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
_MOST_EXPOSED = 50  # tenths, as `systemd-analyze security` reckons; what a service without any of it has is 96


def analyze(*arguments):
    return subprocess.run(
        [require_program("/usr/bin/systemd-analyze"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request, tmp_path):
    """A unit, with programs that are here; one for each role is read as the worker's."""
    program = tmp_path / "triage-agent"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    here = tmp_path / request.param.name.replace("@", "@worker")
    here.write_text(request.param.read_text().replace("/opt/triage-agent/.venv/bin/triage-agent", str(program)))
    return here


@pytest.mark.external
def test_systemd_finds_nothing_wrong_with_it(unit):
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.external
def test_systemd_would_find_what_is_wrong(unit):
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=much"))
    assert "ignoring: much" in analyze("verify", unit).stderr


@pytest.mark.external
def test_it_leaves_little_open(unit):
    done = analyze("security", "--offline=true", f"--threshold={_MOST_EXPOSED}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


def test_a_stop_has_longer_than_the_agent_takes_and_relative_folders_are_in_what_it_may_write(unit):
    said = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    assert float(said["TimeoutStopSec"]) > 30
    assert said["WorkingDirectory"] == f"%S/{said['StateDirectory']}"


def test_a_role_has_the_same_protection_as_the_whole():
    whole, role = ({line for line in unit.read_text().splitlines() if line and line[0] not in "#["} for unit in UNITS)
    assert {line.partition("=")[0] for line in whole ^ role} == {"Description", "EnvironmentFile", "ExecStart"}
