"""The units for systemd and their drop-ins, as systemd reads them; nothing is started by them here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.confined import is_on, read_settings
from support.programs import require_program

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
DROP_INS = sorted(FOLDER.glob("*.conf"))
_MOST_EXPOSED = 20  # tenths, as `systemd-analyze security` reckons; what a service without any of it has is 96


def analyze(*arguments):
    return subprocess.run(
        [require_program("/usr/bin/systemd-analyze"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def installed(tmp_path):
    """Lays a unit out as a site does, with programs that are here; one for each role is read as the worker's."""
    program = tmp_path / "triage-agent"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)

    def install(unit, *drop_ins):
        here = tmp_path / unit.name.replace("@", "@worker")
        here.write_text(unit.read_text().replace("/opt/triage-agent/.venv/bin/triage-agent", str(program)))
        for drop_in in drop_ins:
            folder = tmp_path / f"{here.name}.d"
            folder.mkdir(exist_ok=True)
            (folder / drop_in.name).write_text(drop_in.read_text())
        return here

    return install


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request, installed):
    return installed(request.param)


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


@pytest.mark.external
@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda drop_in: drop_in.stem)
def test_a_drop_in_is_read_and_opens_no_more_than_it_is_for(installed, drop_in):
    unit = installed(UNITS[0], drop_in)
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = analyze("security", "--offline=true", f"--threshold={_MOST_EXPOSED}", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.external
def test_a_drop_in_that_is_wrong_would_be_found(installed, tmp_path):
    wrong = tmp_path / "wrong.conf"
    wrong.write_text("[Service]\nPrivateUsers=perhaps\n")
    assert "perhaps" in analyze("verify", installed(UNITS[0], wrong)).stderr


def test_a_port_below_1024_is_had_in_the_hosts_name_space_only():
    settings = read_settings(UNITS[0], FOLDER / "port-104.conf")
    assert not is_on(settings, "PrivateUsers")
    assert settings["AmbientCapabilities"] == settings["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]


def test_a_stop_has_longer_than_the_agent_takes_and_relative_folders_are_in_what_it_may_write():
    for unit in UNITS:
        said = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
        assert float(said["TimeoutStopSec"]) > 30
        assert said["WorkingDirectory"] == f"%S/{said['StateDirectory']}"


def test_a_role_has_the_same_protection_as_the_whole():
    whole, role = ({line for line in unit.read_text().splitlines() if line and line[0] not in "#["} for unit in UNITS)
    assert {line.partition("=")[0] for line in whole ^ role} == {"Description", "EnvironmentFile", "ExecStart"}


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda drop_in: drop_in.stem)
def test_each_drop_in_says_how_it_is_installed_and_the_units_name_it(drop_in):
    assert f"deploy/systemd/{drop_in.name} /etc/systemd/system/" in drop_in.read_text()
    for unit in UNITS:
        assert drop_in.name in unit.read_text()
