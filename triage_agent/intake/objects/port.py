"""What the spool asks of an object store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from triage_agent.domain.errors import StorageExhaustedError


class StoreAwayError(StorageExhaustedError):
    """The object store does not answer, or does not do what it was asked; the same may work later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """An object.

    Attributes:
        key: below the spool's prefix.
        size: in bytes.
        modified: when it was put.
        sha256: of the data set in it, as whoever put it noted; empty where nobody did, and in listings.
    """

    key: str
    size: int
    modified: datetime
    sha256: str = ""


class ObjectStore(Protocol):
    """A bucket and a prefix in it; may be used by several threads.

    Every method raises `StoreAwayError` when the store does not answer in its time, or refuses.
    """

    def put(self, key: str, body: memoryview, *, sha256: str = "") -> bool:
        """Put an object; returns when the store has said, and shown, that it has it.

        With `sha256`, of the data set in it, an object that is there with the same is left as it is: False then.
        """

    def put_new(self, key: str, body: memoryview) -> bool:
        """Put an object where nothing is; False, and nothing changed, where something is."""

    def head(self, key: str) -> ObjectInfo | None:
        """What is there; None where nothing is."""

    def fetch(self, key: str, into: Path) -> None:
        """Write an object into a new file, a piece at a time.

        Raises:
            FileNotFoundError: there is no such object, and the store is there.
            OSError: the file cannot be written.
        """

    def listed(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose keys begin so, in the order of their keys' characters; read as they are consumed."""

    def copy(self, key: str, to: str) -> None:
        """Put an object under another key, too.

        Raises:
            FileNotFoundError: there is no such object.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is none."""

    def remove_unfinished(self) -> int:
        """Let go of uploads that were begun a day ago and never finished; returns how many."""

    def probe(self) -> None:
        """Return if the store answers."""
