"""Headers that came with images, kept for who asks for them next."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1 << 16
"""Bytes of a packed header that comes along unasked, and that is kept; real ones have some thousands."""

Identity = tuple[int, int, int, int, int]


def identity(path: Path) -> Identity | None:
    """By which a file is known to be the same, unchanged, behind the same path; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of its last change is the kernel's own: nobody can set it, as one can that of its content.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class KeptHeaders:
    """Packed headers of the last files; may be used by several threads."""

    def __init__(self, most: int) -> None:
        """`most` files."""
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Identity, bytes]] = OrderedDict()

    def keep(self, path: Path, before: Identity | None, header: bytes) -> None:
        """A header that was read of the file that was `before` at that path; not one that is empty, or too large."""
        if before is None or not 0 < len(header) <= LARGEST:
            return
        with self._lock:
            self._kept[os.fspath(path)] = before, header
            self._kept.move_to_end(os.fspath(path))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def of(self, path: Path) -> bytes | None:
        """That of the file that is there now, if it is the one that was read."""
        with self._lock:
            kept = self._kept.get(os.fspath(path))
        return kept[1] if kept is not None and kept[0] == identity(path) else None

    def forget(self, path: Path) -> None:
        """What is kept of a file is of no use."""
        with self._lock:
            self._kept.pop(os.fspath(path), None)
