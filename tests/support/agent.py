"""The installed agent as a process of its own, configured and asked as a site would."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from support import warm
from support.ports import free_port

from triage_agent.cli.options import jsonable
from triage_agent.settings import load_settings
from triage_agent.worklist import SqlWorklist, open_engine

COMMAND = Path(sys.executable).with_name("triage-agent")
SETTLED = frozenset({"delivered", "out_of_scope", "needs_human"})
PATIENCE_SECONDS = 120.0  # how long a test waits for what should take seconds: machines are shared
_STOP_SECONDS = 30.0  # INTERFACE.md: SIGTERM drains and ends within 30 s
_TAIL = 6000  # characters of a log that a failed test shows


def eventually(look, seconds=PATIENCE_SECONDS, every=0.1):
    """The first true thing that `look` returns."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds:g} s"
        time.sleep(every)
    return seen


def cold(*arguments, timeout=300, **environment):
    """As `triage_agent`, by an interpreter started anew: for what is decided before the command itself begins."""
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment}
    )


def triage_agent(*arguments, config=None, timeout=300, **environment):
    """Run the installed command to its end (see `support.warm`)."""
    command = [str(COMMAND), *map(str, arguments), *(["--config", str(config)] if config else [])]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = warm.start(command, stdout=out, stderr=err, environment={**os.environ, **environment})
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


class Agent:
    """One `triage-agent serve`, with its folder, its log, and its worklist."""

    def __init__(self, folder, *, bundle, role="all", shares_data_with=None, **site):
        """`site`: pacs_port, ris_port, quiet, sends, may, commit, retrieve, log_format, web (its keys), tables,
        and own_process.

        `tables` is TOML that is put at the end. The model is in the agent's own process unless it is said otherwise:
        torch takes seconds to import, which a warm start has done.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.role = role
        self.port, self.web_port = free_port(), free_port()
        self.data_dir = shares_data_with.data_dir if shares_data_with else self.folder / "var"
        self.log = self.folder / "agent.log"
        self.config = self.folder / "agent.toml"
        self.config.write_text(_toml(self, bundle, **site))
        self._process = None
        self._engine = None

    # --- the process -------------------------------------------------------------------------------------------------
    def start(self, *, wait=True, cold=False):
        """Start it, from a warm start unless a cold one is asked for; with `wait`, return when it is ready."""
        command = [str(COMMAND), "serve", "--role", self.role, "--config", str(self.config)]
        with self.log.open("ab") as log:
            begin = subprocess.Popen if cold else warm.start
            self._process = begin(command, stdout=log, stderr=log)
        if wait:
            eventually(self.ready)
        return self

    def ready(self):
        """Whether /readyz answers 200; an agent that has ended fails the test."""
        assert self.running, f"serve ended with {self._process.returncode}: {self.log_text[-_TAIL:]}"
        return self.get("readyz")[0] == 200

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

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

    def kill(self):
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def terminate(self):
        """SIGTERM, without waiting."""
        self._process.terminate()

    def hang_up(self):
        """SIGHUP: read the certificates again."""
        self._process.send_signal(signal.SIGHUP)

    def wait(self, seconds=_STOP_SECONDS):
        """Its exit code."""
        return self._process.wait(seconds)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.terminate()
        return self.wait()

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        """Leave nothing behind, whatever the test did."""
        if self.running:
            self.kill()
        self.close_worklist()

    def close_worklist(self):
        """Let go of the database, before it is taken away."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @property
    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def log_tail(self):
        return self.log_text[-_TAIL:]

    # --- what it shows -----------------------------------------------------------------------------------------------
    def cli(self, *arguments, **options):
        """Another command with the same configuration."""
        return triage_agent(*arguments, config=self.config, **options)

    def worklist(self):
        """What `worklist --json` prints, without starting an interpreter each time."""
        return jsonable(self._open().items(limit=100_000))

    def counts(self):
        """Numbers of studies and deliveries, as /metrics has them."""
        return self._open().counts()

    def study(self, uid):
        """What `study UID --json` prints; None where there is none."""
        return jsonable(self._open().study(str(uid)))

    def item(self, uid):
        """The study's line of the worklist; None where there is none."""
        detail = self.study(uid)
        return detail["item"] if detail else None

    def settled(self, *uids, seconds=PATIENCE_SECONDS):
        """The studies' lines once each has come to its end."""

        def look():
            items = [self.item(uid) for uid in uids]
            return items if all(item and item["status"] in SETTLED for item in items) else None

        return eventually(look, seconds)

    def actions(self, uid):
        """What the audit trail says of a study, in order."""
        return [event["action"] for event in self.study(uid)["audit"]]

    def _open(self):
        if self._engine is None:
            self._engine = open_engine(load_settings(self.config).database_url)
        return SqlWorklist(self._engine)


def _toml(
    agent,
    bundle,
    *,
    pacs_port=None,
    ris_port=None,
    quiet=0.5,
    sends=("sr",),
    may=("store", "query"),
    commit=False,
    retrieve="",
    log_format="console",
    tables="",
    web="",
    own_process=False,
):
    peers = ""
    if pacs_port is not None:
        peers += f"""
[[dicom.peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs_port}
may = {json.dumps(list(may))}
"""
        if retrieve:
            peers += f'retrieve = "{retrieve}"\n'
        if sends:
            peers += f'[[routes]]\nto = "pacs"\nsend = {json.dumps(list(sends))}\ncommit = {str(commit).lower()}\n'
    if ris_port is not None:
        peers += f"""
[[hl7.peers]]
name = "ris"
host = "127.0.0.1"
port = {ris_port}
[[routes]]
to = "ris"
send = ["hl7-oru"]
"""
    sections = {
        "study": f"quiet_seconds = {quiet}\nmax_wait_seconds = {max(900, quiet)}\n",
        "delivery": "first_retry_seconds = 0.2\nlongest_retry_seconds = 1\n",
        "worker": "lease_seconds = 3\n",
    }
    # A table of the caller's takes the place of ours.
    ours = "".join(f"[{name}]\n{keys}" for name, keys in sections.items() if f"[{name}]" not in tables)
    return f"""data_dir = "{agent.data_dir}"
[dicom]
ae_title = "TRIAGE"
port = {agent.port}
[web]
port = {agent.web_port}
{web}
[model]
bundle = "{bundle}"
device = "cpu"
threads = 1
own_process = {str(own_process).lower()}
[storage]
low_water_percent = 0.1
[logging]
format = "{log_format}"
level = "debug"
{peers}{ours}{tables}
"""
