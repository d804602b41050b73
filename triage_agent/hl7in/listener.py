"""Listens for MLLP connections: few, known, each with one message at a time, of bounded length and in bounded time."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from triage_agent.domain.errors import ConfigurationError
from triage_agent.hl7in.framing import Framer, TooLongError

log = structlog.get_logger(__name__)

LONGEST = 1 << 20
"""Bytes of a message that are taken."""

_POLL_SECONDS = 0.2
_CHUNK = 65536
_SEQUENCE_ERROR = 100  # table 0357, for what cannot be read to its end
_BACKLOG = 64


class Desk(Protocol):
    """Who takes messages."""

    def answer(self, frame: bytes) -> bytes | None:
        """Take a message; the bytes to answer with, None for nothing."""

    def refuse(self, beginning: bytes, error: int) -> bytes | None:
        """What is answered to a message that is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenTerms:
    """How connections are listened for.

    Attributes:
        port: 0 for any that is free.
        max_connections: beyond so many the one that is silent the longest is closed, unless a message is in hand.
        timeout_seconds: for a message to come whole from its first byte, and for an answer to be taken.
        longest: bytes of a message.
        admits: whether an address may send to us.
        rejected: told of addresses that may not.
        secure: shakes hands for TLS on a connection, within a time of its own; None for plain connections.
    """

    host: str
    port: int
    max_connections: int = 50
    timeout_seconds: float = 30.0
    longest: int = LONGEST
    admits: Callable[[str], bool]
    rejected: Callable[[str], None] = lambda _address: None
    secure: Callable[[socket.socket], socket.socket] | None = None


class MllpListener:
    """Accepts connections and hands their messages to a desk."""

    def __init__(self, terms: ListenTerms, desk: Desk) -> None:
        self._terms = terms
        self._desk = desk
        self._port = terms.port
        self._server: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port that is listened on; before `start` the one asked for."""
        return self._port

    def start(self) -> None:
        """Listen, in a thread of its own.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        host, port = self._terms.host, self._terms.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._server = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                remedy="set [hl7.listen] host and port to an address of this machine that is free",
            ) from error
        self._port = int(self._server.getsockname()[1])
        self._server.settimeout(_POLL_SECONDS)
        self._thread = threading.Thread(target=self._accept, name="hl7-listener", daemon=True)
        self._thread.start()
        log.info("listening_for_hl7", host=host, port=self.port, tls=self._terms.secure is not None)

    def stop(self, drain_seconds: float = 5.0) -> None:
        """Accept nothing more, let messages in hand be answered, close every connection."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + drain_seconds
        with self._lock:
            left = list(self._open)
        for connection in left:
            connection.close_when_idle()
        for connection in left:
            connection.join(max(0.0, deadline - time.monotonic()))
            connection.cut()

    def _accept(self) -> None:
        server = self._server
        while server is not None and not self._stopping.is_set():
            try:
                connection, address = server.accept()
            except TimeoutError:
                continue
            except OSError as error:
                log.warning("hl7_accept_failed", error=type(error).__name__)
                self._stopping.wait(_POLL_SECONDS)
                continue
            self._take_in(connection, str(address[0]))

    def _take_in(self, connection: socket.socket, address: str) -> None:
        if not self._terms.admits(address):
            connection.close()
            self._terms.rejected(address)
            return
        with self._lock:
            self._open = {one for one in self._open if one.is_alive()}
            idle = sorted((one for one in self._open if one.is_idle), key=lambda one: one.last_heard)
            full = len(self._open) >= self._terms.max_connections
            if full and not idle:
                log.warning("hl7_connection_refused", address=address, why="too many connections")
                connection.close()
                return
            taken = _Connection(connection, address, self._terms, self._desk)
            self._open.add(taken)
        if full:
            log.info("hl7_connection_closed", address=idle[0].address, why="silent the longest of too many")
            idle[0].cut()
        taken.start()


class _Connection(threading.Thread):
    """One connection: messages in, acknowledgements out, in their order."""

    def __init__(self, connection: socket.socket, address: str, terms: ListenTerms, desk: Desk) -> None:
        super().__init__(name="hl7-connection", daemon=True)
        self.address = address
        self.last_heard = time.monotonic()
        self._socket = connection
        self._terms = terms
        self._desk = desk
        self._framer = Framer(terms.longest)
        self._busy = True  # until the handshake is done
        self._ending = threading.Event()
        self._deadline: float | None = None  # of the message that has begun

    @property
    def is_idle(self) -> bool:
        """Whether no message is on its way or in hand."""
        return not self._busy and not self._framer.in_message

    def close_when_idle(self) -> None:
        """Take no message more."""
        self._ending.set()
        if self.is_idle:
            self.cut()

    def cut(self) -> None:
        """Close it under whoever reads or writes."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Serve the connection to its end."""
        try:
            self._socket.settimeout(self._terms.timeout_seconds)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._terms.secure is not None:
                self._socket = self._terms.secure(self._socket)
            self._busy = False
            self._serve()
        except OSError as error:  # a time that is over, TLS that failed, a peer that has gone
            log.info("hl7_connection_lost", address=self.address, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - strangers' input must not end a thread with a traceback
            log.error("hl7_connection_failed", address=self.address, error=type(error).__name__)  # noqa: TRY400 - as above
        finally:
            self._socket.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            until = self._deadline
            self._socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            chunk = self._socket.recv(_CHUNK)
            if not chunk:
                return
            self.last_heard = time.monotonic()
            self._busy = True
            try:
                if not self._take(chunk):
                    return
            finally:
                self._busy = False
            if self._framer.in_message and self._deadline is None:
                self._deadline = time.monotonic() + self._terms.timeout_seconds

    def _take(self, chunk: bytes) -> bool:
        """Answer every message that ends in `chunk`; False where nothing more can be read."""
        try:
            for frame in self._framer.feed(chunk):
                self._deadline = None
                self._send(self._desk.answer(frame))
        except TooLongError as error:
            log.warning("hl7_refused", why="the message is too long", address=self.address)
            self._send(self._desk.refuse(error.beginning, _SEQUENCE_ERROR))
            return False
        return True

    def _send(self, answer: bytes | None) -> None:
        if answer is not None:
            self._socket.settimeout(self._terms.timeout_seconds)
            self._socket.sendall(b"\x0b" + answer + b"\x1c\x0d")
