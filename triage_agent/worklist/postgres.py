"""How the agent connects to Postgres: no answer is waited for without end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect
from sqlalchemy.pool import ConnectionPoolEntry

Answer = TypeVar("Answer")

ANSWER_SECONDS = 7.0
"""For one statement; a server that is frozen, or a network that swallows packets, is away. Locks end far sooner."""

PING_SECONDS = 2.0
"""For a connection of the pool to show that it lives: where it does not, a new one is waited for on top of this."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives its server up when one answer takes longer than `ANSWER_SECONDS`.

    The server's own limits (lock_timeout, statement_timeout) need a server that runs.
    """

    answer_seconds: float | None = None
    """What is waited for here instead: a long table takes its time to be sorted."""

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        """Wait for an answer, as psycopg does, or raise `OperationalError` and close the connection."""
        seconds = self.answer_seconds or ANSWER_SECONDS
        return super().wait(_bounded(gen, self, seconds), *args, **kwargs)


def connect(
    _: Dialect, __: ConnectionPoolEntry, arguments: Sequence[Any], options: Mapping[str, Any]
) -> BoundedConnection:
    """SQLAlchemy's `do_connect` handler: a connection that is bounded."""
    return BoundedConnection.connect(*arguments, **options)


def ping_briefly(dialect: Dialect) -> None:
    """Have a dialect wait no longer than `PING_SECONDS` for the answer to its ping; a living server has it at once."""
    ping = dialect.do_ping

    def do_ping(dbapi_connection: Any) -> bool:
        dbapi_connection.answer_seconds = PING_SECONDS
        try:
            return ping(dbapi_connection)
        finally:
            dbapi_connection.answer_seconds = None

    dialect.do_ping = do_ping  # type: ignore[method-assign]


def _bounded(gen: PQGen[Answer], connection: BoundedConnection, seconds: float) -> PQGen[Answer]:
    """`gen`, which psycopg resumes at least every tenth of a second, for so long."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                connection.pgconn.finish()  # its state is unknown: nobody may use it again
                raise psycopg.OperationalError(f"the server did not answer for {seconds:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
