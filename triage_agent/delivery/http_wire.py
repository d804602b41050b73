"""The network below HTTP, for httpcore: one deadline for a whole exchange, and TLS from files as they are now."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpcore

from triage_agent.delivery.endpoint import HttpAccess
from triage_agent.dimse.handshake import shake_hands, take_over

_LONGEST_READ = 1 << 16


class Deadline:
    """When the exchange that is going on must have ended; a peer that drips does not begin it anew."""

    def __init__(self) -> None:
        self._ends = 0.0

    def begin(self, seconds: float) -> None:
        """From now on."""
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, above zero.

        Raises:
            TimeoutError: there are none.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("not in time")
        return left


class Wire(httpcore.NetworkBackend):
    """Connects for one client at a time; `connections` counts how often it has."""

    def __init__(self, access: HttpAccess, connect_seconds: float, deadline: Deadline) -> None:
        self.connections = 0
        self._access = access
        self._connect_seconds = connect_seconds
        self._deadline = deadline
        self._sockets: list[socket.socket] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore calls with these names; the deadline holds
        local_address: str | None = None,  # noqa: ARG002
        socket_options: object = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """A new connection."""
        self.connections += 1
        with _told_as(httpcore.ConnectTimeout, httpcore.ConnectError):
            seconds = min(self._connect_seconds, self._deadline.left())
            connection = socket.create_connection((host, port), timeout=seconds)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._watched(connection)

    def secure(self, connection: socket.socket, host: str | None) -> httpcore.NetworkStream:
        """The same connection with TLS. The files are read each time, so that changed certificates are taken up."""
        with _told_as(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                context = tls_context(self._access)
                secured = take_over(connection, context, server_hostname=host or "")
            except BaseException:
                connection.close()
                raise
            stream = self._watched(secured)
            shake_hands(secured, min(self._connect_seconds, self._deadline.left()))
        return stream

    def cut(self) -> None:
        """End what waits on a connection, from another thread."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _watched(self, connection: socket.socket) -> httpcore.NetworkStream:
        self._sockets = [one for one in self._sockets if one.fileno() >= 0] + [connection]
        return _Stream(connection, self, self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection, whose every wait ends with the deadline."""

    def __init__(self, connection: socket.socket, wire: Wire, deadline: Deadline) -> None:
        self._socket = connection
        self._wire = wire
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        with _told_as(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(self._deadline.left())
            return self._socket.recv(min(max_bytes, _LONGEST_READ))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        left = memoryview(buffer)
        with _told_as(httpcore.WriteTimeout, httpcore.WriteError):
            while left:
                self._socket.settimeout(self._deadline.left())
                left = left[self._socket.send(left) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 - ours is made of the site's files
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return self._wire.secure(self._socket, server_hostname)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # httpcore asks before it uses an idle connection again: it was closed, then
            return _has_gone(self._socket)
        return self._socket if info == "socket" else None


def tls_context(access: HttpAccess) -> ssl.SSLContext:
    """How to call by TLS: at least 1.2, the peer's certificate checked, ours shown where the site has one for it.

    Raises:
        OSError: a file cannot be read, or is not what it should be (`ssl.SSLError`).
    """
    context = ssl.create_default_context(cafile=access.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if access.certificate is not None:
        context.load_cert_chain(access.certificate, access.key)
    return context


def _has_gone(connection: socket.socket) -> bool:
    """Whether an idle connection was closed, or holds something that nobody asked for."""
    try:
        connection.settimeout(0.0)
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def _told_as(slow: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """What a socket raises by the names that httpcore goes by; it drops causes, so they are arguments."""
    try:
        yield
    except TimeoutError as error:
        raise slow(error) from error
    except OSError as error:
        raise broken(error) from error
