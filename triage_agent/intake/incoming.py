"""A data set while it comes: in memory as long as it is small, else in an unfinished file of the spool."""

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.study import InstanceHeader
from triage_agent.domain.uids import is_uid
from triage_agent.intake.durable import Buffer, Unfinished
from triage_agent.intake.keeper import Keeper
from triage_agent.intake.part10 import encode_preamble
from triage_agent.intake.spool import Stored

_IN_MEMORY = 1 << 18  # bytes; what is longer goes to disk as it comes
_LOOK_EVERY = 16 << 20  # bytes written between two looks at the low-water mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known of a data set before it comes: its C-STORE request, presentation context and sender."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source: str

    @property
    def preamble(self) -> bytes:
        """What a spool file starts with; empty where the UIDs are none, and the data set can only go to quarantine."""
        if not all(map(is_uid, (self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid))):
            return b""
        return encode_preamble(
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
            transfer_syntax_uid=self.transfer_syntax_uid,
            source=self.source,
        )


class Memory:
    """So many bytes for all data sets that come at once; safe to use from many threads."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there were so many left; they are taken then."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._lock:
            self._left += size


class Incoming:
    """Takes a data set's fragments, then gives it a place in the spool; used by one thread at a time.

    A disk that refuses meanwhile is told of at the end: what still comes is counted and dropped, so that the sender
    gets an answer that it understands in place of an aborted association.

    Attributes:
        size: bytes that came.
    """

    def __init__(self, spool: Keeper, request: Request, memory: Memory) -> None:
        self.request = request
        self.size = 0
        self._spool = spool
        self._memory = memory
        self._held = bytearray()
        self._file: Unfinished | None = None
        self._data_set_offset = 0  # in the file
        self._digest = hashlib.sha256()  # of what is in the file
        self._refusal: StorageExhaustedError | None = None
        self._looked_at = 0

    def write(self, fragment: Buffer) -> int:
        """Take the next bytes; returns how many, and never raises `StorageExhaustedError`."""
        self.size += len(fragment)
        if self._refusal is None:
            try:
                self._append(fragment)
            except StorageExhaustedError as error:
                self._refusal = error
                self.close()
        return len(fragment)

    def view(self) -> memoryview:
        """The data set; its file is mapped, not read.

        Raises:
            StorageExhaustedError: the disk refused some of it.
        """
        self._check()
        if self._file is None:
            return memoryview(self._held).toreadonly()
        return self._file.view(self._data_set_offset)

    def keep(self, header: InstanceHeader) -> Stored:
        """Give the data set its place; returns when it is durable (promise 1).

        Raises:
            StorageExhaustedError: there is no room, or the disk refuses or refused.
        """
        self._check()
        if self._file is None:
            return self._spool.write(self._held, header, source=self.request.source)
        return self._spool.adopt(self._file, header, sha256=self._digest.hexdigest(), size=self.size)

    def quarantine(self, reason: str, note: Mapping[str, object]) -> str:
        """Keep the data set where no study is, with a note; returns its path in the spool.

        Raises:
            StorageExhaustedError: there is no room, or the disk refuses or refused.
        """
        self._check()
        if self._file is None:
            return self._spool.quarantine(self._held, reason, note)
        return self._spool.quarantine_file(
            self._file, reason, note, sha256=self._digest.hexdigest(), data_set_offset=self._data_set_offset
        )

    def close(self) -> None:
        """Let go of everything that was not kept; doing it again does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(StorageExhaustedError):  # then it stays, and the next start removes it
                file.close()
        self._release()

    def _append(self, fragment: Buffer) -> None:
        if self._file is None:
            small = len(self._held) + len(fragment) <= _IN_MEMORY
            if small and self._memory.take(len(fragment)):
                self._held += fragment
                return
            self._file = self._spool.begin()
            preamble = self.request.preamble
            self._data_set_offset = len(preamble)
            self._digest.update(self._held)
            self._file.append(preamble, self._held)
            self._release()
        self._digest.update(fragment)
        self._file.append(fragment)
        if self.size - self._looked_at >= _LOOK_EVERY:
            self._looked_at = self.size
            self._spool.check_room()

    def _release(self) -> None:
        self._memory.give_back(len(self._held))
        self._held = bytearray()

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal
