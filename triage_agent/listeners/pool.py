"""Listener processes: started, watched, started again when they end, and ended."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog

import triage_agent
from triage_agent.builders import build_peers, build_server_settings
from triage_agent.dimse.limits import AssociationLimits
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.sockets import listening_sockets
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.listeners.channel import Channel, Message
from triage_agent.ops.processes import AllProcesses
from triage_agent.settings import Settings

log = structlog.get_logger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "triage_agent.listeners.child")

_START_SECONDS = 60.0  # imports on a machine under load
_FAREWELL_SECONDS = 3.0  # for a process to end, beyond what its transfers may take
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # before one that has ended is started again
_LIVED_SECONDS = 60.0  # so long that its end has nothing to do with its beginning
_LOOK_SECONDS = 1.0  # between two looks whether each process still speaks; each tells its figures once a second
_QUIET_SECONDS = 30.0  # of silence: it cannot be said to listen
_SILENT_SECONDS = 60.0  # of silence: it is stopped, or hangs, and another is to take its place
_BIRTH_SECONDS = 180.0  # the same before its first word: imports on a machine under load


@dataclass(slots=True)
class _Seat:
    """An association of a listener process."""

    taken: bool = True

    def is_open(self) -> bool:
        return self.taken


class Ledger:
    """The associations of all processes, counted together; safe to use from many threads.

    Args:
        peers: by name.
        limits: what they may have.
    """

    def __init__(self, peers: Mapping[str, Peer], limits: AssociationLimits) -> None:
        self._peers = peers
        self._limits = limits
        self._seats: dict[str, dict[int, _Seat]] = {}

    def enter(self, process: str, number: int, peers: Sequence[str]) -> str | None:
        """See `Seats.enter`; `number` is the process's own for the association."""
        seat = _Seat()
        reason = self._limits.admit([self._peers[name] for name in peers if name in self._peers], seat.is_open)
        if reason is None:
            self._seats.setdefault(process, {})[number] = seat
        return reason

    def leave(self, process: str, number: int) -> None:
        """It has ended."""
        seat = self._seats.get(process, {}).pop(number, None)
        if seat is not None:
            seat.taken = False

    def has_ended(self, process: str) -> None:
        """And with it all its associations."""
        for seat in self._seats.pop(process, {}).values():
            seat.taken = False


class ListenerPool:
    """So many processes that accept from the same sockets; in place of a `DicomServer`.

    Args:
        wake: called when an image has come, with whom to wake.
        figures: told what each process has counted.
        share: called before the first process starts.
    """

    def __init__(
        self, settings: Settings, *, wake: Callable[[str], None], figures: AllProcesses, share: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._figures = figures
        self._share = share
        self._ledger = Ledger(build_peers(settings), AssociationLimits(most=settings.dicom.max_associations))
        self._sockets: Sequence[socket.socket] = ()
        self._processes: list[_Process] = []
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="listener-processes", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that is listened on, the plain ones where there are; before `start` those asked for."""
        if not self._sockets:
            return self._settings.dicom.host, self._settings.dicom.port
        name = self._sockets[0].getsockname()
        return str(name[0]), int(name[1])

    @property
    def pids(self) -> list[int]:
        """The process ids of those that run."""
        return [pid for one in self._processes if (pid := one.pid) is not None]

    def start(self) -> None:
        """Listen; returns when every process does.

        Raises:
            ConfigurationError: an address cannot be listened on, or a process does not start.
        """
        self._share()
        self._sockets = listening_sockets(build_server_settings(self._settings))
        for number in range(1, self._settings.dicom.processes + 1):
            self._processes.append(
                _Process(number, self._settings, self._sockets, self._ledger, self._wake, self._figures)
            )
        deadline = time.monotonic() + _START_SECONDS
        for process in self._processes:
            process.start()
        for process in self._processes:
            if (why := process.why_not_ready(deadline)) is not None:
                self.stop(0.0)
                raise ConfigurationError(f"a listener process does not start: {why}", remedy="see the log")
        self._watcher.start()
        host, port = self.address
        log.info("listening_in_processes", host=host, port=port, processes=len(self._processes))

    def check(self) -> None:
        """Raise `TriageError` unless every process listens."""
        away = sum(not process.ready for process in self._processes)
        if away:
            raise TriageError(
                f"{away} of {len(self._processes)} listener processes do not listen, or are silent",
                remedy="see the log",
            )

    def stop(self, drain_seconds: float = 10.0) -> bool:
        """See `DicomServer.stop`."""
        self._ending.set()
        for process in self._processes:
            process.tell_to_stop()
        for one in self._sockets:
            one.close()
        deadline = time.monotonic() + drain_seconds + _FAREWELL_SECONDS
        drained = [process.wait(deadline) for process in self._processes]
        self._processes, self._sockets = [], ()
        return all(drained)

    def _watch(self) -> None:
        """End those that are silent; where this process did not run itself, it could hear nobody."""
        looked = time.monotonic()
        while not self._ending.wait(_LOOK_SECONDS):
            since, looked = looked, time.monotonic()
            for process in self._processes:
                if looked - since > _QUIET_SECONDS / 2:
                    process.spoke()
                else:
                    process.end_silence()

    def reload(self) -> None:
        """Have every process read the certificates again."""
        for process in self._processes:
            process.signal(signal.SIGHUP)


class _Process:
    """One listener process after the other, and the thread that hears what they say."""

    def __init__(
        self,
        number: int,
        settings: Settings,
        sockets: Sequence[socket.socket],
        ledger: Ledger,
        wake: Callable[[str], None],
        figures: AllProcesses,
    ) -> None:
        self._number = number
        self._settings = settings
        self._sockets = sockets
        self._ledger = ledger
        self._wake = wake
        self._figures = figures
        self._lives = count(1)
        self._running: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition()
        self._ready = False
        self._failed: str | None = None
        self._spoke = time.monotonic()  # when it was last heard, or started
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listener-process-{number}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether it listens, and has said something of late."""
        return self._ready and time.monotonic() - self._spoke < _QUIET_SECONDS

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        running = self._running
        return None if running is None else running.pid

    def spoke(self) -> None:
        """It is not silent from now on."""
        self._spoke = time.monotonic()

    def end_silence(self) -> None:
        """Kill it where it has said nothing for too long: its end is what another is started after."""
        silent = time.monotonic() - self._spoke
        if silent > (_SILENT_SECONDS if self._ready else _BIRTH_SECONDS) and self.pid is not None:
            log.error("listener_process_silent", number=self._number, seconds=round(silent))
            self.spoke()
            self.signal(signal.SIGKILL)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def why_not_ready(self, deadline: float) -> str | None:
        """Wait until it listens; why it does not."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._failed, max(0.0, deadline - time.monotonic()))
            return None if self._ready else self._failed or f"not within {_START_SECONDS:g} s"

    def tell_to_stop(self) -> None:
        """Let what is transferred end, and start none again."""
        self._stopping.set()
        self.signal(signal.SIGTERM)

    def wait(self, deadline: float) -> bool:
        """Until it has ended, killed at the deadline; whether it ended by itself."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        ended = not self._thread.is_alive()
        if not ended:
            self.signal(signal.SIGKILL)
            self._thread.join(_FAREWELL_SECONDS)
        return ended

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        running = self._running
        if running is not None:
            with suppress(ProcessLookupError):
                running.send_signal(number)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            code = self._lived(f"{self._number}.{next(self._lives)}")
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _LIVED_SECONDS else min(2 * pause, _LONGEST_PAUSE)
            if not self._stopping.wait(pause):
                log.error(
                    "listener_process_ended",
                    number=self._number,
                    exit_status=code,
                    why=self._failed,
                    after=round(pause, 1),
                )

    def _lived(self, name: str) -> int | None:
        """As `_live`; whatever goes wrong ends this process, and not the thread that starts the next."""
        try:
            return self._live(name)
        except OSError as error:
            self._set(failed=error.strerror or type(error).__name__)  # such as no file left; told with the pause
        except Exception as error:
            log.exception("listener_process_lost", number=self._number)
            self._set(failed=type(error).__name__)
        self.signal(signal.SIGKILL)
        return self._buried()

    def _live(self, name: str) -> int | None:
        """One process from its start to its end; its exit status, None where it could not be started."""
        self.spoke()
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        try:
            with theirs:
                self._running = self._started(theirs)
            if self._stopping.is_set():
                self.signal(signal.SIGTERM)
            channel.send(pickle.dumps(self._settings))
            while True:
                self._hear(name, channel, channel.hear())
        except (EOFError, ValueError):
            pass  # it has ended
        except OSError as error:
            self._set(failed=error.strerror or type(error).__name__)
        finally:
            channel.close()
            self._set(failed=self._failed or "it has ended")
            self._ledger.has_ended(name)
            self._figures.has_ended(name)
        return self._buried()

    def _buried(self) -> int | None:
        """Wait for its end; until then it can be killed."""
        code = None if self._running is None else self._running.wait()
        self._running = None
        return code

    def _started(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        descriptors = [theirs.fileno(), *(one.fileno() for one in self._sockets)]
        return subprocess.Popen(  # noqa: S603 - our own module
            [*PROGRAM, *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C at a terminal is for the main process, which tells this one
            env=_environment(),
        )

    def _hear(self, name: str, channel: Channel, message: Message) -> None:
        self.spoke()
        if (seat := message.get("enter")) is not None:
            channel.tell(seat=seat, refused=self._ledger.enter(name, seat, message["peers"]))
        elif (seat := message.get("leave")) is not None:
            self._ledger.leave(name, seat)
        elif "wake" in message:
            self._wake(message["wake"])
        elif "figures" in message:
            self._figures.heard(name, message["figures"])
        elif "ready" in message:
            self._set(ready=True)
        elif "failed" in message:
            self._set(failed=str(message["failed"]))

    def _set(self, *, ready: bool = False, failed: str | None = None) -> None:
        with self._changed:
            self._ready, self._failed = ready, failed
            self._changed.notify_all()


def _environment() -> dict[str, str]:
    """Ours, and the same code as here, however this process found it."""
    package = str(Path(triage_agent.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths}
