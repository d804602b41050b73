"""Brings the object store what waits for it on this machine: the longest first, as often as it takes."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.intake.objects.ahead import Held
from triage_agent.intake.objects.cache import data_set_digest
from triage_agent.intake.objects.port import StoreAwayError
from triage_agent.intake.objects.spool import ObjectSpool
from triage_agent.intake.part10 import FileMeta, decode_preamble
from triage_agent.intake.reading import START, mapped

log = structlog.get_logger(__name__)

_LOCK = ".uploading"  # of several processes on this machine one uploads
_REGISTERED = timedelta(minutes=1)  # so long after it was written a file's row is there, or nothing was acknowledged
_AT_ONCE = 200  # files a step, since a stop waits for the step
_AGAIN = timedelta(hours=1)  # a damaged file is looked at again

Adopt = Callable[[str, datetime], str]
"""Registers an object, by its key, as received at a time, where the worklist does not know it."""


class Uploader:
    """A loop's step. Each instance is put, then its row says so, then its file here goes.

    A crash in between repeats what was done, which is harmless: names are digests.
    """

    def __init__(
        self, spool: ObjectSpool, worklist: Worklist, clock: Clock, *, adopt: Adopt, walk: Callable[[], None]
    ) -> None:
        """`walk` brings spool and worklist to agree, where that could not be done at the start."""
        self._spool = spool
        self._worklist = worklist
        self._clock = clock
        self._adopt = adopt
        self._walk = walk
        self._walks = False  # once the store is back
        self._damaged: dict[str, datetime] = {}  # when it was found so
        self.waiting = (0, 0.0)  # what waits, and the seconds since the first of it was written: for metrics

    def begin(self) -> None:
        """Bring spool and worklist to agree now; where the store is away, as soon as it is back.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        try:
            self._spool.reach.ask(self._spool.store.probe)
            self._walk()
        except StoreAwayError as error:
            log.warning("spool_not_walked_yet", error=error.message)
            self._walks = True

    def step(self) -> bool:
        """Upload what waits, as long as the store takes it; False: there is nothing more to do now.

        Raises:
            WorklistUnavailableError: the database is away; what it does not know is put again.
        """
        waiting = self._spool.ahead.waiting()
        self._tell(waiting)
        if not waiting and not self._walks:
            return False
        with _alone(self._spool.ahead.root / _LOCK) as alone:
            if not alone:
                return False
            with suppress(StoreAwayError):  # it is in the log, once
                self._bring([held for held in waiting if not self._is_damaged(held)][:_AT_ONCE])
        left = self._spool.ahead.waiting()
        self._tell(left)
        if self._spool.reach.away:
            return False
        return len(waiting) > len(left) > 0

    def _bring(self, waiting: list[Held]) -> None:
        self._spool.reach.ask(self._spool.store.probe)
        for held in waiting:
            try:
                self._upload(held)
            except FileNotFoundError:
                continue  # retention, or another process, had it
            except StoreAwayError:
                raise
            except (OSError, StorageExhaustedError) as error:
                log.error("held_file_left", path=held.key, error=type(error).__name__)  # noqa: TRY400 - the disk's fault
        if self._walks:
            self._walk()
            self._walks = False

    def _upload(self, held: Held) -> None:
        if not held.key.startswith("incoming/"):
            body = mapped(held.file, 0)
            self._spool.reach.ask(lambda: self._spool.store.put(held.key, body))
            self._spool.ahead.forget(held)
            return
        if (checked := self._checked(held)) is None:
            return
        meta, digest = checked
        body = mapped(held.file, 0)
        self._spool.reach.ask(lambda: self._spool.store.put(held.key, body, sha256=digest))
        if self._is_registered(held, meta):
            self._spool.cache.link(held.key, held.file)
            self._spool.ahead.forget(held)
            log.info("held_instance_uploaded", path=held.key)

    def _checked(self, held: Held) -> tuple[FileMeta, str] | None:
        """What the file says it is, and its data set's digest; None where its bytes are not those that were kept.

        Such a file stays, and is told: it may be mended from where it came.
        """
        with held.file.open("rb") as opened:
            meta = decode_preamble(memoryview(opened.read(START)))
        digest = data_set_digest(held.file)
        if meta is None or digest is None:
            self._damaged[held.key] = self._clock()
            log.error("held_file_damaged", path=held.key)
            return None
        return meta, digest

    def _is_damaged(self, held: Held) -> bool:
        """Whether it was found so, not long ago."""
        found = self._damaged.get(held.key)
        return found is not None and self._clock() - found < _AGAIN

    def _is_registered(self, held: Held, meta: FileMeta) -> bool:
        """Whether its row says that the store has it, or it needs none; a new file may be about to get its row."""
        path = self._spool.ahead.path_of(held.key)
        if self._worklist.move_original(meta.sop_instance_uid, path, held.key):
            return True
        if self._clock() - held.since < _REGISTERED:
            return False
        became = self._adopt(held.key, held.since)  # nobody was told that it is kept, or its instance had come before
        self._worklist.move_original(meta.sop_instance_uid, path, held.key)  # who registered it meanwhile
        return became != "left"

    def _tell(self, waiting: list[Held]) -> None:
        first = min((held.since for held in waiting), default=None)
        self.waiting = (len(waiting), (self._clock() - first).total_seconds() if first else 0.0)


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether no other process of this machine uploads, as long as the context."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
