"""The program as it was before its last migration, from the clone's own history: what a site goes back to."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEWEST = max((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
TABLES = f"{int(NEWEST.name[:4]) - 1:04d}"
"""The migration that its tables are at."""


def unpacked(folder):
    """That program in a folder; None where the clone has no history of it."""
    made = ["git", "log", "--format=%H", "--diff-filter=A", "-1", "--", str(NEWEST.relative_to(ROOT))]
    commit = _git(*made).stdout.decode().strip()
    archive = _git("git", "archive", f"{commit}^", "triage_agent", "migrations", "config") if commit else None
    if archive is None or archive.returncode:
        return None
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)
    return folder


def _git(*words):
    return subprocess.run(words, capture_output=True, check=False, cwd=ROOT)


class Older:
    """Runs that program in place of an agent's own, with the same configuration."""

    def __init__(self, program, agent):
        self._agent = agent
        self._program = program

    def start(self):
        """In the agent's place: what asks the agent asks this one."""
        words = ["serve", "--role", self._agent.role, "--config", str(self._agent.config)]
        with self._agent.log.open("ab") as log:
            self._agent._process = subprocess.Popen(
                self._command(words), stdout=log, stderr=log, **self._surroundings()
            )

    def run(self, *words, config, timeout=120, **environment):
        """As `support.agent.triage_agent`."""
        given = self._surroundings()
        given["env"] |= environment
        command = self._command([*map(str, words), "--config", str(config)])
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **given)

    def _command(self, words):
        return [sys.executable, "-m", "triage_agent.cli", *words]

    def _surroundings(self):
        return {"cwd": self._program, "env": {**os.environ, "PYTHONPATH": str(self._program)}}
