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


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server on a socket in a folder of its own; yields the address of its first database."""
    initdb, postgres = postgres_program("initdb"), postgres_program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="triage-pg-"))  # short: a socket's path has at most 107 characters
    identity = _ordinary_user(folder)
    data = str(folder / "data")
    create = [initdb, "-D", data, "--username", "triage", "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
    serve = [postgres, "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        output = {"cwd": folder, "stdout": log, "stderr": log}
        try:
            subprocess.run(create, check=True, timeout=_START_SECONDS, **output, **identity)
            # Should the tests be killed, so is the server.
            server = subprocess.Popen(serve, preexec_fn=_die_with_parent, **output, **identity)  # noqa: PLW1509
            try:
                _wait_until_it_answers(folder)
                yield f"postgresql+psycopg://triage@/postgres?host={folder}"
            finally:
                server.send_signal(signal.SIGQUIT)  # at once: nothing in it is kept
                server.wait(timeout=60)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    finally:
        admin.dispose()
