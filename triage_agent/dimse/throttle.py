"""Keeps a peer that knocks all day from filling the log and the audit trail."""

import threading
import time
from collections.abc import Callable

_MOST_KEYS = 1024


class Throttle:
    """Lets `limit` events a key through in each window of `seconds`, and counts those it held back."""

    def __init__(self, limit: int, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[float, int, int]] = {}  # key: (began, let through, held back)

    def admit(self, key: str) -> int | None:
        """How many events of `key` were held back before this one; None when this one is to be held back too."""
        now = self._monotonic()
        with self._lock:
            began, passed, held = self._windows.pop(key, (now, 0, 0))
            if now - began >= self._seconds:
                began, passed = now, 0
            if passed >= self._limit:
                self._keep(key, (began, passed, held + 1))
                return None
            self._keep(key, (began, passed + 1, 0))
            return held

    def _keep(self, key: str, window: tuple[float, int, int]) -> None:
        self._windows[key] = window
        while len(self._windows) > _MOST_KEYS:
            del self._windows[next(iter(self._windows))]
