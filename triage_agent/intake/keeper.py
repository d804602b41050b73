"""What receiving asks of a spool, wherever it keeps its files: in a folder, or in an object store."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from triage_agent.domain.study import InstanceHeader
from triage_agent.intake.durable import Buffer, Unfinished
from triage_agent.intake.spool import Stored


class Keeper(Protocol):
    """A spool. What refuses raises `StorageExhaustedError`, and leaves nothing behind."""

    def write(self, encoded: Buffer, header: InstanceHeader, *, source: str) -> Stored:
        """Keep a data set as it came, behind file meta information; returns when it is durable (promise 1)."""

    def begin(self) -> Unfinished:
        """An unfinished file for a data set that is too long for memory; `adopt` or `quarantine_file` finishes it."""

    def adopt(self, file: Unfinished, header: InstanceHeader, *, sha256: str, size: int) -> Stored:
        """Keep a data set that came into `file`, behind file meta information; returns when it is durable (promise 1).

        `sha256` and `size` are the data set's.
        """

    def quarantine(self, encoded: Buffer, reason: str, note: Mapping[str, object]) -> str:
        """Keep bytes that cannot go on the worklist, with a note beside them; returns their path in the spool."""

    def quarantine_file(
        self, file: Unfinished, reason: str, note: Mapping[str, object], *, sha256: str, data_set_offset: int
    ) -> str:
        """As `quarantine`, for a data set that came into `file`; the note says at which offset it begins there."""

    def set_aside(self, path: str, reason: str, note: Mapping[str, object]) -> str:
        """Move an instance to quarantine, with a note beside it; returns its new path in the spool."""

    def check_room(self, size: int = 0) -> None:
        """Raise `StorageExhaustedError` if there is no room for `size` more bytes."""

    def check_ready(self) -> None:
        """Raise `StorageExhaustedError` unless an instance could be kept now."""

    def instances(self) -> Iterator[str]:
        """Paths of every kept instance, one at a time, in the order of their characters."""

    def dated_instances(self) -> Iterator[tuple[datetime, str]]:
        """The same, each with when it was written."""

    def dated_set_aside(self) -> Iterator[tuple[datetime, str]]:
        """Instances that were moved to quarantine, each with when it was written."""

    def opened(self, path: str) -> AbstractContextManager[Path]:
        """A file of this machine that has what is kept under `path`; it is there as long as the context.

        Raises:
            FileNotFoundError: nothing is kept there.
            OSError: it cannot be read.
        """

    def remove_stale(self) -> int:
        """Remove what writers that are gone had not finished; returns how many."""
