"""Whose an object store is: its id is an object, which a machine repeats on its disk for when the store is away."""

import re
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from triage_agent.intake.belonging import NAME
from triage_agent.intake.durable import DurableStore
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import ObjectStore, StoreAwayError

log = structlog.get_logger(__name__)

_ID = re.compile("[0-9a-f]{32}")


class ObjectHome:
    """See `Home`."""

    def __init__(self, store: ObjectStore, where: str, repeated: Path | None) -> None:
        """`repeated`: the folder that repeats the id, where this machine may receive while the store is away."""
        self._store = store
        self._where = where
        self._repeated = repeated

    def __str__(self) -> str:
        return self._where

    def has_files(self) -> bool:
        """See `Home.has_files`."""
        return next(self._store.listed("incoming/"), None) is not None

    def has_any(self, paths: Sequence[str]) -> bool:
        """See `Home.has_any`."""
        return any(self._store.head(split_path(path)[1]) is not None for path in paths)

    def read_id(self) -> str | None:
        """See `Home.read_id`; while the store is away what it was when this machine last began to receive.

        Raises:
            StoreAwayError: the store is away, and nothing is repeated here.
        """
        try:
            return self._read()
        except StoreAwayError:
            if (known := self._known()) is None:
                raise
            return known

    def mark(self, proposed: str | None, *, anew: bool = False) -> str:
        """See `Home.mark`: of several machines that do it at once, the first has chosen for all."""
        marked = None if anew else self._read()
        if marked is not None:
            return marked
        wanted = proposed or uuid.uuid4().hex
        body = memoryview(wanted.encode())
        if anew or not self._store.put_new(NAME, body):
            found = None if anew else self._read()
            if found is not None:
                return found
            self._store.put(NAME, body)  # what is there is no id
        return wanted

    def settled(self) -> None:
        """See `Home.settled`."""
        if self._repeated is None:
            return
        with suppress(StoreAwayError):  # then what is repeated here was read a moment ago
            if (marked := self._read()) is not None and marked != self._known():
                DurableStore(self._repeated).put(self._repeated / NAME, [marked.encode()])

    def _read(self) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "id"
            try:
                self._store.fetch(NAME, file)
            except FileNotFoundError:
                return None
            return _understood(file)

    def _known(self) -> str | None:
        if self._repeated is None:
            return None
        try:
            return _understood(self._repeated / NAME)
        except OSError:
            return None


def _understood(file: Path) -> str | None:
    with file.open("rb") as opened:
        found = opened.read(64).decode("ascii", "replace")
    return found if _ID.fullmatch(found) else None
