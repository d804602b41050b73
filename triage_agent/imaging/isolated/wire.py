"""What goes between a decoder process and who asks it: words with JSON, and memory that both see, for pixels."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
from enum import Enum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREAMBLE = Struct(">cI")  # the word, and how many bytes of JSON follow
_LARGEST_BODY = 32 << 20  # bytes; real headers have some thousands
_ITEMSIZE = 4  # bytes of a float32


class Word(Enum):
    """What a message is."""

    READY = b"R"  # from the process, once
    REQUEST = b"Q"  # to the process
    IMAGE = b"I"  # answers from here on
    SKIPPED = b"S"
    HEADER = b"H"
    UNREADABLE = b"U"


class Message(NamedTuple):
    """One message; `memory` is a descriptor of memory for pixels, which only a request brings."""

    word: Word
    body: bytes
    memory: int | None = None


def send(connection: socket.socket, message: Message) -> None:
    """Send one message; its memory stays the sender's to close."""
    preamble = _PREAMBLE.pack(message.word.value, len(message.body))
    sent = socket.send_fds(connection, [preamble], [] if message.memory is None else [message.memory])
    connection.sendall(preamble[sent:] + message.body)


def receive(connection: socket.socket) -> Message:
    """Receive one message.

    Raises:
        EOFError: the other side has gone.
        ValueError: it does not speak as agreed.
        OSError: the connection broke, or its timeout passed.
    """
    descriptors: list[int] = []
    try:
        preamble, descriptors, _, _ = socket.recv_fds(connection, _PREAMBLE.size, 4)
        preamble += _read(connection, _PREAMBLE.size - len(preamble)) if preamble else b""
        if not preamble:
            raise EOFError
        word, length = _PREAMBLE.unpack(preamble)
        if length > _LARGEST_BODY or len(descriptors) > (word == Word.REQUEST.value):
            raise ValueError("a message beyond all measure")
        body = _read(connection, length)
        return Message(Word(word), body, descriptors.pop() if descriptors else None)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read(connection: socket.socket, length: int) -> bytes:
    received = bytearray(length)
    with memoryview(received) as view:
        filled = 0
        while filled < length:
            count = connection.recv_into(view[filled:])
            if not count:
                raise EOFError
            filled += count
    return bytes(received)


class SharedPixels:
    """Memory in which one process leaves an image and another one fetches it.

    It is anonymous, not a file in /dev/shm, which containers keep at 64 MB: an image of 60 megapixels has 240. It is
    used again, since getting pages from the kernel takes longer than filling them. It can grow and never shrink, so
    that nobody can take away what the other is reading.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Memory that another process made, or none yet."""
        if descriptor is None:
            descriptor = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self.descriptor).st_size

    def leave(self, image: NDArray[np.float32]) -> None:
        """Put an image there.

        Raises:
            OSError: there is no memory for it.
        """
        if self.size < image.nbytes:
            os.ftruncate(self.descriptor, image.nbytes)
        np.frombuffer(self._mapping(image.nbytes), np.float32, image.size)[:] = image.reshape(-1)

    def fetch(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """A copy of the image that was left there.

        Raises:
            ValueError: there is less.
        """
        count = shape[0] * shape[1]
        if self.size < count * _ITEMSIZE:
            raise ValueError("memory that is smaller than its image")
        return np.frombuffer(self._mapping(count * _ITEMSIZE), np.float32, count).reshape(shape).copy()

    def close(self) -> None:
        """Let go of it."""
        self._unmap()
        os.close(self.descriptor)

    def _mapping(self, length: int) -> mmap.mmap:
        if self._mapped is None or len(self._mapped) < length:
            self._unmap()
            self._mapped = mmap.mmap(self.descriptor, self.size)
        return self._mapped

    def _unmap(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
