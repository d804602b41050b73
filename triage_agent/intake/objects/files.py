"""Reads what a spool in an object store has: files of this machine, fetched once and kept for a while."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from triage_agent.intake.objects.ahead import name_of
from triage_agent.intake.objects.cache import Cache
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import ObjectStore, StoreAwayError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds without a request to a store that is away


class Reach:
    """Whether the store answers: while it does not, nobody waits for it but one who tries now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pause = 0.0
        self._until = 0.0
        self._why = ""

    @property
    def away(self) -> str:
        """Why it is away; empty where it was not seen to be."""
        with self._lock:
            return self._why

    def ask(self, action: Callable[[], _T]) -> _T:
        """What `action` returns.

        Raises:
            StoreAwayError: the store is away, or was a moment ago, and is not asked.
        """
        with self._lock:
            now = self._clock()
            if self._why and now < self._until:
                raise StoreAwayError(self._why)
            self._until = now + self._pause  # others do not try while this one does
        try:
            done = action()
        except StoreAwayError as error:
            self._failed(error)
            raise
        except FileNotFoundError:
            self._answered()  # that it has no such object
            raise
        self._answered()
        return done

    def _answered(self) -> None:
        with self._lock:
            if self._why:
                log.info("object_store_is_back")
            self._pause, self._why = 0.0, ""

    def _failed(self, error: StoreAwayError) -> None:
        with self._lock:
            if not self._why:
                log.error("object_store_away", error=error.message)
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._until, self._why = self._clock() + self._pause, error.message


class Files:
    """The store's objects as files; safe to use from many threads."""

    def __init__(self, store: ObjectStore, cache: Cache, ahead: Path) -> None:
        """`ahead`: this machine's write-ahead folder, where it has one: what waits there is read there."""
        self.store = store
        self.cache = cache
        self.reach = Reach()
        self._ahead = ahead

    @contextmanager
    def opened(self, path: str) -> Iterator[Path]:
        """A file that has what is kept under a path of the spool, as long as the context.

        Raises:
            FileNotFoundError: the store has no such object, and this machine no such file.
            DamagedError: what the store has is not what its name says.
            StoreAwayError: the store is away.
            OSError: this machine's disk refuses.
        """
        machine, key = split_path(path)
        waits = self._ahead / key if machine is not None and machine == name_of(self._ahead) else None
        if waits is not None:
            self.cache.link(key, waits)  # so that it stays when it goes from there
        with self.cache.opened(key, lambda file: self._fetch(key, waits, file)) as file:
            yield file

    def _fetch(self, key: str, waits: Path | None, file: Path) -> None:
        """From the store; from here, where it waits here and the two folders are on different disks."""
        try:
            if waits is not None:
                shutil.copyfile(waits, file)
                return
        except FileNotFoundError:
            pass  # the store has it by now
        self.reach.ask(lambda: self.store.fetch(key, file))
