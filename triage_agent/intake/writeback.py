"""Has the kernel begin to write a file that still grows, so that the sync at its end has little left to wait for."""

import ctypes
from collections.abc import Callable

_WRITE = (
    2  # SYNC_FILE_RANGE_WRITE (sync_file_range(2)): begin with what is not being written yet, and wait for none of it
)


def _system_call() -> Callable[[int, int, int, int], int] | None:
    """Linux's own; Python has no name for it. None elsewhere."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call.restype = ctypes.c_int
    return call


_sync_file_range = _system_call()


def begin_to_write(descriptor: int, start: int, size: int) -> None:
    """Begin to write these bytes to disk. Nothing is durable by it, and no error is told: fsync does both."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, size, _WRITE)
