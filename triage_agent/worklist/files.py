"""Whether SQLite's files still lie where they were opened.

A file that was removed or replaced goes on taking commits from whoever has it open, and is gone when they end: such a
commit must never be acknowledged (promise 1). With write-ahead logging the same holds of the log, and of the index of
it that processes share.
"""

import os
from pathlib import Path

from triage_agent.domain.errors import WorklistUnavailableError

_PARTS = ("", "-wal", "-shm")

# Device and inode of each part; None where it was not there.
Identity = tuple[tuple[int, int] | None, ...]


class DatabaseFiles:
    """The files of one SQLite database, as the first connection to it found them."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # another working directory is no reason
        self._database: tuple[int, int] | None = None

    def look(self) -> Identity:
        """What lies there now.

        Raises:
            WorklistUnavailableError: it is another database than the one that we opened first, or none.
        """
        found = tuple(_identity(f"{self.path}{part}") for part in _PARTS)
        if self._database is not None and found[0] != self._database:
            raise self._gone()
        return found

    def opened(self, before: Identity) -> Identity:
        """What a connection has open that was made since `before`.

        Raises:
            WorklistUnavailableError: the database was replaced meanwhile, or since the first connection.
        """
        found = self.look()
        if before[0] is not None and before[0] != found[0]:
            raise self._gone()
        self._database = found[0]
        return found

    def require(self, opened: Identity) -> None:
        """Raise `WorklistUnavailableError` unless what a connection has open still lies there."""
        found = self.look()
        if any(was is not None and was != now for was, now in zip(opened, found, strict=True)):
            raise self._gone()

    def _gone(self) -> WorklistUnavailableError:
        return WorklistUnavailableError(
            f"{self.path} or its -wal or -shm was removed or replaced while it was in use",
            remedy="put it back; if it is lost, stop the agent and run `triage-agent db rebuild`",
        )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - three of them a transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
