"""Files that survive a power cut once the call has returned: write, fsync, rename, fsync the folders."""

import fcntl
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from triage_agent.domain.errors import StorageExhaustedError

Buffer = bytes | bytearray | memoryview

_TEMPORARY = "tmp"
_MOST_REMEMBERED = 10_000  # folders known to be durable; a study's is used for minutes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class DurableStore:
    """A folder whose files appear whole, under their final name, or not at all.

    Every method raises `StorageExhaustedError` when the file system refuses, and leaves nothing behind then.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary = root / _TEMPORARY
        self._durable: dict[Path, None] = {}  # folders whose entry in their parent is on disk, oldest first
        self._lock = threading.Lock()
        with refusing():
            self._temporary.mkdir(parents=True, exist_ok=True)
            for folder in (root, root.parent):
                _sync_folder(folder)

    def put(self, final: Path, parts: Sequence[Buffer]) -> None:
        """Write `parts` one after another as `final`; returns when they are durable under that name."""
        with refusing():
            temporary, descriptor = self._create()
            try:
                _fill(descriptor, parts)
                self._make(final.parent)
                temporary.rename(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._sync(final)

    def move(self, file: Path, final: Path) -> None:
        """Give a durable file another name; returns when the new name is durable."""
        with refusing():
            self._make(final.parent)
            file.rename(final)
            self._sync(final)
            _sync_folder(file.parent)

    def confirm(self, final: Path) -> None:
        """Return when a file that somebody else put there is durable under its name."""
        with refusing():
            self._sync(final)

    def prove(self) -> None:
        """Make a file where all files begin, and remove it: the folder is there, and its disk takes writes."""
        with refusing():
            probe, descriptor = self._create()
            try:
                _fill(descriptor, [b"\0"])
            finally:
                probe.unlink(missing_ok=True)  # closed, it is anybody's to remove

    def remove_stale(self) -> int:
        """Remove what writers that are gone had not finished; returns how many."""
        removed = 0
        for entry in os.scandir(self._temporary):
            removed += _removed_if_abandoned(entry.path)
        return removed

    def _create(self) -> tuple[Path, int]:
        """An empty file that is locked until its descriptor is closed.

        The lock is held until the writer ends, however it ends: that is how `remove_stale` knows it from a dead one's.
        Another process that starts may look at the file before it is locked, and remove it: then another is made.
        """
        while True:
            file = self._temporary / f"{os.getpid()}-{uuid.uuid4().hex}"
            descriptor = os.open(file, _NEW, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    return file, descriptor
            except BlockingIOError:
                pass  # the other one removes it
            except OSError:
                os.close(descriptor)
                file.unlink(missing_ok=True)
                raise
            os.close(descriptor)

    def _make(self, folder: Path) -> None:
        """Make a folder and its parents where they are missing, and forget that they were durable before."""
        if folder.is_dir():
            return
        with self._lock:
            self._durable.pop(folder, None)
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)

    def _sync(self, final: Path) -> None:
        """Put `final`'s name on disk, then the names of its folders that are not known to be there."""
        _sync_folder(final.parent)
        folder = final.parent
        unknown = []
        while folder != self.root and folder not in self._durable:
            unknown.append(folder)
            folder = folder.parent
        for created in unknown:
            _sync_folder(created.parent)
        with self._lock:
            for created in unknown:
                self._durable[created] = None
            while len(self._durable) > _MOST_REMEMBERED:
                del self._durable[next(iter(self._durable))]


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a file system's refusal (full, over quota, read-only, broken) into one that the sender will retry."""
    try:
        yield
    except OSError as error:
        raise StorageExhaustedError(
            f"the spool cannot be written: {error.strerror or error}", remedy="free space or mend the disk"
        ) from error


def _fill(descriptor: int, parts: Sequence[Buffer]) -> None:
    """Write `parts` down to the disk, and close."""
    try:
        _write_all(descriptor, parts)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    """Write every byte; the kernel takes at most 2 GiB at a time."""
    left = [memoryview(part).cast("B") for part in parts if len(part)]
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _removed_if_abandoned(path: str) -> bool:
    """Remove a temporary file that no process holds open for writing; whether it was one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink()  # under the lock, so that its writer sees that it is gone
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
