"""Units of work: one transaction each, with the database's failures told in the house's words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import CursorResult, Engine, Executable
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist.engine import READ_ONLY, STILL_THERE, WAIT_SECONDS, waiting
from triage_agent.worklist.grouping import Company, Work
from triage_agent.worklist.one_writer import OneWriter
from triage_agent.worklist.reserve import give_up, is_full

Result = TypeVar("Result")

_TRIES = 3
_WHOLE_TABLE_SECONDS = 600.0
# SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRY_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock: nothing was written, the same work may succeed
_AWAY = {"25006", "42P01", "42501"}  # read-only after a failover, tables not there yet, or not ours to write to


class Database:
    """Runs functions of a session, each in one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = OneWriter(Path(engine.url.database or "")) if engine.dialect.name == "sqlite" else None
        self._reader = engine.execution_options(**READ_ONLY)
        # Kept, since to make one costs as much as a statement; waits are told in tenths of a second, so they are few.
        self._waiter = cache(lambda left, lasting: engine.execution_options(**waiting(left, lasting=lasting)))
        self._company = None if self._writer is None else self._gathering(self._writer)

    def read(self, work: Callable[[Session], Result]) -> Result:
        """`work` in a transaction that takes no write lock.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        try:
            return self._run(self._reader, work)
        except WorklistUnavailableError as error:  # also who reads makes SQLite's index of its log, once
            if not (is_full(error.__cause__) and give_up(self.engine)):
                raise
        return self._run(self._reader, work)

    def stream(self, work: Callable[[Session], Iterator[Result]]) -> Iterator[Result]:
        """What `work` yields, in one transaction that takes no write lock and lasts until it is consumed."""
        with telling_when_away(), Session(self._reader) as session, session.begin(), _patient(session):
            yield from work(session)

    def write(
        self, work: Callable[[Session], Result], *, patience: float | None = None, lasting: bool = True
    ) -> Result:
        """`work` in a transaction; returns after its commit.

        Work that lost a race for a unique key, or a deadlock, was rolled back and is done again from the start;
        so is what found the disk full, where a reserve made room (`reserve`).
        `patience` is how many seconds to wait for the one writer of SQLite, in this process and outside, at most; by
        default `WAIT_SECONDS`. What is not `lasting` is on SQLite's disk by the next commit that is: for what may be
        undone by a power cut as if it had never been, such as a claim. Nothing else may be lost by it, and no order.

        Raises:
            WorklistUnavailableError: the database is away, locked, full or read-only.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._write_once(work, patience, lasting)
            except IntegrityError as error:
                if not _is_lost_race(error):
                    raise
            except WorklistUnavailableError as error:
                if not self._may_help(error):
                    raise
        return self._write_once(work, patience, lasting)

    def claim(
        self,
        there_is: Callable[[Session], bool],
        work: Callable[[Session], Result],
        nothing: Result,
        *,
        lasting: bool,
    ) -> Result:
        """`work` if `there_is` some, else `nothing`: for what is often asked for in vain.

        Where writers queue, who asks in vain would hold up those who write. Postgres has no such queue, and a question
        less is quicker there.

        Raises:
            WorklistUnavailableError: as `write`.
        """
        if self._writer is not None and not self.read(there_is):
            return nothing
        return self.write(work, lasting=lasting)

    def write_in_company(self, work: Callable[[Session], Result]) -> Result:
        """As `write`, of what many threads want at the same time, and returns no rows.

        On SQLite one transaction takes all that wait, so that they share its commit. Postgres shares the sync of its
        log among transactions by itself, and one of many studies would hold the locks of all of them.
        """
        return self.write(work) if self._company is None else self._company.write(work)

    def _gathering(self, writer: OneWriter) -> Company:
        return Company(
            turn=lambda: writer.turn(WAIT_SECONDS),
            together=self._together,
            alone=self.write,
            hopeless=lambda error: not self._may_help(error),
        )

    def _may_help(self, error: WorklistUnavailableError) -> bool:
        """Whether the same work may succeed now; makes room where the disk was full and there was a reserve."""
        made_room = is_full(error.__cause__) and give_up(self.engine)
        return made_room or _sqlstate(error.__cause__) in _TRY_AGAIN

    def _write_once(self, work: Callable[[Session], Result], patience: float | None, lasting: bool) -> Result:
        if self._writer is None:
            return self._run(self.engine, work)
        with self._writer.turn(WAIT_SECONDS if patience is None else patience) as left:
            return self._run(self._waiter(round(left, 1), lasting=lasting), work)

    def _together(self, works: Sequence[Work], seconds: float) -> Sequence[Any]:
        """See `Together`."""

        def one_after_the_other(session: Session) -> Sequence[Any]:
            results = []
            for work in works:
                results.append(work(session))
                session.flush()
                session.expunge_all()  # as if each had a session of its own
            return results

        return self._run(self._waiter(round(seconds, 1), lasting=True), one_after_the_other)

    @staticmethod
    def _run(engine: Engine, work: Callable[[Session], Result]) -> Result:
        with telling_when_away(), Session(engine, expire_on_commit=False) as session:
            with session.begin():
                result = work(session)
                writes = not engine.get_execution_options().get("triage_read_only", False)
                still_there = session.connection().info.get(STILL_THERE) if writes else None
            if still_there is not None:  # asked after the commit: what went into a file without a name is lost
                still_there()
            return result


@contextmanager
def _patient(session: Session) -> Iterator[None]:
    """Wait for a Postgres server as long as a whole table takes."""
    connection: Any = session.connection().connection.dbapi_connection
    if not hasattr(connection, "answer_seconds"):
        yield
        return
    connection.answer_seconds = _WHOLE_TABLE_SECONDS
    try:
        yield
    finally:
        connection.answer_seconds = None


@contextmanager
def telling_when_away() -> Iterator[None]:
    """Turn a driver's error that means "the database is away" into `WorklistUnavailableError`."""
    try:
        yield
    except SQLAlchemyError as error:
        if _is_away(error):
            if is_refused(error):
                raise WorklistUnavailableError(
                    f"the worklist database refuses its role something: {_first_line(error)}",
                    remedy="let its superuser run deploy/postgres/grants.sql again; senders retry",
                ) from error
            raise WorklistUnavailableError(
                f"the worklist database did not answer: {_first_line(error)}",
                remedy="see that the database of [database] url runs and has room; senders retry",
            ) from error
        raise


def changed(session: Session, statement: Executable, parameters: Mapping[str, object] | None = None) -> int:
    """How many rows `statement` changed."""
    return cast("CursorResult[tuple[object]]", session.execute(statement, parameters)).rowcount


def _sqlstate(error: BaseException | None) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def is_refused(error: BaseException | None) -> bool:
    """Whether the role may not do what was asked (42501, insufficient_privilege)."""
    return _sqlstate(error) == "42501"


def _is_lost_race(error: IntegrityError) -> bool:
    """Whether another transaction inserted the same key first (23505); SQLite's one writer cannot lose it."""
    return _sqlstate(error) == "23505"


def _is_away(error: SQLAlchemyError) -> bool:
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    # A damaged or foreign SQLite file is a plain DatabaseError.
    return type(error) is DatabaseError or _sqlstate(error) in _AWAY


def _first_line(error: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and its parameters (they may name a patient)."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).splitlines() or [type(cause).__name__])[0]
