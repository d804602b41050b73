"""Reads what the spool has by mapping it: a long file takes no memory that the system cannot take back."""

import hashlib
import mmap
from pathlib import Path

START = 4096
"""Bytes that hold a file's meta information."""

_PIECE = 1 << 20


def mapped(file: Path, start: int) -> memoryview:
    """A file's bytes from `start`, mapped; empty where there are none.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        try:
            whole = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return memoryview(b"")
    return memoryview(whole)[start:]


def digest_of(encoded: memoryview) -> str:
    """SHA-256 in hexadecimal, a piece at a time: pages that were read are let go for the next ones."""
    digest = hashlib.sha256()
    mapping = encoded.obj if isinstance(encoded.obj, mmap.mmap) else None
    for start in range(0, len(encoded), _PIECE):
        digest.update(encoded[start : start + _PIECE])
        if mapping is not None:
            mapping.madvise(mmap.MADV_DONTNEED, 0, _whole_pages(len(mapping) - len(encoded) + start))
    return digest.hexdigest()


def _whole_pages(size: int) -> int:
    return size - size % mmap.PAGESIZE
