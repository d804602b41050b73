"""What was read of an object store, on this machine's disk and bounded: decoders are given files."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake.durable import Unfinished
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.reading import START, digest_of, mapped

_TEMPORARY = "tmp"
_FOLDERS = ("incoming", "held", "quarantine")  # the first parts of paths; a reader looks whether they are there
_EMPTIED_TO = 0.9  # of the limit
_FETCHING_SECONDS = 6 * 3600.0
_MOST_KNOWN = 100_000  # names of files that were looked at, in memory


class DamagedError(OSError):
    """An object has other bytes than those that were kept under its name."""


class Cache:
    """A folder of copies, the longest unused of which go when there is no room; several processes may share it.

    Nothing in it was acknowledged for being there: it may be emptied at any time, and is not synced. A copy that this
    process has not made is compared with the digest in its name before it is used.
    """

    def __init__(self, root: Path, limit: int) -> None:
        """`limit` is in bytes; what is being read stays, so that it may be passed by that."""
        self.root = root
        self._limit = limit
        self._size: int | None = None  # about; None until somebody has looked
        self._known: dict[str, None] = {}
        self._lock = threading.Lock()
        for name in (_TEMPORARY, *_FOLDERS):
            (root / name).mkdir(parents=True, exist_ok=True)
        _remove_old(root / _TEMPORARY)

    @contextmanager
    def opened(self, key: str, fetch: Callable[[Path], None]) -> Iterator[Path]:
        """The copy of an object, which `fetch` writes where there is none; it stays as long as the context.

        By a second name, so that it stays also where another process makes room at that moment.

        Raises:
            OSError: the disk refuses; and what `fetch` raises.
        """
        with self.apart() as folder:
            file = folder / Path(key).name
            while not self._named(key, file):
                self._add(key, fetch)
            yield file

    def take(self, key: str, file: Unfinished, size: int) -> None:
        """Have a file that was put into the store as its copy; where that is not possible it is fetched when needed."""
        final = self.root / key
        with suppress(OSError, StorageExhaustedError):
            self._make_room(size)
            final.parent.mkdir(parents=True, exist_ok=True)
            file.rename(final)
            self._added(key, size)

    def link(self, key: str, file: Path) -> None:
        """Have a file of the same disk as a copy, as `take`."""
        final = self.root / key
        with suppress(OSError):
            size = file.stat().st_size
            self._make_room(size)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, final)
            self._added(key, size)

    def drop(self, key: str) -> None:
        """Delete a copy; who reads it goes on."""
        with self._lock:
            self._known.pop(key, None)
        with suppress(OSError):
            (self.root / key).unlink(missing_ok=True)
            (self.root / key).parent.rmdir()

    def _named(self, key: str, file: Path) -> bool:
        """Give the copy a second name; False where there is none, or was a torn one: a power cut may have torn it."""
        try:
            os.link(self.root / key, file)
        except FileNotFoundError:
            return False
        with self._lock:
            known = key in self._known
        if known or data_set_digest(file) is not None:
            self._remember(key)
            os.utime(file)
            return True
        file.unlink()
        (self.root / key).unlink(missing_ok=True)
        return False

    @contextmanager
    def apart(self) -> Iterator[Path]:
        """A folder for what is read and not kept; it goes with the context."""
        folder = self.root / _TEMPORARY / uuid.uuid4().hex
        folder.mkdir(parents=True)  # somebody may have emptied the cache
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _add(self, key: str, fetch: Callable[[Path], None]) -> None:
        final = self.root / key
        with self.apart() as folder:
            fetched = folder / final.name
            fetch(fetched)
            if data_set_digest(fetched) is None:
                raise DamagedError("the object is not what its name says")
            size = fetched.stat().st_size
            self._make_room(size)
            _renamed(fetched, final)
        self._added(key, size)

    def _added(self, key: str, size: int) -> None:
        self._remember(key)
        with self._lock:
            if self._size is not None:
                self._size += size

    def _remember(self, key: str) -> None:
        with self._lock:
            self._known[key] = None
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def _make_room(self, wanted: int) -> None:
        """Evict the longest unused copies that nobody reads, where `wanted` more bytes would be too many."""
        with self._lock:
            if self._size is not None and self._size + wanted <= self._limit:
                return
            found = sorted(_files(self.root))
            left = sum(size for _, size, _ in found)
            target = self._limit if left + wanted <= self._limit else int(self._limit * _EMPTIED_TO) - wanted
            for _, size, file in found:
                if left <= target:
                    break
                if _evicted(file):
                    left -= size
                    self._known.pop(file.relative_to(self.root).as_posix(), None)
            self._size = left


def data_set_digest(file: Path) -> str | None:
    """SHA-256 of the data set in a spool file, in hexadecimal; None where it is not the one that its name says.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        meta = decode_preamble(memoryview(opened.read(START)))
    if meta is None:
        return None
    carried = file.stem.rpartition("-")[2]
    digest = digest_of(mapped(file, meta.data_set_offset))
    return digest if carried and digest.startswith(carried) else None


def _renamed(file: Path, final: Path) -> None:
    """Give it its name; whoever evicts the last file of a folder removes the folder, maybe at this moment."""
    for left in range(3, -1, -1):
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.rename(final)
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


def _remove_old(folder: Path) -> None:
    """What a process that is gone was fetching; nothing that takes hours is fetched."""
    for entry in folder.iterdir():
        with suppress(OSError):
            if entry.stat().st_mtime < time.time() - _FETCHING_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was last used, its size, and where it is."""
    for folder, _, names in chain.from_iterable(os.walk(root / name) for name in _FOLDERS):
        for name in names:
            file = Path(folder) / name
            with suppress(OSError):
                seen = file.stat()
                yield seen.st_mtime, seen.st_size, file


def _evicted(file: Path) -> bool:
    """Delete a copy; who reads it has another name of it. Whether it is gone."""
    try:
        file.unlink(missing_ok=True)
        with suppress(OSError):
            file.parent.rmdir()
    except OSError:
        return False
    return True
