"""Room that is kept for the day on which the disk is full: a SQLite database cannot even say then what may be deleted.

Its log grows before the database does, and is only emptied into it where there is room for both. So a file beside the
database holds some, is given up when a transaction finds none, and made again when there is room.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import structlog
from sqlalchemy import Engine

log = structlog.get_logger(__name__)

_SUFFIX = "-reserve"
_TIMES = 4  # as much must be free as it takes, before it is made


def is_full(error: BaseException | None) -> bool:
    """Whether SQLite found no room: for the database, its log, or the index of the log, which is made at opening."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def give_up(engine: Engine) -> bool:
    """Give the room away; whether there was any. Nothing is kept beside a Postgres server's database."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return False
    try:
        Path(f"{engine.url.database}{_SUFFIX}").unlink()
    except OSError:
        return False
    log.error("disk_full_reserve_given_up", remedy="free disk space: it is made again by itself")
    return True


class Reserve:
    """The file beside a SQLite database."""

    def __init__(self, database: Path, size: int) -> None:
        """`size` in bytes; 0 for none."""
        self._file = Path(f"{database}{_SUFFIX}")
        self._size = size

    def keep(self) -> None:
        """Make it where it is not, or not of its size, and where there is plenty of room."""
        if self._there() == self._size:
            return
        with suppress(OSError):  # no room after all, or none of ours: as without it
            self._file.unlink(missing_ok=True)
            disk = os.statvfs(self._file.parent)
            if self._size and disk.f_bavail * disk.f_frsize >= _TIMES * self._size:
                self._make()

    def _there(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def _make(self) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
        except OSError:
            self._file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
