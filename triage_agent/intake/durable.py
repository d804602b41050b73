"""Files that survive a power cut once the call has returned: write, fsync, rename, fsync the folders."""

import fcntl
import mmap
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake.writeback import begin_to_write

Buffer = bytes | bytearray | memoryview

_TEMPORARY = "tmp"
_MOST_REMEMBERED = 10_000  # folders known to be durable; a study's is used for minutes
_BEGIN_EVERY = 1 << 20  # bytes; a disk is kept busy with so much at a time while more comes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class DurableStore:
    """A folder whose files appear whole, under their final name, or not at all.

    Every method raises `StorageExhaustedError` when the file system refuses, and leaves nothing behind then.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        """`shared`: other processes make and remove folders there, too, so that none is taken for durable."""
        self.root = root
        self._most_remembered = 0 if shared else _MOST_REMEMBERED
        self._temporary = root / _TEMPORARY
        self._durable: dict[Path, None] = {}  # folders whose entry in their parent is on disk, oldest first
        self._lock = threading.Lock()
        with refusing():
            self._temporary.mkdir(parents=True, exist_ok=True)
            for folder in (root, root.parent):
                _sync_folder(folder)
        for folder in root.parent.resolve().parents:
            with suppress(OSError):  # not ours to read; then an admin made it, long before
                _sync_folder(folder)

    def put(self, final: Path, parts: Sequence[Buffer]) -> None:
        """Write `parts` one after another as `final`; returns when they are durable under that name."""
        with self.begin() as unfinished:
            unfinished.append(*parts)
            self.finish(unfinished, final)

    def begin(self) -> "Unfinished":
        """A new file that grows, and that is gone unless it is finished; use it as a context, or close it."""
        return Unfinished(self._temporary)

    def finish(self, unfinished: "Unfinished", final: Path) -> None:
        """Give a file that has grown its name; returns when its bytes are durable under that name."""
        with refusing():
            unfinished.sync()
            self._make(final.parent)
            unfinished.rename(final)
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
        with self.begin() as probe:
            probe.append(b"\0")
            probe.sync()

    def remove_stale(self) -> int:
        """Remove what writers that are gone had not finished; returns how many."""
        removed = 0
        for entry in os.scandir(self._temporary):
            removed += _removed_if_abandoned(entry.path)
        return removed

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
            while len(self._durable) > self._most_remembered:
                del self._durable[next(iter(self._durable))]


class Unfinished:
    """A file without a name yet: it grows in the store's folder for such files, and goes with its writer.

    Every method raises `StorageExhaustedError` when the file system refuses.
    """

    def __init__(self, folder: Path) -> None:
        with refusing():
            self._temporary: Path | None
            self._temporary, self._descriptor = _locked_file(folder)
        self._size = self._begun = 0  # bytes written, and those of them that are on their way to the disk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def append(self, *parts: Buffer) -> None:
        """Write `parts` behind what is there."""
        with refusing():
            _write_all(self._descriptor, parts)
        self._size += sum(map(len, parts))
        if self._size - self._begun >= _BEGIN_EVERY:
            begin_to_write(self._descriptor, self._begun, self._size - self._begun)
            self._begun = self._size

    def view(self, start: int) -> memoryview:
        """The file's bytes from `start`, mapped: what nobody looks at is in no memory. The file must not be empty."""
        with refusing():
            return memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))[start:]

    def sync(self) -> None:
        """Return when every byte is on disk."""
        with refusing():
            os.fsync(self._descriptor)

    def rename(self, final: Path) -> None:
        """Give it its name; it stays when it is closed."""
        if self._temporary is None:
            raise ValueError("the file has its name already, or is gone")
        with refusing():
            self._temporary.rename(final)
        self._temporary = None

    def close(self) -> None:
        """Let go of the file, and remove it unless it has its name; doing it again does nothing."""
        with refusing():
            try:
                if self._temporary is not None:
                    self._temporary.unlink(missing_ok=True)
                    self._temporary = None
            finally:
                if self._descriptor >= 0:
                    descriptor, self._descriptor = self._descriptor, -1
                    os.close(descriptor)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a file system's refusal (full, over quota, read-only, broken) into one that the sender will retry."""
    try:
        yield
    except OSError as error:
        raise StorageExhaustedError(
            f"the spool cannot be written: {error.strerror or error}", remedy="free space or mend the disk"
        ) from error


def _locked_file(folder: Path) -> tuple[Path, int]:
    """An empty file that is locked until its descriptor is closed.

    The lock is held until the writer ends, however it ends: that is how `remove_stale` knows it from a dead one's.
    Another process that starts may look at the file before it is locked, and remove it: then another is made.
    """
    while True:
        file = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
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
