"""How the agent connects: SQLite for one machine, Postgres for more; both so that a commit is durable."""

import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError, how_to_install
from triage_agent.worklist.files import DatabaseFiles
from triage_agent.worklist.reserve import is_full

READ_ONLY = {"triage_read_only": True}
"""Execution options of a transaction that only reads: on SQLite it takes no write lock."""

WAIT_SECONDS = 5
"""For a lock or a connection; a sender that would have to wait longer gets 0xA700 and retries."""

STILL_THERE = "triage_still_there"
"""Where a connection's `info` has what raises once its files were removed or replaced; SQLite only."""

_WAIT = "triage_wait_seconds"
_LASTING = "triage_lasting"
_LOG_BYTES = 16 << 20  # what one long transaction made of SQLite's log is given back to the disk after it


def waiting(seconds: float, *, lasting: bool = True) -> dict[str, float | bool]:
    """Execution options of a transaction that waits so long for SQLite's write lock instead of `WAIT_SECONDS`.

    One that is not `lasting` is on the disk with the next that is.
    """
    return {_WAIT: seconds, _LASTING: lasting}


def open_engine(url: str, *, create: bool = True, bounded: bool = True, reading: bool = False) -> Engine:
    """Connect lazily to the database at `url`: `sqlite:///FILE` or `postgresql+psycopg://...`.

    Args:
        url: where it is.
        create: make the SQLite file and its folder where they are absent; who only looks should make none.
        reading: for who only reads, one thing after another: it works with SQLite on a full disk, too.
        bounded: give a Postgres server up that takes long for one statement; migrations may take minutes.

    Raises:
        ConfigurationError: the address is not one of these.
        WorklistUnavailableError: there is no SQLite file and none is to be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigurationError(
            "[database] url is not a database address", remedy="use sqlite:///FILE or postgresql+psycopg://user@host/db"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, create=create, reading=reading)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgres(parsed, bounded=bounded)
    raise ConfigurationError(
        f"[database] url names {parsed.get_backend_name()}, which the worklist does not speak",
        remedy="use sqlite:///FILE or postgresql+psycopg://user@host/db",
    )


def without_password(url: URL) -> URL:
    """The address as it may be shown: a password can stand in it, or among its options."""
    return url._replace(password=None).difference_update_query(["password", "sslpassword"])


def shown(url: str) -> str:
    """Which database that is, for people: without its password, a file with its whole path."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(Path(parsed.database or "").absolute())
    return without_password(parsed).render_as_string()


def _open_sqlite(url: URL, *, create: bool, reading: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "[database] url names no file", remedy="use sqlite:///FILE: the worklist must outlive us"
        )
    if not create and not Path(url.database).is_file():
        raise WorklistUnavailableError(
            f"there is no worklist at {Path(url.database).absolute()} yet",
            remedy="`triage-agent serve` or `triage-agent db upgrade` makes it; if it should be there, name the site's "
            "configuration (--config or TRIAGE_AGENT_CONFIG)",
        )
    try:
        Path(url.database).resolve().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"[database] the folder of {url.database} cannot be made: {error.strerror}", remedy="make it, or change url"
        ) from error
    pool: dict[str, Any] = {
        "pool_size": 10,
        "max_overflow": 30,  # a thread an association: they queue for the one write lock, not for connections
        "pool_timeout": WAIT_SECONDS,
    }
    if reading:
        pool = {"poolclass": NullPool}  # it may have to keep others out, and does so no longer than it reads
    engine = create_engine(
        url,
        hide_parameters=True,  # they name patients, and errors are logged
        connect_args={"timeout": WAIT_SECONDS},  # SQLite's busy_timeout
        **pool,
    )
    event.listen(engine, "do_connect", _SqliteConnector(Path(url.database), create=create, reading=reading))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


class _SqliteConnector:
    """Makes connections that know their files, so that none writes to a file that lost its name (promise 1)."""

    def __init__(self, path: Path, *, create: bool, reading: bool) -> None:
        self._files = DatabaseFiles(path)
        self._create = create
        self._reading = reading

    def __call__(
        self, _: Dialect, record: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> sqlite3.Connection:
        before = self._files.look()
        if not self._create:  # a file that is gone is not made anew, without our tables
            arguments = [f"{self._files.path.as_uri()}?mode=rw"]
            options = {**options, "uri": True}
        connection = self._open(arguments, options)
        try:
            record.info[STILL_THERE] = partial(self._files.require, self._files.opened(before))
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, arguments: list[Any], options: dict[str, Any]) -> sqlite3.Connection:
        try:
            return _opened(arguments, options)
        except sqlite3.OperationalError as error:
            if not (self._reading and is_full(error)):
                raise
        # No room for the index of the log, which processes share: alone, it is kept in memory (SQLite, WAL, section 8).
        return _opened(arguments, options, "PRAGMA locking_mode = EXCLUSIVE")


def _opened(arguments: list[Any], options: dict[str, Any], *pragmas: str) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(*arguments, **options)
    try:
        for pragma in pragmas:
            connection.execute(pragma)
        _prepare_sqlite(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_sqlite(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    _enter_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns (promise 1)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on, once a file; SQLite does not wait by itself for others that do the same."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: a transaction that reads and then writes can thereby not deadlock."""
    connection.info[STILL_THERE]()
    options = connection.get_execution_options()
    if options.get("triage_read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    _set(connection, "busy_timeout", str(round(1000 * options.get(_WAIT, WAIT_SECONDS))))
    # NORMAL syncs the log only when it is emptied into the database, and FULL all of it at each commit: so whatever a
    # lasting commit stands on is on the disk with it (https://www.sqlite.org/pragma.html#pragma_synchronous).
    _set(connection, "synchronous", "FULL" if options.get(_LASTING, True) else "NORMAL")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set(connection: Connection, pragma: str, value: str) -> None:
    """Set one of SQLite's own, where the connection does not have it so already: it keeps what it was told."""
    if connection.info.get(pragma) != value:
        connection.exec_driver_sql(f"PRAGMA {pragma} = {value}")
        connection.info[pragma] = value


def postgres_url(url: URL) -> URL:
    """The address with our driver, and with an end to every wait where the site has set none."""
    defaults = {
        "application_name": "triage-agent",
        "connect_timeout": str(WAIT_SECONDS),
        "tcp_user_timeout": "10000",  # a server that fell silent is given up after 10 s
    }
    driver = "postgresql+psycopg" if url.drivername == "postgresql" else url.drivername
    return url.set(drivername=driver, query={**defaults, **url.query})


def _open_postgres(url: URL, *, bounded: bool) -> Engine:
    url = postgres_url(url)
    try:
        engine = create_engine(
            url, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=30, pool_timeout=WAIT_SECONDS
        )
        from triage_agent.worklist.postgres import connect, ping_briefly  # noqa: PLC0415 - the driver is an extra's
    except ImportError as error:
        raise ConfigurationError(
            f"[database] url names Postgres, whose driver is not installed: {error}",
            remedy=how_to_install("postgres"),
        ) from error
    if bounded:
        event.listen(engine, "do_connect", connect)
        ping_briefly(engine.dialect)
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_postgres(connection: Any, _: ConnectionPoolEntry) -> None:
    """Where the server would lose commits (promise 1), let us wait for ever, or plan for any value, tell it not to.

    A plan that is made once for all values reads the whole table for the last week's studies, from the sixth time on.
    """
    settings = [
        ("synchronous_commit", "off", "on"),
        ("lock_timeout", "0", f"{WAIT_SECONDS}s"),
        ("plan_cache_mode", "auto", "force_custom_plan"),
    ]
    with connection.cursor() as cursor:
        for name, unwanted, wanted in settings:
            cursor.execute(
                "SELECT set_config(%s, %s, false) WHERE current_setting(%s) = %s", (name, wanted, name, unwanted)
            )
    connection.commit()
