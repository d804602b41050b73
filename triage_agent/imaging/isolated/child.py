"""A decoder process: reads one file after the other for the process that started it, within limits that kill.

`python -m triage_agent.imaging.isolated.child DESCRIPTOR PARENT MEMORY`: the socket to answer on, the process to end
with, and the most bytes of address space. It imports no torch and holds no lock, connection or secret of its parent's.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import logging
import math
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.isolated import plain, wire
from triage_agent.imaging.isolated.wire import Message, SharedPixels, Word
from triage_agent.imaging.load import Displayable, load_with_header, read_headers

# What decodes is loaded before the first file, so that no file's time is spent on it.
_CODECS = ("gdcm", "openjpeg", "jpeg_ls", "PIL.Image", "PIL.JpegImagePlugin", "pydicom.pixels.decoders")
_PYDICOM = logging.getLogger("pydicom")
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG


def main() -> None:
    """Answer until the parent is gone."""
    descriptor, parent, memory = (int(word) for word in sys.argv[1:4])
    _end_with(parent)
    with suppress(ImportError):  # one codec the less; decoding says so where it is wanted
        for codec in _CODECS:
            importlib.import_module(codec)
    _limit(memory)
    _PYDICOM.addHandler(_out_of_memory)
    _PYDICOM.propagate = False
    with socket.socket(fileno=descriptor) as connection:
        wire.send(connection, Message(Word.READY, b""))
        with suppress(EOFError, ConnectionError):
            _serve(connection)


class _OutOfMemory(logging.Handler):
    """Hears of memory that ran out inside pydicom, which logs what its plug-ins raise and keeps only their words."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note it; nothing is printed."""
        self.heard |= record.exc_info is not None and _is_out_of_memory(record.exc_info[1])


_out_of_memory = _OutOfMemory()


def _end_with(parent: int) -> None:
    """Die with the process that asks, and of nothing that is meant for it (Ctrl-C; systemd tells a whole group)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that was set
        sys.exit(1)


def _limit(memory: int) -> None:
    """Of address space so much, and no core dump: it would hold a patient's image."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _limit_cpu(seconds: float) -> None:
    """From now on: the parent's clock ends a process that waits, the kernel one that loops after its parent died."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _serve(connection: socket.socket) -> None:
    """Answer one request after the other."""
    pixels: SharedPixels | None = None
    while True:
        message = wire.receive(connection)
        if message.memory is not None:
            if pixels is not None:
                pixels.close()
            pixels = SharedPixels(message.memory)
        request = json.loads(message.body)
        _limit_cpu(float(request["seconds"]))
        wire.send(connection, _answer(Path(request["path"]), request, pixels))


def _answer(path: Path, request: dict[str, Any], pixels: SharedPixels | None) -> Message:
    """What became of it; an exception of whatever kind is an answer too."""
    _out_of_memory.heard = False
    try:
        if request["want"] == "header":
            return Message(Word.HEADER, plain.pack_header(read_headers(path)))
        secondary_captures, side = bool(request["secondary_captures"]), request["side"]
        loaded, header = load_with_header(path, secondary_captures=secondary_captures, side=side)
        body = plain.with_header(plain.pack_loaded(loaded), header)
        if not isinstance(loaded, Displayable):
            return Message(Word.SKIPPED, body)
        assert pixels is not None  # noqa: S101 - the first request brings them
        pixels.leave(loaded.image)
        return Message(Word.IMAGE, body)
    except Exception as error:  # noqa: BLE001 - promise 2: whatever a file does, its study has a reason
        said = {
            "message": error.message if isinstance(error, UnreadableImageError) else None,
            "type": type(error).__name__,
            "memory": _out_of_memory.heard or _is_out_of_memory(error),
        }
        return Message(Word.UNREADABLE, json.dumps(said).encode())


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether that is what it came of; libraries wrap it."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    main()
