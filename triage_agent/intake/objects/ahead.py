"""What waits on this machine for the object store: a folder like a local spool, as durable, with a name of its own."""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from triage_agent.intake.durable import DurableStore, refusing
from triage_agent.intake.objects.names import held_path
from triage_agent.intake.spool import Spool

MACHINE = ".machine"
"""The file that has the folder's name: 16 hexadecimal digits, in the rows of what waits in it."""

_NAME = re.compile(rb"[0-9a-f]{16}")
_NOTE = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file that waits.

    Attributes:
        key: of the object that it will be.
        file: where it is.
        since: when it was written.
    """

    key: str
    file: Path
    since: datetime


class WriteAhead:
    """The folder; whoever listens on this machine uses it, and it belongs to no other machine."""

    def __init__(self, root: Path, low_water_percent: float) -> None:
        """Make it where it is missing.

        Raises:
            StorageExhaustedError: the disk refuses.
        """
        self.spool = Spool(root, low_water_percent, shared=True)  # listener processes have it together
        self.machine = _named(root)

    @property
    def root(self) -> Path:
        """Where it is."""
        return self.spool.root

    def path_of(self, key: str) -> str:
        """The path, in rows, of what waits here to become the object `key`."""
        return held_path(self.machine, key)

    def waiting(self) -> list[Held]:
        """Everything that waits, the longest first; a note behind what it is about."""
        return sorted(held_in(self.root), key=lambda one: (one.since, one.file.suffix == _NOTE, one.key))

    def forget(self, held: Held) -> None:
        """Delete what the object store has; its folder, too, where it was the last."""
        with suppress(FileNotFoundError):
            held.file.unlink()
        with suppress(OSError):
            held.file.parent.rmdir()


def name_of(root: Path) -> str | None:
    """The name of a write-ahead folder, for who only reads; None where there is none yet."""
    try:
        found = (root / MACHINE).read_bytes()
    except OSError:
        return None
    return found.decode() if _NAME.fullmatch(found) else None


def _named(root: Path) -> str:
    """The folder's name, which is written where it has none: durable before any row has it."""
    with refusing():
        descriptor = os.open(root / MACHINE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # several processes may begin at once
            found = os.pread(descriptor, 64, 0)
            if not _NAME.fullmatch(found):
                found = uuid.uuid4().hex[:16].encode()
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, found, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    DurableStore(root).confirm(root / MACHINE)
    return found.decode()


def held_in(root: Path) -> Iterator[Held]:
    """Everything that waits in a write-ahead folder, in no order; nothing where there is none."""
    for name in ("incoming", "quarantine"):
        for folder, _, files in os.walk(root / name):
            for file in (Path(folder) / one for one in files):
                with suppress(FileNotFoundError):  # set aside, or forgotten, meanwhile
                    since = datetime.fromtimestamp(file.stat().st_mtime, UTC)
                    yield Held(key=file.relative_to(root).as_posix(), file=file, since=since)
