"""Starts agents in an instant, by forking itself when everything is imported, and has them die where they are told to.

Run as a program it reads one line of JSON a start: {"config", "role", "log", "failpoint", "marker", "clock", "disk",
"mutations"}, and answers with the process id. The agent is the real one but for its model, which is a hash of the image
(torch takes seconds to import), some of its pauses, and, where it is asked for, its clock, which runs ahead by what a
file says.
"""

import contextlib
import ctypes
import gc
import hashlib
import importlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.study import ImageScore

_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h
_TICK_SECONDS = 0.1  # in place of half a second
_AWAY_SECONDS = 0.2  # in place of two
_HELD_SECONDS = 2.0  # in place of two minutes: how long a dead process keeps others from asking, or answering
_LONGEST_LEASE = timedelta(seconds=2)  # in place of a minute
_WHAT_ROLES_IMPORT = (
    "support.failpoints",
    "support.launcher",
    "triage_agent.cli",
    "triage_agent.delivery.registry",
    "triage_agent.delivery.sender",
    "triage_agent.dimse.client",
    "triage_agent.dimse.server",
    "triage_agent.dimse.retrieving",
    "triage_agent.intake.receiver",
    "triage_agent.intake.reconcile",
    "triage_agent.pipeline",
    "triage_agent.schedule",
    "triage_agent.web.app",
    "triage_agent.web.server",
    "triage_agent.worklist.migrate",
)
PROBABILITIES = (0.03, 0.6, 0.97)  # normal; abnormal; abnormal, and raised at once
SLOW_SECONDS = 0.05  # an image, where a model is wanted that takes its time
SLOW = "the model takes its time"


class QuickScorer:
    """A model that needs no time: an image's probability is a function of its pixels."""

    identity = ModelIdentity(
        name="quick",
        version="1",
        digest=hashlib.sha256(b"quick").hexdigest(),
        anatomies=("XR_KNEE",),
        threshold=0.5,
        alert=0.9,
        clinical_use=False,
    )

    def score(self, images, anatomies=()):
        return [ImageScore(probability=self._probability(image)) for image in images]

    @staticmethod
    def _probability(image):
        return PROBABILITIES[hashlib.sha256(image.tobytes()).digest()[0] % len(PROBABILITIES)]


class Launcher:
    """The program below, running; `start` gives the process id of a new agent. Safe to use from many threads."""

    def __init__(self, environment=()):
        tests = str(Path(__file__).parents[1])
        paths = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._lock = threading.Lock()
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | quiet | dict(environment) | {"PYTHONPATH": paths},
        )

    def start(self, **what):
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self):
        with self._process:
            self._process.kill()


def _serve(what):
    """Be an agent; never returns."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(what["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from support.failpoints import Failpoint  # noqa: PLC0415 - it names this module

    from triage_agent.cli import main  # noqa: PLC0415 - imported by `_import_everything` before

    if what.get("disk"):  # `powerloss.c` was preloaded into the launcher
        ctypes.CDLL(None).powerloss_use(*(path.encode() for path in what["disk"]))
    _adapt(what.get("clock"))
    for mutation in what.get("mutations", ()):
        CHANGES[mutation]()
    if what.get("failpoint"):
        Failpoint(**what["failpoint"]).arm(what["marker"])
    sys.argv = ["triage-agent", "serve", "--role", what["role"], "--config", what["config"]]
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _adapt(clock):
    from support import launcher  # noqa: PLC0415 - by the name under which failpoints know it

    from triage_agent import bootstrap, schedule, worker  # noqa: PLC0415
    from triage_agent.delivery import answering, committing  # noqa: PLC0415

    bootstrap.start_scorer = lambda settings: launcher.QuickScorer()
    schedule._COMPLETENESS_SECONDS = _TICK_SECONDS
    schedule._LONGEST_LEASE = _LONGEST_LEASE
    worker._DATABASE_AWAY_SECONDS = _AWAY_SECONDS
    answering.SEND_SECONDS = committing.ASK_SECONDS = _HELD_SECONDS
    if clock:
        real = bootstrap.utc_now
        bootstrap.utc_now = lambda: real() + timedelta(seconds=_ahead(Path(clock)))


def _sync_nothing_of_the_spool():
    os.fsync = lambda descriptor: None  # SQLite has its own


def _sync_no_folders():
    real = os.fsync
    os.fsync = lambda descriptor: None if stat.S_ISDIR(os.fstat(descriptor).st_mode) else real(descriptor)


def _sync_no_commits():
    from triage_agent.worklist import transactions  # noqa: PLC0415

    real = transactions.waiting
    transactions.waiting = lambda seconds, *, lasting: real(seconds, lasting=False)


def _take_time():
    from support import launcher  # noqa: PLC0415 - by the name under which it is used

    class SlowScorer(launcher.QuickScorer):
        def score(self, images, anatomies=()):
            time.sleep(SLOW_SECONDS * len(images))
            return super().score(images, anatomies)

    launcher.QuickScorer = SlowScorer


# What a trial has to notice: each is a way to lose what was acknowledged, one fsync away from being right.
MUTATIONS = {
    "nothing of the spool is synced": _sync_nothing_of_the_spool,
    "no folder of the spool is synced": _sync_no_folders,
    "no commit is synced": _sync_no_commits,
}
# ... and what only makes it slower.
CHANGES = MUTATIONS | {SLOW: _take_time}


def _ahead(file):
    with contextlib.suppress(OSError, ValueError):
        return float(file.read_text())
    return 0.0


def _listen():
    for name in _WHAT_ROLES_IMPORT:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for the dead
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        what = json.loads(line)
        child = os.fork()
        if child == 0:
            os.close(0)
            _serve(what)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _listen()
