"""Who may write to SQLite: one thread of a process, and one process of those that share a file of turns.

SQLite's own way of waiting for another process is to sleep, for a tenth of a second in the end, and to try again: who
writes all the time leaves others hardly a gap to find. Processes that share a file of turns look every millisecond.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from triage_agent.domain.errors import WorklistUnavailableError

_LOOK_SECONDS = 0.001
_MODE = 0o640


def share_writing(url: str) -> None:
    """From here on processes that write to this SQLite database take turns; nothing to do with another database.

    Raises:
        OSError: the file cannot be made.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        os.close(os.open(_file_of(Path(parsed.database)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))


class OneWriter:
    """The turn to write to one SQLite file."""

    def __init__(self, database: Path) -> None:
        self._file = _file_of(database)
        self._descriptor: int | None = None
        self._threads = threading.Lock()

    @contextmanager
    def turn(self, seconds: float) -> Iterator[float]:
        """Be the one writer; what is left of the seconds then.

        Raises:
            WorklistUnavailableError: it was somebody else's turn all the time.
        """
        deadline = time.monotonic() + seconds
        if not self._threads.acquire(timeout=seconds):
            raise _busy()
        try:
            descriptor = self._shared()
            if descriptor is not None:
                _wait_for(descriptor, deadline)
            try:
                yield max(0.0, deadline - time.monotonic())
            finally:
                if descriptor is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _shared(self) -> int | None:
        """The file of turns; None where no processes share one. It is looked for until it is there, and kept open."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return None
        return self._descriptor

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _wait_for(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _busy() from None
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _busy() -> WorklistUnavailableError:
    return WorklistUnavailableError("the worklist database is busy", remedy="senders retry")


def _file_of(database: Path) -> Path:
    return Path(f"{database}-turns")
