"""What a Postgres server tells by itself: that there is work, and what time it is."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from psycopg import Error
from sqlalchemy import make_url

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist.engine import postgres_url
from triage_agent.worklist.postgres import BoundedConnection

log = structlog.get_logger(__name__)

CHANNEL = "triage_work"

_LISTEN_SECONDS = 0.25  # at a time, so that a stop is soon seen
_ASK_SECONDS = 15.0  # how often to ask for the time; it also tells whether the connection still lives
_AWAY_SECONDS = 1.0


def seconds_since_boot() -> float:
    """A count that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedClock:
    """The server's time, carried on between two answers by this machine's own count of seconds.

    All processes of a site reckon leases and deadlines by it, so that machines whose clocks differ do not take each
    other's work, and a machine whose clock is set changes nothing.
    """

    def __init__(self, count: Callable[[], float] = seconds_since_boot) -> None:
        self._count = count
        self._learnt: tuple[datetime, float] | None = None

    def learn(self, ask: Callable[[], datetime]) -> None:
        """Ask for the time; the answer is of the middle of the time that it took."""
        before = self._count()
        now = ask()
        self._learnt = now, (before + self._count()) / 2

    def __call__(self) -> datetime:
        """Now, aware, in UTC."""
        if self._learnt is None:
            raise WorklistUnavailableError("the database was not asked for the time yet")
        then, at = self._learnt
        return then + timedelta(seconds=self._count() - at)


class Signals:
    """Listens in a thread of its own, over a connection of its own, and connects again for as long as it takes.

    Polling goes on beside it: what is missed while the connection is away is found then.
    """

    def __init__(self, url: str, wake: Callable[[str], None]) -> None:
        """Ask for the time, so that `clock` can be used; `wake` is told the beginning of the names of loops.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        self.clock = SharedClock()
        address = postgres_url(make_url(url))
        named = address.translate_connect_args(username="user", database="dbname")
        self._arguments: dict[str, Any] = {**named, **address.query}
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        try:
            with self._connect() as connection:
                self.clock.learn(lambda: _time_of(connection))
        except Error as error:
            raise WorklistUnavailableError(f"the worklist database did not answer: {type(error).__name__}") from error

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        self._thread.join(10 * _LISTEN_SECONDS)

    def _connect(self) -> BoundedConnection:
        return BoundedConnection.connect(**self._arguments, autocommit=True)

    def _run(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    if away:
                        log.info("signals_heard_again")
                    away = False
                    self._wake("")  # for what came while nobody listened
                    self._listen(connection)
            except Error as error:
                if not away:
                    log.warning("signals_away", error=type(error).__name__)
                away = True
                self._stopping.wait(_AWAY_SECONDS)

    def _listen(self, connection: BoundedConnection) -> None:
        ask_at = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= ask_at:
                self.clock.learn(lambda: _time_of(connection))
                ask_at = time.monotonic() + _ASK_SECONDS
            for signal in connection.notifies(timeout=_LISTEN_SECONDS):
                self._wake(signal.payload)


def _time_of(connection: BoundedConnection) -> datetime:
    now: datetime
    ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
    return now.astimezone(UTC)
