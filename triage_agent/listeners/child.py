"""A listener process, as a program: receives like the main process does where it is alone, and reports to it.

Arguments: the descriptor of the channel to the main process, then those of the sockets that listen. The first message
is the settings. It ends when it is told to by SIGTERM, or when the main process is gone; either way what is being
transferred may end first.
"""

import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog

from triage_agent.audit.queries import QueryLog
from triage_agent.builders import build_certificate_watch, build_signals, open_worklist
from triage_agent.commitment import build_answering
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.listeners.channel import Channel, Seating
from triage_agent.listening import Beside, Listener, build_listener
from triage_agent.ops.asked import Asked
from triage_agent.ops.logging import configure_logging
from triage_agent.ops.metrics import Metrics
from triage_agent.ops.processes import counted
from triage_agent.settings import Settings
from triage_agent.tracing import trace_journeys
from triage_agent.worker import Loop, in_time

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 8.0  # as long as the one process has
_COUNT_SECONDS = 30.0  # between two looks whether an hour of somebody's searches is over
_FIGURES_SECONDS = 1.0
_LAST_ANSWER_SECONDS = 2.0


def main(arguments: Sequence[str]) -> int:
    """Receive until it is over; 1 where it cannot begin, which the log tells."""
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    sockets = [socket.socket(fileno=int(number)) for number in arguments[1:]]
    settings: Settings = pickle.loads(channel.receive())  # noqa: S301 - our own main process's; nobody else has that end
    configure_logging(settings.logging.format, settings.logging.level)
    asked = Asked()
    asked.on(signal.SIGTERM, "stop")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked.on(signal.SIGHUP, "reload")
    try:
        with ExitStack() as stack:
            part = _Part(settings, stack, channel, gone=lambda: asked.put("stop"))
            part.start(sockets)
            while asked.next() != "stop":
                part.reload()
    except TriageError as error:
        log.error("listener_process_cannot_start", error=error.message, remedy=error.remedy)  # noqa: TRY400
        channel.tell(failed=error.message, remedy=error.remedy)
        return 1
    return 0


class _Part:
    """What runs in a listener process; the stack has its end."""

    def __init__(self, settings: Settings, stack: ExitStack, channel: Channel, gone: Callable[[], None]) -> None:
        """`gone` is called when the main process is."""
        self._settings = settings
        self._stack = stack
        self._channel = channel
        self._gone = gone
        self._metrics = Metrics(trace_journeys(settings, "listener", stack))
        self._certificates = build_certificate_watch(settings)

    def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to receive.

        Raises:
            TriageError: the database is away, or something cannot be used.
        """
        settings, stack = self._settings, self._stack
        worklist, clock = self._worklist()
        stack.callback(self._tell_figures)  # the last ones
        queries = QueryLog(worklist.record_audit, clock)
        stack.callback(in_time, lambda: _close(queries))
        seating = Seating(self._channel, self._gone)
        listener = build_listener(
            settings, worklist, self._metrics, clock, self._wake, queries, beside=Beside(seating, sockets)
        )
        if self._certificates is not None:
            self._certificates.start()
            stack.callback(self._certificates.stop)
        self._repeat(listener, worklist, clock, queries)
        listener.start()
        stack.callback(listener.stop, DRAIN_SECONDS)
        self._channel.tell(ready=True)

    def reload(self) -> None:
        """Read the certificates again."""
        if self._certificates is not None:
            self._certificates.reload()

    def _worklist(self) -> tuple[Worklist, Clock]:
        """The worklist, and the time by which its leases are reckoned."""
        worklist = open_worklist(self._settings)
        signals = build_signals(self._settings, lambda _whom: None)
        if signals is None:
            return worklist, _utc_now
        signals.start()
        self._stack.callback(signals.stop)
        return worklist, signals.clock

    def _repeat(self, listener: Listener, worklist: Worklist, clock: Clock, queries: QueryLog) -> None:
        """Answer requests for storage commitment, count searches, tell what was counted."""
        for loop in (
            build_answering(self._settings, worklist, listener.desk, self._metrics, clock),
            Loop("audit-queries", queries.step, idle_seconds=_COUNT_SECONDS),
            Loop("figures", self._tell_figures, idle_seconds=_FIGURES_SECONDS),
        ):
            loop.start()
            self._stack.callback(loop.join, _LAST_ANSWER_SECONDS)
            self._stack.callback(loop.stop)

    def _wake(self, whom: str = "") -> None:
        self._channel.tell(wake=whom)

    def _tell_figures(self) -> bool:
        self._channel.tell(figures=counted(self._metrics.registry))
        return False


def _close(queries: QueryLog) -> None:
    try:
        queries.close()
    except TriageError as error:
        log.warning("searches_not_counted", error=error.message)


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
