"""A connection that cannot make anybody wait for ever: pynetdicom's wrapper of a socket, with bounds."""

import select
import socket
import time
from contextlib import suppress

from pynetdicom.association import Association
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

LARGEST_PDU = 1 << 20  # bytes; an A-ASSOCIATE-RQ with every context there is has a quarter of it


class BoundedSocket(AssociationSocket):
    """A connection on which a PDU must be of bounded length and complete in bounded time.

    Args:
        connection: one that was accepted; otherwise the socket is made for a connection to come, from `address`.
        timeout: seconds.
    """

    def __init__(
        self,
        assoc: Association,
        timeout: float,
        *,
        connection: socket.socket | None = None,
        address: AddressInformation | None = None,
    ) -> None:
        self._timeout = timeout
        self.connected = connection is not None
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

    @property
    def ready(self) -> bool:
        """Whether there is something to read; `poll`, since `select` fails beyond descriptor 1023."""
        return self.wait(0.0, None)

    def wait(self, seconds: float, waker: socket.socket | None) -> bool:
        """Whether there is something to read, now or within `seconds`; returns early when `waker` is written to."""
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if pending := getattr(connection, "pending", None):  # an SSLSocket holds decrypted bytes that poll cannot see
            seconds = 0.0 if pending() else seconds
        poller = select.poll()
        try:
            poller.register(connection, select.POLLIN)
            if waker is not None:
                poller.register(waker, select.POLLIN)
            ready = dict(poller.poll(seconds * 1000))
            return connection.fileno() in ready or bool(pending and pending())
        except (OSError, ValueError):  # closed meanwhile
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, fewer when the peer closes first.

        Raises:
            OSError: they are more than a PDU may have, or did not come in time.
        """
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        if nr_bytes > LARGEST_PDU:
            raise OSError("the peer announced a PDU that is longer than was agreed")
        received = bytearray(nr_bytes)
        deadline = time.monotonic() + self._timeout
        with memoryview(received) as view:
            filled = 0
            while filled < nr_bytes:
                if time.monotonic() > deadline:
                    raise TimeoutError("the peer did not finish a PDU in time")
                count = connection.recv_into(view[filled:])
                if count == 0:
                    break
                filled += count
        del received[filled:]
        return received
