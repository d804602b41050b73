"""Who comes to the web port without a name, and how long they may take: so many connections, and each does something.

Anybody who reaches the port can open connections. Those that say nothing, or never end what they say, cost a file each,
and the process that has no file left neither decodes nor writes.
"""

import asyncio
import errno
import socket
import time
import weakref
from collections import Counter
from enum import Enum
from typing import Any, NoReturn

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from triage_agent.web.site.limits import place_of

log = structlog.get_logger(__name__)

CONNECTIONS = 512  # at once, WebSockets and TLS handshakes among them; who comes above is hung up on
OF_ONE_ADDRESS = 384  # of them, or of one IPv6 network: a proxy in front needs many, and one caller leaves others some

HANDSHAKE_SECONDS = 10.0  # of TLS, at either end: asyncio would wait for a minute, and for half of one
_HEAD_SECONDS = 10.0  # for a request's headers, from the first byte that could have come
_BODY_SECONDS = 60.0  # between two pieces of a body: who sends images may read them from a slow disk
_REST_SECONDS = 10.0  # for what is left of a body whose request is answered already
_TAKE_SECONDS = 60.0  # for a caller to take some of its answer
_NO_MORE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHUT_SECONDS = 0.5  # without files, between two tries: asyncio pauses for longer after the first that fails
_TOLD_SECONDS = 60.0  # between two lines that say the same


class _Awaited(Enum):
    """What a caller still owes us."""

    NOTHING = None
    HEAD = 1
    BODY = 2
    REST = 3


class Patience(H11Protocol):
    """HTTP/1.1 with an end to waiting; between two requests uvicorn's own `timeout_keep_alive` holds."""

    _awaited = _Awaited.NOTHING
    _alarm: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._set(_Awaited.NOTHING)
        self._leave_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """An answer is written; a request that came meanwhile may have begun."""
        self._watch_taking()
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE:
            self._wait()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._watch_taking()

    def _watch_taking(self) -> None:
        """Look from time to time whether what is written becomes less; what `close` waits for, too."""
        self._leave_taking()
        answered = getattr(self.cycle, "response_complete", True)  # without a cycle it is the answer to no request
        if (left := self.transport.get_write_buffer_size()) and (self.flow.write_paused or answered):
            self._taking = self.loop.call_later(_TAKE_SECONDS, self._look_at_taking, left)

    def _look_at_taking(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_taking()

    def _leave_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _wait(self) -> None:
        """Of a head and of a rest the first moment counts, of a body the last."""
        awaited = self._owed()
        if awaited is not self._awaited or awaited is _Awaited.BODY:
            self._set(awaited)

    def _owed(self) -> _Awaited:
        if self.conn.their_state is h11.IDLE:
            return _Awaited.HEAD
        if self.conn.their_state is not h11.SEND_BODY or self.transport.get_protocol() is not self:
            return _Awaited.NOTHING  # it has come, or is a WebSocket's
        return _Awaited.REST if self.cycle.response_complete else _Awaited.BODY

    def _set(self, awaited: _Awaited) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._awaited = awaited
        if awaited is not _Awaited.NOTHING:
            seconds = {_Awaited.HEAD: _HEAD_SECONDS, _Awaited.BODY: _BODY_SECONDS, _Awaited.REST: _REST_SECONDS}
            self._alarm = self.loop.call_later(seconds[awaited], self._too_late)

    def _too_late(self) -> None:
        self._alarm = None
        if self._awaited is _Awaited.BODY and (self.flow.read_paused or self.cycle.waiting_for_100_continue):
            self._set(_Awaited.BODY)  # it is we who have not read
        else:
            self.transport.abort()


class PromptLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, whose servers end what does not shake hands; another's would not ask `Entrance`."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """See `asyncio.loop.create_server`."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
            options.setdefault("ssl_shutdown_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*args, **options)


class Entrance(socket.socket):
    """A socket that listens, and hangs up on who comes while so many are in, or of its address; for one thread."""

    def __init__(self, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._inside: weakref.WeakKeyDictionary[socket.socket, str] = weakref.WeakKeyDictionary()
        self._opens_again = 0.0
        self._tells_again: dict[int, float] = {}  # by the limit that was reached

    def accept(self) -> tuple[socket.socket, Any]:
        """See `socket.socket.accept`.

        Raises:
            ConnectionAbortedError: so many are in, or so many of this address.
            BlockingIOError: nobody waits, or no file was left a moment ago: asyncio would try its backlog at once.
            OSError: no file is left.
        """
        if time.monotonic() < self._opens_again:
            raise BlockingIOError
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno in _NO_MORE:
                self._opens_again = time.monotonic() + _SHUT_SECONDS
            raise
        inside = Counter(whose for one, whose in self._inside.items() if one.fileno() >= 0)
        place = place_of(address[0])
        if inside[place] >= OF_ONE_ADDRESS:
            self._refuse(connection, OF_ONE_ADDRESS, inside)
        if inside.total() >= CONNECTIONS:
            self._refuse(connection, CONNECTIONS, inside)
        self._inside[connection] = place
        return connection, address

    def _refuse(self, connection: socket.socket, limit: int, inside: Counter[str]) -> NoReturn:
        """Hang up, and say from time to time which limit was reached, and who has most of the places."""
        connection.close()
        if (now := time.monotonic()) >= self._tells_again.get(limit, now):
            self._tells_again[limit] = now + _TOLD_SECONDS
            ((most_by, its_number),) = inside.most_common(1)
            log.warning("web_connections_refused", limit=limit, most_by=most_by, its_number=its_number)
        raise ConnectionAbortedError  # and those who are in have their turn before the next
