"""One guard against warnings for every thread: what reads foreign headers meets faults that it is there to bear."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _Silence:
    """Turns warnings off while anybody is inside; counted, since `warnings.catch_warnings` alone is not thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_silence = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks about non-conforming values from leaving as warnings, in any number of threads."""
    _silence.enter()
    try:
        yield
    finally:
        _silence.leave()
