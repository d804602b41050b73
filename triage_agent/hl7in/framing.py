"""MLLP frames out of a stream of bytes (HL7 v2.5.1 implementation guide, appendix C)."""

import re
from collections.abc import Iterator

START, STOP = 0x0B, 0x1C
_FRAMING = re.compile(rb"([\x0b\x1c])")


class TooLongError(Exception):
    """What came is longer than any message that is taken.

    Attributes:
        beginning: of the message, as much as there is room for; empty where it was none.
    """

    def __init__(self, beginning: bytes) -> None:
        super().__init__("too long")
        self.beginning = beginning


class Framer:
    """Takes bytes as they come, gives messages; keeps no more than one message of `longest` bytes.

    A new start within a message begins it anew: its sender had broken off. The carriage return behind the end, which
    some senders leave out, is not waited for.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._began = False
        self._kept = bytearray()
        self._outside = 0  # bytes since the last message that belong to none

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._began

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that end in `chunk`.

        Raises:
            TooLongError: one is too long, or there is nothing but noise; nothing more can be read then.
        """
        for part in _parts(chunk):
            if part[0] == START:
                self._began, self._kept = True, bytearray()
            elif not self._began:
                self._skip(part)
            elif part[0] == STOP:
                message, self._kept, self._began, self._outside = bytes(self._kept), bytearray(), False, 0
                yield message
            else:
                self._kept += part[: self._longest + 1 - len(self._kept)]
                if len(self._kept) > self._longest:
                    raise TooLongError(bytes(self._kept))

    def _skip(self, part: bytes) -> None:
        self._outside += len(part)
        if self._outside > self._longest:
            raise TooLongError(b"")


def _parts(chunk: bytes) -> Iterator[bytes]:
    """Framing bytes by themselves, and what stands between them."""
    return (part for part in _FRAMING.split(chunk) if part)
