"""A connection that cannot make anybody wait for ever: pynetdicom's wrapper of a socket, with bounds.

It reads ahead: what the kernel has is taken in large pieces, and one PDU after the other handed out of them.
"""

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from struct import Struct
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

_HEADER = Struct(">BBI")  # type, reserved, length (PS3.8 table 9-22)
_P_DATA_TF = 0x04
_ITEM = Struct(">IB")  # length of what follows it, presentation context id (PS3.8 table 9-23)
_ITEM_LENGTH_BYTES = 4
_QUICK_ACKNOWLEDGEMENT: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
LARGEST_PDU = 1 << 20  # bytes; far more than we ask senders for
_KEPT_BUFFER = 1 << 18  # bytes; a PDU of the length that we ask for, and most of another one
_MOMENT = 1.0  # milliseconds; the next bytes of a data set come sooner


class BoundedSocket(AssociationSocket):
    """A connection on which a PDU must be of bounded length and complete in bounded time.

    Args:
        connection: one that was accepted; otherwise the socket is made for a connection to come, from `address`.
        timeout: seconds.
        unread: what was read from `connection` already.
    """

    def __init__(
        self,
        assoc: Association,
        timeout: float,
        *,
        connection: socket.socket | None = None,
        address: AddressInformation | None = None,
        unread: bytes = b"",
    ) -> None:
        self._timeout = timeout
        self._buffer = bytearray(unread)  # what was read and not taken yet lies between these two
        self._start, self._end = 0, len(unread)
        self._poll: tuple[select.poll, int, socket.socket | None] | None = None
        self.connected = connection is not None
        self.failure: OSError | None = None  # what TLS said
        if connection is not None:
            self._bound(connection)
        super().__init__(assoc, client_socket=connection, address=address)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect; pynetdicom takes the timeout off then, and would wait for a silent peer for ever."""
        super().connect(primitive)
        if self.socket is not None:
            self._bound(self.socket)
            self.connected = True

    def _bound(self, connection: socket.socket) -> None:
        connection.settimeout(self._timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _shutdown_socket(self) -> None:
        self.shut()

    def shut(self) -> None:
        """Close in any case: pynetdicom leaves a socket open whose connection was refused or lost."""
        connection = self.socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        # An association and its parts hold each other until the collector comes round, hundreds of them later.
        self._buffer, self._start, self._end = bytearray(), 0, 0

    def cut(self) -> None:
        """Hang up from another thread: whoever waits on the connection finds it ended, and closes it."""
        connection = self.socket
        if connection is not None:
            with suppress(OSError, ValueError):
                # Not by its own method: TLS would let go of its state under whoever reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; `poll`, since `select` fails beyond descriptor 1023."""
        return self.wait(0.0, None)

    def wait(self, seconds: float, waker: socket.socket | None, *, flowing: bool = False) -> bool:
        """Whether there is something to read, now or within `seconds`; returns early when `waker` is written to.

        `flowing`: more of what comes already is waited for, so that the kernel acknowledges it by itself; only where
        nothing comes for a moment it is asked to, since each time costs as much as reading a PDU.
        """
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if self._start < self._end:
            return True
        if pending := getattr(connection, "pending", None):  # an SSLSocket holds decrypted bytes that poll cannot see
            seconds = 0.0 if pending() else seconds
        try:
            poller = self._poller(connection, waker)
            came = [descriptor for descriptor, _ in poller.poll(min(seconds * 1000, _MOMENT))] if flowing else []
            if not came:
                _acknowledge_at_once(connection)
                came = [descriptor for descriptor, _ in poller.poll(seconds * 1000)]
            if pending and not pending():
                return connection.fileno() in came and self._decrypted(connection)
            return connection.fileno() in came or bool(pending)
        except (OSError, ValueError):  # closed meanwhile
            self.event_queue.put("Evt17")
            return False

    def _poller(self, connection: socket.socket, waker: socket.socket | None) -> select.poll:
        """What waits for these two; the same one as long as they are the same, since there is a wait a PDU.

        Raises:
            ValueError: the connection is closed.
        """
        descriptor = connection.fileno()
        if self._poll is None or self._poll[1:] != (descriptor, waker):
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            if waker is not None:
                poller.register(waker, select.POLLIN)
            self._poll = poller, descriptor, waker
        return self._poll[0]

    def _decrypted(self, connection: socket.socket) -> bool:
        """Whether what came over TLS holds anything to read, which is kept; it may be a ticket, or half a record.

        To wait for more of it here would keep the reactor from sending.
        """
        connection.settimeout(0.0)
        try:
            self._take_up(connection, _HEADER.size)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.failure = error
            raise
        finally:
            connection.settimeout(self._timeout)
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, fewer when the peer closes first.

        Raises:
            OSError: they are more than a PDU may have, or did not come in time.
        """
        if nr_bytes > LARGEST_PDU:
            raise OSError("the peer announced a PDU that is longer than was agreed")
        self._has(nr_bytes)
        end = min(self._end, self._start + nr_bytes)
        received = self._buffer[self._start : end]
        self._start = end
        return received

    def receive_p_data(self) -> memoryview | None:
        """The variable field of the P-DATA-TF PDU that comes next, valid until the next call; None if another comes.

        Raises:
            OSError: it is longer than a PDU may be, or did not come whole and in time.
        """
        if not self._has(_HEADER.size):
            return None
        kind, _, length = _HEADER.unpack_from(self._buffer, self._start)
        if kind != _P_DATA_TF:
            return None
        if length > LARGEST_PDU:
            raise OSError("the peer announced a PDU that is longer than was agreed")
        if not self._has(_HEADER.size + length):
            raise OSError("the peer closed the connection in the middle of a PDU")
        start = self._start + _HEADER.size
        self._start = start + length
        return memoryview(self._buffer)[start : self._start]

    def _has(self, size: int) -> bool:
        """Read until so many bytes are there to be taken; False where the peer closes first.

        Raises:
            OSError: they did not come in time.
        """
        if self._end - self._start >= size:
            return True
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        deadline = time.monotonic() + self._timeout
        while self._end - self._start < size:
            if time.monotonic() > deadline:
                raise TimeoutError("the peer did not finish a PDU in time")
            if not self._take_up(connection, size):
                return False
        return True

    def _take_up(self, connection: socket.socket, size: int) -> int:
        """Read once, in one piece with what is there and with room for `size` bytes of both; how many came."""
        self._make_room(size)
        with memoryview(self._buffer) as view:
            count = connection.recv_into(view[self._end :])
        self._end += count
        return count

    def _make_room(self, size: int) -> None:
        """Move what is there to the front where there is no room behind it for the rest of `size` bytes.

        Into a new buffer where this one is too small, or larger than is kept: a PDU that is longer than was agreed is
        taken, and its memory let go of.
        """
        held, length = self._end - self._start, len(self._buffer)
        wanted = max(size, held + 1, _KEPT_BUFFER)
        if length < wanted or (length > _KEPT_BUFFER and wanted == _KEPT_BUFFER):
            buffer = bytearray(wanted)
            buffer[:held] = self._buffer[self._start : self._end]
            self._buffer = buffer
        elif held == 0 or self._start + size > length:
            if held:
                self._buffer[:held] = self._buffer[self._start : self._end]
        else:
            return
        self._start, self._end = 0, held


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Ask the kernel not to hold acknowledgements back, which it forgets whenever we send.

    By Nagle's algorithm dcmtk sends a command and waits for its acknowledgement before it sends the data set: that is
    40 ms an object unless the receiver is quick.
    """
    if _QUICK_ACKNOWLEDGEMENT is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENT, 1)


def fragments(value: memoryview) -> Iterator[tuple[int, Any]]:
    """The presentation data values of a P-DATA-TF: context id, and control header with fragment (PS3.8 9.3.5.1).

    Raises:
        ValueError: they are not as long as they say.
    """
    position = 0
    while position < len(value):
        if position + _ITEM.size > len(value):
            raise ValueError("no room for an item")
        length, context_id = _ITEM.unpack_from(value, position)
        end = position + _ITEM_LENGTH_BYTES + length
        if length <= 1 or end > len(value):
            raise ValueError("an item is not as long as it says")
        yield context_id, value[position + _ITEM.size : end]
        position = end
