"""A throw-away Postgres server from Debian's binaries, and databases in it."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, make_url, text
from support.programs import require_program

_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h
_START_SECONDS = 120


def postgres_program(name: str) -> str:
    """The newest installed `name` (initdb, postgres): Debian keeps them out of PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return require_program(*(str(path) for path in reversed(candidates)), name)


class Cluster:
    """A server on a socket in a folder of its own, that tests may stop and start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._identity = _ordinary_user(folder)
        self._log = (folder / "log").open("wb")
        self._server: subprocess.Popen | None = None
        self._data = str(folder / "data")
        self.url = f"postgresql+psycopg://triage@/postgres?host={folder}"

    def create(self) -> None:
        """Make its files."""
        initdb = [postgres_program("initdb"), "-D", self._data, "--username", "triage", "--auth", "trust"]
        subprocess.run(
            [*initdb, "--encoding", "UTF8", "--no-sync"], check=True, timeout=_START_SECONDS, **self._surroundings()
        )

    def start(self) -> None:
        """Run; returns when it answers."""
        serve = [postgres_program("postgres"), "-D", self._data, "-k", str(self._folder)]
        # Should the tests be killed, so is the server.
        self._server = subprocess.Popen(
            [*serve, "-c", "listen_addresses=", "-c", "fsync=off"],
            preexec_fn=_die_with_parent,  # noqa: PLW1509
            **self._surroundings(),
        )
        _wait_until_it_answers(self._folder)

    def stop(self) -> None:
        """At once, as `pg_ctl stop -m immediate`: what was committed is recovered at the next start."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(timeout=60)
            self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it runs: connections stand, and nobody answers."""
        postmaster = self._server.pid
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        processes = [postmaster, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It is stopped at once, and starts again."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def remove(self) -> None:
        """Leave nothing behind."""
        try:
            self.stop()
        finally:
            self._log.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _surroundings(self) -> dict:
        return {"cwd": self._folder, "stdout": self._log, "stderr": self._log, **self._identity}


@contextmanager
def postgres_cluster() -> Iterator[Cluster]:
    """A running server."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="triage-pg-")))  # short: a socket's path has at most 107 characters
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server; yields the address of its first database."""
    with postgres_cluster() as cluster:
        yield cluster.url


def _ordinary_user(folder: Path) -> dict:
    """Whom to run as in `folder`: Postgres refuses to be root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT)


def _wait_until_it_answers(folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(folder), user="triage", dbname="postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def postgres_database(server_url: str, name: str) -> Iterator[str]:
    """An empty database of its own; yields its address."""
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    try:
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    finally:
        admin.dispose()
