"""A copy of the worklist's database as it is at one instant, while others go on writing to it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from triage_agent.domain.errors import TriageError, WorklistUnavailableError

SQLITE_FILE = "triage.db"


def is_sqlite(url: str) -> bool:
    """Whether the database at `url` is a file that this module can copy."""
    return make_url(url).get_backend_name() == "sqlite"


def copy_database(url: str, target: Path) -> None:
    """Copy the SQLite database at `url` to the file `target`; returns when it is on the disk.

    By SQLite's backup interface in one step: what was committed before is in it, of what comes after all or nothing of
    a transaction.

    Raises:
        WorklistUnavailableError: there is no database, or it cannot be read.
        TriageError: the copy is damaged.
    """
    path = make_url(url).database or ""
    if not Path(path).is_file():
        raise WorklistUnavailableError(
            f"there is no worklist at {path}", remedy="check [database] url, and which configuration is read (--config)"
        )
    _copy(Path(path), target)


def put_back(source: Path, url: str) -> None:
    """Copy a backup to where `url` has its SQLite file, which must not exist.

    Raises:
        WorklistUnavailableError: there is no backup, or it cannot be read.
        TriageError: the copy is damaged.
    """
    if not source.is_file():
        raise WorklistUnavailableError(f"there is no {source}", remedy="name the folder that `db backup` made")
    final = Path(make_url(url).database or "")
    final.parent.mkdir(parents=True, exist_ok=True)
    _copy(source, final)


def _copy(source: Path, final: Path) -> None:
    partial = final.with_name(f"{final.name}.part")
    partial.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(partial)) as written:
            read.backup(written)
            (state,) = written.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise WorklistUnavailableError(f"the database cannot be copied: {error}", remedy="check both disks") from error
    if state != "ok":
        raise TriageError(f"the copy of the database is damaged: {state}", remedy="check the database's disk")
    descriptor = os.open(partial, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    partial.replace(final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
