"""Follows docs/operations.md on a site in a folder: each line that the page has an admin type is done, or refused."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from support.agent import triage_agent

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
DATA_DIR, BACKUP = "/var/lib/triage-agent", "/backup/triage"
_AS = re.compile(r"^runuser -u [\w-]+ -- (?:env HOME=\S+ )?")
_SET = re.compile(r"^(TRIAGE_AGENT__\w+)=(\S+) ")
_BY_PROGRAM = ("install", "mv", "cp", "createdb", "dropdb", "psql", "pg_dump", "pg_restore")
_PEOPLE = ("--owner=triage-agent", "--group=triage-agent")  # who tests is somebody else


def blocks(heading):
    """The blocks of commands under a heading, each a list of lines as they stand there."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [[line.strip() for line in one.splitlines()] for one in found]


def block_with(heading, command):
    """The one block under a heading in which a line begins so."""
    (found,) = [one for one in blocks(heading) if any(line.startswith(command) for line in one)]
    return found


class Site:
    """Where the page's places are here, and what its commands do.

    Args:
        config: the agent's configuration.
        data_dir, backup: in place of /var/lib/triage-agent and /backup/triage.
        means: for lines that begin so, what to call instead: what a test cannot do, or does by itself.
        postgres: the folder of a server's socket, and the name of its superuser.
        run: runs `triage-agent`, as `support.agent.triage_agent`.
    """

    def __init__(self, config, data_dir, backup, means=(), postgres=None, run=triage_agent):
        self.config = config
        self.places = {DATA_DIR: str(data_dir), BACKUP: str(backup)}
        self.means = {"read -rs PGPASSWORD": _nothing, "unset PGPASSWORD": _nothing, **dict(means)}
        self.surroundings = {"PATH": os.environ["PATH"]}
        self.run = run
        self.said = []
        if postgres:
            folder, superuser = postgres
            self.surroundings |= {"PGHOST": str(folder), "PGUSER": superuser}
            self.places["@localhost/triage"] = f"@/triage?host={folder}"

    def follow(self, lines):
        """Do what the lines say, one after the other; a line that nobody knows how to follow fails the test."""
        for line in lines:
            self._follow(line.split("  #")[0].strip())

    def _follow(self, line):
        for begins, call in self.means.items():
            if line.startswith(begins):
                call()
                return
        line = _AS.sub("", line)
        for place, here in self.places.items():
            line = line.replace(place, here)
        if variable := _SET.match(line):
            line = line[variable.end() :]
        given = dict([variable.groups()]) if variable else {}
        words = [word for word in shlex.split(line) if word not in _PEOPLE]
        if words[0] == "triage-agent":
            done = self.run(*words[1:], config=self.config, **given)
        else:
            assert words[0] in _BY_PROGRAM, f"nobody knows how to follow: {line}"
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=self.surroundings
            )
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


def _nothing():
    """For lines that ask for a password: this server asks for none."""
