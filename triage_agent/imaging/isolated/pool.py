"""Decoder processes, lent to whoever reads a file: what a file does to one costs that file, and never the agent."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from triage_agent.domain.errors import DecoderUnavailableError, UnreadableImageError
from triage_agent.imaging.isolated import plain
from triage_agent.imaging.isolated.headers import KeptHeaders, identity
from triage_agent.imaging.isolated.process import PROGRAM, DecoderProcess, EndedError
from triage_agent.imaging.isolated.wire import Message, Word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from triage_agent.imaging.load import Loaded

    _Answer = tuple[Message, NDArray[np.float32] | None]

log = structlog.get_logger(__name__)

_MOST_ANSWERS = 1000  # then a process is replaced: what a codec leaks ends with it
_HEADERS = 256  # those of the last files, since who scores an image then asks for its header: some megabytes
_REMARKS_SECONDS = 60.0  # between two lines about what codecs print
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost: seconds of time, and megabytes of address space of the process that reads it."""

    seconds: float
    memory_mb: int


class Decoders:
    """A `Loader` that reads in other processes, started when they are first needed and replaced when they fail."""

    def __init__(self, limits: Limits, *, most: int = 1, program: Sequence[str] = PROGRAM) -> None:
        """`most` is how many files are read at the same time; `program` starts a decoder process."""
        self._limits = limits
        self._most = most
        self._program = program
        self._changed = threading.Condition()
        self._idle: list[DecoderProcess] = []
        self._lent: set[DecoderProcess] = set()
        self._headers = KeptHeaders(_HEADERS)
        self._closed = False
        self._remarked_at = 0.0
        # The kernel ends a process with the thread that started it, so that they are started by one that stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="decoders")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The process ids of those that run."""
        with self._changed:
            return [process.pid for process in (*self._idle, *self._lent)]

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """See `Loader.load`."""
        file = identity(path)
        answer, image = self._ask(path, "image", secondary_captures=secondary_captures, side=side)
        if image is None and answer.word is not Word.SKIPPED:
            raise self._unreadable(answer)
        said, header = plain.parted(answer.body)
        loaded = plain.unpack_skipped(said) if image is None else plain.unpack_displayable(said, image)
        self._headers.keep(path, file, header)
        return loaded

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`; of a file that was loaded a moment ago no process is asked."""
        if known := self._headers.of(path):
            try:
                return plain.unpack_header(known)
            except ValueError:  # it is asked for by itself, as if none had come along
                self._headers.forget(path)
        answer, _ = self._ask(path, "header")
        if answer.word is not Word.HEADER:
            raise self._unreadable(answer)
        return plain.unpack_header(answer.body)

    def close(self) -> None:
        """End all processes, also those that are reading: whoever waits for one is told that it was not the file."""
        with self._changed:
            self._closed = True
            idle, lent = list(self._idle), list(self._lent)
            self._idle.clear()
            self._changed.notify_all()
        for process in lent:
            process.interrupt()
        for process in idle:
            process.kill()
        self._starter.shutdown()

    def _ask(self, path: Path, want: str, *, secondary_captures: bool = False, side: int | None = None) -> _Answer:
        """The answer about one file, and its image where it has one.

        A file whose process was killed from outside is given a second try.
        """
        request = {
            "want": want,
            "path": os.fspath(path.absolute()),
            "secondary_captures": secondary_captures,
            "side": side,
            "seconds": self._limits.seconds,
        }
        body = json.dumps(request).encode()
        try:
            return self._ask_once(body)
        except EndedError as ended:
            if not ended.by_stranger:
                raise UnreadableImageError(f"reading it {ended.why}") from ended
        try:
            return self._ask_once(body)
        except EndedError as ended:
            raise UnreadableImageError(f"reading it {ended.why}") from ended

    def _ask_once(self, body: bytes) -> _Answer:
        process = self._borrow()
        try:
            answer = process.ask(body, self._limits.seconds)
            image = process.pixels(plain.shape_of(plain.parted(answer.body)[0])) if answer.word is Word.IMAGE else None
        except EndedError as ended:
            self._discard(process)
            if self._closed:
                raise DecoderUnavailableError("the agent is stopping") from None
            log.warning("decoder_replaced", why=ended.why)
            raise
        except BaseException:  # nonsense, or an interrupt: what it would still answer belongs to nobody
            self._discard(process)
            raise
        self._tell_remarks(process)
        self._give_back(process)
        return answer, image

    def _borrow(self) -> DecoderProcess:
        """A process that is ready; waits while all are lent.

        Raises:
            DecoderUnavailableError: none can be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or len(self._lent) < self._most)
            if self._closed:
                raise DecoderUnavailableError("the agent is stopping")
            while self._idle:
                process = self._idle.pop()
                self._lent.add(process)
                if process.lives:
                    return process
                self._lent.discard(process)
                process.kill()
            try:
                process = self._starter.submit(
                    DecoderProcess, self._limits.memory_mb * _MEGABYTE, self._program
                ).result()
            except OSError as error:
                raise _cannot_start(error.strerror or type(error).__name__) from error
            self._lent.add(process)
        try:
            process.wait_ready()
        except EndedError as ended:
            self._discard(process)
            raise _cannot_start(ended.why) from ended
        return process

    def _give_back(self, process: DecoderProcess) -> None:
        if process.answered >= _MOST_ANSWERS:
            self._discard(process)
            return
        with self._changed:
            self._lent.discard(process)
            if not self._closed:
                self._idle.append(process)
            self._changed.notify()

    def _discard(self, process: DecoderProcess) -> None:
        try:
            process.kill()
        finally:
            with self._changed:
                self._lent.discard(process)
                self._changed.notify()

    def _unreadable(self, answer: Message) -> UnreadableImageError:
        """Why a file could not be read, in words for a person."""
        if answer.word is not Word.UNREADABLE:
            raise ValueError(f"{answer.word} is no answer to that")
        said = json.loads(answer.body)
        if said["memory"]:
            return UnreadableImageError(
                f"reading it needs more than {self._limits.memory_mb} MB of memory (worker.decode_memory_mb)"
            )
        if said["message"] is not None:
            return UnreadableImageError(said["message"])
        log.error("decode_failed", error=said["type"])  # its words may name a patient
        return UnreadableImageError(f"the image could not be read ({said['type']})")

    def _tell_remarks(self, process: DecoderProcess) -> None:
        """How much codecs print, once a minute at most; never what."""
        heard, now = process.remarks, time.monotonic()
        if heard.lines and now - self._remarked_at >= _REMARKS_SECONDS:
            self._remarked_at = now
            log.info("decoder_remarks", lines=heard.lines, warnings=heard.warnings, errors=heard.errors)
            heard.lines = heard.warnings = heard.errors = 0


def _cannot_start(why: str) -> DecoderUnavailableError:
    return DecoderUnavailableError(
        f"no decoder process can be started ({why})", remedy="see the machine's limits on processes and memory"
    )
