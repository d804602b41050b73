"""Connections that have not asked for an association yet: they cost a thread for seconds, and nobody's seat.

A load balancer's probe, a port scanner or a peer that hangs is dealt with here. What comes in has its whole
A-ASSOCIATE-RQ in hand; only then an association, with its threads and its seat, is made.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_HEADER = struct.Struct(">BBI")  # type, reserved, length (PS3.8 table 9-11)
_ASSOCIATE_RQ = 0x01
_ABORT = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 2, 2)  # by the service provider: unexpected PDU (PS3.8 table 9-26)
_LARGEST_REQUEST = 1 << 20  # bytes; a request with every context there is has a quarter of it
_PIECE = 1 << 16


class Guest:
    """A connection that waits; `connection` is replaced when TLS takes it over."""

    def __init__(self, address: str, connection: socket.socket) -> None:
        self.address = address
        self.connection = connection

    def send_away(self) -> None:
        """Hang up from another thread: whoever reads the connection finds it ended, and closes it."""
        with suppress(OSError, ValueError):
            # An SSLSocket's own `shutdown` drops its state under whoever reads.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


class Lobby:
    """Holds so many connections; when it is full, whoever waits longest has to go. Safe to use from many threads.

    The one that waits longest, not the one that comes: who means it asks at once, so that a hundred silent
    connections keep nobody out, not even their own address.

    Args:
        most: connections that wait at once.
        most_of_one: ... from one address.
        complain: told the address of each that has to go.
    """

    def __init__(self, most: int, most_of_one: int, complain: Callable[[str], None]) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._complain = complain
        self._waiting: dict[int, Guest] = {}  # oldest first
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def waits(self, address: str, connection: socket.socket) -> Iterator[Guest]:
        """Count a connection in while it waits."""
        guest = Guest(address, connection)
        with self._lock:
            beyond = self._beyond(address)
            for other in beyond:
                del self._waiting[id(other)]
            self._waiting[id(guest)] = guest
            closed = self._closed
        for other in beyond:
            other.send_away()
            self._complain(other.address)
        if closed:
            guest.send_away()
        try:
            yield guest
        finally:
            with self._lock:
                self._waiting.pop(id(guest), None)

    def close(self) -> None:
        """Send everybody away, now and later."""
        with self._lock:
            self._closed = True
            everybody = list(self._waiting.values())
        for guest in everybody:
            guest.send_away()

    def _beyond(self, address: str) -> list[Guest]:
        """Who has to go so that one more from `address` can wait."""
        same = [guest for guest in self._waiting.values() if guest.address == address]
        if len(same) >= self._most_of_one:
            return same[: len(same) - self._most_of_one + 1]
        return list(self._waiting.values())[: max(0, len(self._waiting) - self._most + 1)]


def read_request(connection: socket.socket, seconds: float) -> bytes | None:
    """A whole A-ASSOCIATE-RQ PDU (PS3.8 section 9.3.2); None when it does not come in time.

    What comes in its place is answered with an A-ABORT (PS3.8 table 9-10, AA-1), and None too.
    """
    deadline = time.monotonic() + seconds
    received, wanted = bytearray(), _HEADER.size
    try:
        while len(received) < wanted:
            if (left := deadline - time.monotonic()) <= 0:
                return None
            connection.settimeout(left)
            piece = connection.recv(min(wanted - len(received), _PIECE))
            received += piece
            if not piece:
                return None
            if received[0] != _ASSOCIATE_RQ:
                connection.sendall(_ABORT)
                return None
            if len(received) == _HEADER.size == wanted:
                _, _, length = _HEADER.unpack(received)
                if length > _LARGEST_REQUEST:
                    connection.sendall(_ABORT)
                    return None
                wanted += length
    except OSError:
        return None
    return bytes(received)
