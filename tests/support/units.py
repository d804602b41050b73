"""The agent within its units for systemd, as a process of its own (see `confined`)."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import confined
from support.agent import eventually
from support.ports import free_port
from support.programs import require_program

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from triage_agent.cli import main; main()"
_STOP_SECONDS = 30.0


def _require_mounts():
    """Skip where the mounts that systemd makes cannot be made: by others than root, and in most containers."""
    trying = [require_program("/usr/bin/unshare"), "--mount", "mount", "-t", "proc", "proc", "/proc"]
    if subprocess.run(trying, capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("nobody may make here the mounts that systemd makes")


class Confined:
    """A state folder that only the service's user may write to, and what runs with it within a unit and drop-ins."""

    def __init__(self, folder, *units, python=sys.executable, code=ROOT):
        """`units`: files of deploy/systemd, or paths; `code`: where the agent is found, None where it is installed."""
        require_program("/usr/bin/systemd-analyze")
        _require_mounts()
        self._units = ",".join(str(SYSTEMD / name) for name in units)
        self._python, self._code = python, code
        self.state = folder / "state"
        self.state.mkdir()
        os.chown(self.state, confined.USER, confined.USER)
        self.log = folder / "agent.log"
        self.port, self.web_port = free_port(), free_port()
        self._process = None

    def command(self, *command):
        """What runs `command` in there; "python" is this one."""
        interpreter = Path(self._python).parents[1]  # the environment it belongs to
        kept = ",".join({sys.base_prefix, str(interpreter), str(self._code or interpreter)})
        python = self._python if command[0] == "python" else command[0]
        start = [sys.executable, confined.__file__, self._units, str(self.state), kept]
        return [*start, "--", python, *command[1:]]

    def surroundings(self):
        """The environment that systemd gives to a service of a user."""
        where = {"PYTHONPATH": str(self._code)} if self._code else {}
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(confined.STATE)} | where

    def run(self, program):
        """Run a program of Python's to its end; its output."""
        done = subprocess.run(
            self.command("python", "-c", program),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.surroundings(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve(self, role, pacs_port, program=("-m", "triage_agent.cli")):
        """Start the agent (`program`: what runs its commands), and return when it is ready."""
        config = self.state / "agent.toml"
        config.write_text(_TOML.format(port=self.port, web=self.web_port, pacs=pacs_port))
        arguments = ("serve", "--role", role, "--config", str(confined.STATE / "agent.toml"))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command("python", *program, *arguments),
                stdout=log,
                stderr=log,
                env=self.surroundings(),
            )
        eventually(self._ready)

    def get(self, path):
        """Status and body of a page; (0, "") where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def _ready(self):
        assert self._process.poll() is None, self.log.read_text()
        return self.get("readyz")[0] == 200

    def stop(self):
        """SIGTERM; its exit code."""
        self._process.terminate()
        return self._process.wait(_STOP_SECONDS)

    def close(self):
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


_TOML = """
[dicom]
port = {port}
[web]
port = {web}
[[dicom.peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs}
may = ["store"]
[[routes]]
to = "pacs"
send = ["sr"]
[study]
quiet_seconds = 0.5
[storage]
low_water_percent = 0.1
"""
