"""The installed command without its seconds of importing: a process that has imported it forks, and the fork runs it.

From there on nothing differs: the fork has the arguments, environment, folder and standard files that it was asked to
have, calls what the installed script calls, and ends as an interpreter ends. Run as a program this is what forks: it
reads one request a start from the socket it is given, with the files to use, and answers with the process id; how each
one ended goes into the pipe that came with its request. It ends, and so does all that it started, with whoever has the
socket's other end.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h
_MOST_BYTES = 200_000  # of a request: arguments and environment
_FILES = 4  # stdin, stdout, stderr, and the pipe
# What `serve` and the commands import when they run; what is not here they import themselves.
_WHAT_COMMANDS_IMPORT = (
    "triage_agent.cli.app",
    "triage_agent.cli.doctor",
    "triage_agent.bootstrap",
    "triage_agent.commitment",
    "triage_agent.delivering",
    "triage_agent.evidence",
    "triage_agent.listening",
    "triage_agent.notification",
    "triage_agent.ordering",
    "triage_agent.procedure_steps",
    "triage_agent.retrieval",
    "triage_agent.schedule",
    "triage_agent.signing_in",
    "triage_agent.stages",
    "triage_agent.ups_web",
    "triage_agent.webservices",
    "triage_agent.delivery.registry",
    "triage_agent.delivery.sender",
    "triage_agent.imaging.isolated.pool",
    "triage_agent.imaging.loader",
    "triage_agent.intake.belonging",
    "triage_agent.models.scorer",
    "triage_agent.web.app",
    "triage_agent.web.server",
    "triage_agent.worklist.migrate",
    "psycopg",
    "pydantic.v1",
    "sqlalchemy.dialects.sqlite",
    "uvicorn.protocols.http.h11_impl",
)


class Started:
    """A process that `start` has started; as `subprocess.Popen`, of which it has what tests use."""

    def __init__(self, arguments, pid, ending):
        self.args = arguments
        self.pid = pid
        self.returncode = None
        self._process = os.pidfd_open(pid)
        self._ending = ending

    def poll(self):
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._ending], [], [], 0)[0]:
            said = os.read(self._ending, 20)
            self.returncode = int(said) if said else -signal.SIGKILL
            os.close(self._ending)
            os.close(self._process)
        return self.returncode

    def wait(self, timeout=None):
        """As `poll`, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, in so many seconds.
        """
        if self.returncode is None and not select.select([self._ending], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.poll()

    def send_signal(self, number):
        """Nothing happens where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class _Forker:
    """The program below, running. Safe to use from many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # no thread is there when it forks
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                env=os.environ | quiet,
                pass_fds=[theirs.fileno()],
            )

    def start(self, arguments, environment, files):
        ending, theirs = os.pipe()
        request = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [*files, theirs])
                pid = int(self._socket.recv(20))
        finally:
            os.close(theirs)
        return Started(arguments, pid, ending)

    def close(self):
        self._socket.close()
        self._process.wait()


_making = threading.Lock()
_forkers = []  # the one of this process, once it is needed


def _forker():
    with _making:
        if not _forkers:
            _forkers.append(_Forker())
            atexit.register(_forkers[0].close)
        return _forkers[0]


def start(arguments, *, stdout, stderr, environment=None):
    """Start the installed command, with files of ours as its output; its input is empty."""
    with Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno(), stdout.fileno(), stderr.fileno()]
        return _forker().start([*map(str, arguments)], dict(os.environ if environment is None else environment), files)


# --- the program ------------------------------------------------------------------------------------------------------
def _be(request, files):
    """What a process started anew would be; its end is the interpreter's own."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    from triage_agent.cli import main  # noqa: PLC0415 - what the installed script does

    sys.exit(main())


def _reap(endings):
    """Say of each process that has ended how it did."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pipe = endings.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, str(os.waitstatus_to_exitcode(ended[1])).encode())
            os.close(pipe)


def _prepare():
    for name in _WHAT_COMMANDS_IMPORT:
        importlib.import_module(name)
    from triage_agent.dimse.contexts import supported_contexts  # noqa: PLC0415 - imported above

    supported_contexts()  # the same for every process, and a fifth of a second for each


def _listen(connection):
    _prepare()
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    gc.collect()
    gc.freeze()
    endings = {}  # by process id: where to say how it ended
    while True:
        ready = select.select([connection, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 100)
            _reap(endings)
        if connection not in ready:
            continue
        said, files, *_ = socket.recv_fds(connection, _MOST_BYTES, _FILES)
        if not said:
            return None
        *standard, ending = files
        if (child := os.fork()) == 0:
            for file in (ending, woken, wakes, *endings.values()):
                os.close(file)
            connection.close()
            return json.loads(said), standard
        endings[child] = ending
        for file in standard:
            os.close(file)
        connection.send(str(child).encode())


if __name__ == "__main__":
    asked = _listen(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        _be(*asked)
