"""One decoder process, seen from the process that asks it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import triage_agent
from triage_agent.imaging.isolated import wire
from triage_agent.imaging.isolated.wire import Message, SharedPixels, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

PROGRAM = (sys.executable, "-P", "-m", "triage_agent.imaging.isolated.child")

_START_SECONDS = 60.0  # imports on a machine under load; no file waits in it
_KILL_SECONDS = 10.0
_CHUNK = 1 << 16
_KEPT = 64 << 20  # bytes; memory that a larger image needed is given back
# What a decoder needs to find Python and its libraries; passwords and tokens are elsewhere in an environment.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
_PASSED_PREFIXES = ("LC_", "LD_LIBRARY", "PYTHON")
_SET = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    # Keep some freed memory: one image after the other needs the same, and fresh pages cost a fifth of the time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


class EndedError(Exception):
    """A decoder process ended in the middle of a file, or was ended.

    Attributes:
        why: in words that can stand behind "reading it".
        by_stranger: somebody else killed it, so that the file may be innocent.
    """

    def __init__(self, why: str, *, by_stranger: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.by_stranger = by_stranger


class Remarks:
    """What native decoders print: counted and thrown away, since it may quote the file."""

    def __init__(self) -> None:
        self.lines = 0
        self.warnings = 0
        self.errors = 0

    def hear(self, chunk: bytes) -> None:
        """Count."""
        lower = chunk.lower()
        self.lines += chunk.count(b"\n")
        self.warnings += lower.count(b"warn")
        self.errors += lower.count(b"error")


class DecoderProcess:
    """Answers one request at a time."""

    def __init__(self, memory_bytes: int, program: Sequence[str] = PROGRAM) -> None:
        """Start it; `ask` waits until it is ready."""
        self.remarks = Remarks()
        self.answered = 0
        self._ready = False
        self._pixels: SharedPixels | None = None
        self._connection, theirs = socket.socketpair()
        with theirs:
            command = [*program, str(theirs.fileno()), str(os.getpid()), str(memory_bytes)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C at a terminal is for the agent
                    env=_environment(),
                )
            except OSError:
                self._connection.close()
                raise
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe, for the type checker
        self._stderr = self._process.stderr

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether it could be asked."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until it has loaded its codecs.

        Raises:
            EndedError: it never will.
        """
        if not self._ready:
            message = self._receive(_START_SECONDS)
            if message.word is not Word.READY:
                raise EndedError("failed: the decoder process speaks out of turn")
            self._ready = True

    def ask(self, body: bytes, seconds: float) -> Message:
        """Its answer to a request.

        Raises:
            EndedError: it has none, and is of no more use.
        """
        fresh = None
        if self._pixels is None:
            self._pixels = SharedPixels()
            fresh = self._pixels.descriptor
        self._connection.settimeout(seconds)
        try:
            wire.send(self._connection, Message(Word.REQUEST, body, fresh))
        except OSError:
            raise self._ended() from None
        answer = self._receive(seconds)
        self.answered += 1
        return answer

    def pixels(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """The image of its last answer.

        Raises:
            ValueError: there is none of that size.
        """
        if self._pixels is None:
            raise ValueError("no image was asked for")
        image = self._pixels.fetch(shape)
        if self._pixels.size > _KEPT:
            self._pixels.close()
            self._pixels = None
        return image

    def interrupt(self) -> None:
        """End it now; whoever waits for its answer finds it gone, and calls `kill`."""
        self._process.kill()

    def kill(self) -> None:
        """End it now, whatever it does, and let go of it."""
        self._process.kill()
        self._connection.close()
        self._stderr.close()
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None
        with suppress(subprocess.TimeoutExpired):  # the kernel has not let go of it yet
            self._process.wait(_KILL_SECONDS)

    def _receive(self, seconds: float) -> Message:
        """Wait for a message, and empty the pipe meanwhile: a decoder that prints must not block on it."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        poller.register(self._stderr, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(left * 1000))
            if self._stderr.fileno() in ready and not self._listen():
                poller.unregister(self._stderr)
            if self._connection.fileno() in ready:
                self._connection.settimeout(max(0.001, left))
                try:
                    return wire.receive(self._connection)
                except TimeoutError:
                    break
                except (EOFError, OSError):
                    raise self._ended() from None
                except ValueError:
                    raise EndedError("failed: the decoder process speaks nonsense") from None
        raise EndedError(f"took longer than {seconds:g} s")

    def _listen(self) -> bool:
        """Read some of what it prints; False at the end."""
        chunk = os.read(self._stderr.fileno(), _CHUNK)
        self.remarks.hear(chunk)
        return bool(chunk)

    def _ended(self) -> EndedError:
        """Why it is gone."""
        try:
            code = self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return EndedError("failed: the decoder process hung up")
        if code >= 0:
            return EndedError(f"ended the decoder process (exit status {code})")
        if -code == signal.SIGXCPU:
            return EndedError("took more processor time than is allowed")
        if -code == signal.SIGKILL:
            return EndedError("was ended by the system, as when memory runs out", by_stranger=True)
        return EndedError(f"crashed the decoder ({_name(-code)})")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    passed = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_PREFIXES)
    }
    # The same code as here, however this process found it.
    package = str(Path(triage_agent.__file__).resolve().parents[1])
    passed["PYTHONPATH"] = os.pathsep.join(filter(None, (package, passed.get("PYTHONPATH"))))
    return passed | _SET
