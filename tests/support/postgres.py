"""A throw-away Postgres server from Debian's binaries, and databases in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from support.programs import require_program


def postgres_program(name: str) -> str:
    """The newest installed `name` (initdb, pg_ctl): Debian keeps them out of PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return require_program(*(str(path) for path in reversed(candidates)), name)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server on a socket in a folder of its own; yields the address of its first database."""
    initdb, control = postgres_program("initdb"), postgres_program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="triage-pg-"))  # short: a socket's path has at most 107 characters
    run = _as_ordinary_user(folder)
    data = folder / "data"
    settings = f"-k {folder} -c listen_addresses='' -c max_connections=60 -c fsync=off"
    run(initdb, "--pgdata", data, "--username", "triage", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
    run(control, "--pgdata", data, "--log", folder / "log", "--options", settings, "--wait", "start")
    try:
        yield f"postgresql+psycopg://triage@/postgres?host={folder}"
    finally:
        run(control, "--pgdata", data, "--mode", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _as_ordinary_user(folder: Path):
    """How to run a program in `folder`: Postgres refuses to be root."""
    identity = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres" if _has_user("postgres") else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(*command) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
            **identity,
        )
        if done.returncode != 0:
            log = folder / "log"
            raise RuntimeError(f"{command[0]} failed: {log.read_text() if log.exists() else done.returncode}")

    return run


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


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
