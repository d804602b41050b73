"""The TCP side of the server: accepts connections, shakes TLS hands, starts an association for each."""

import gc
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from triage_agent.dimse.association import GuardedAssociation
from triage_agent.dimse.handshake import shake_hands, take_over
from triage_agent.dimse.lobby import Guest, Lobby, read_request
from triage_agent.dimse.messages import Terms
from triage_agent.dimse.throttle import Throttle
from triage_agent.dimse.wire import BoundedSocket

log = structlog.get_logger(__name__)

Handler = tuple[evt.EventType, Callable[[evt.Event], Any]]

_DRAIN_POLL_SECONDS = 0.05
_IDLE_BEFORE_DRAINED = 2.0  # a sender that reads its next image from a slow disk has so long
_LAST_SECONDS = 2.0  # for threads to end once everything was aborted
_ROOMY = 4  # times as many connections may wait for a request as associations may be open
_COLLECT_EVERY = 200  # associations; pynetdicom's objects refer to each other and wait for the cycle collector


@dataclass(frozen=True, slots=True)
class TlsGate:
    """What a listening socket with TLS asks for its next connection.

    Attributes:
        context: with the certificate as it is now.
        failed: told the address of who came in vain, and why.
    """

    context: Callable[[], ssl.SSLContext]
    failed: Callable[[str, OSError], None]


class _Connection(RequestHandler):
    """One accepted connection."""

    server: "Listener"

    def handle(self) -> None:
        """Wait for an association request, start an association on the connection and return."""
        server = self.server
        with server.lobby.waits(str(self.client_address[0]), self.request) as guest:
            request = read_request(guest.connection, server.request_timeout) if self._secured(guest) else None
        if request is None:
            server.shutdown_request(guest.connection)
            return
        self._associate(guest.connection, request)

    def _associate(self, connection: socket.socket, request: bytes) -> None:
        server = self.server
        server.collect()
        association = GuardedAssociation(server.ae, server, server.terms)
        association.name = f"AcceptorThread@{datetime.now(UTC):%Y%m%d%H%M%S}"
        association.set_socket(BoundedSocket(association, server.io_timeout, connection=connection, unread=request))
        association.acceptor.maximum_length = server.ae.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = server.ae.implementation_class_uid
        association.acceptor.implementation_version_name = server.ae.implementation_version_name
        association.acceptor.supported_contexts = list(server.contexts)
        association.requestor.address_info = self.remote
        for event, handler in server.handlers:
            association.bind(event, handler)
        association.start()

    def _secured(self, guest: Guest) -> bool:
        """Shake hands where TLS is on; here, in its own thread, a slow peer harms nobody."""
        tls = self.server.tls
        if tls is None:
            return True
        try:
            guest.connection = secured = take_over(guest.connection, tls.context())
            shake_hands(secured, self.server.request_timeout)
        except OSError as error:  # ssl.SSLError and timeouts among them
            tls.failed(guest.address, error)
            return False
        return True


class Listener(ThreadedAssociationServer):
    """The listening socket; `contexts` is what a caller gets before it is known who it is."""

    request_queue_size = 128  # 5, the default, makes a burst of connections wait for TCP to try again
    daemon_threads = True

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        *,
        contexts: list[PresentationContext],
        tls: TlsGate | None,
        handlers: Sequence[Handler],
        io_timeout: float,
        request_timeout: float,
        terms: Terms,
        listening: socket.socket | None = None,
    ) -> None:
        """`listening`: a socket that listens already, shared with other processes; else one is made for `address`."""
        self._listening = listening
        self.tls = tls
        self.handlers = tuple(handlers)
        self.io_timeout = io_timeout
        self.request_timeout = request_timeout
        self.terms = terms
        self.lobby = Lobby(
            _ROOMY * ae.maximum_associations,
            ae.maximum_associations,
            complain=lambda address: self.complain("too_many_connections", address, ""),
        )
        self._associations_made = 0
        self._complaints = Throttle(5, 60.0)
        self.refusals: Counter[str] = Counter()  # connections that became no association, by why
        self._counting = threading.Lock()
        super().__init__(ae, address, ae.ae_title, contexts, request_handler=_Connection)

    def server_bind(self) -> None:
        """Bind the socket, or take the one that listens already."""
        if self._listening is None:
            super().server_bind()
            return
        # The one that socketserver has made.
        self.socket.close()  # type: ignore[union-attr]
        self.socket = self._listening
        self.server_address = self.socket.getsockname()

    def server_close(self) -> None:
        """Close the socket; one that is shared goes on listening for the others."""
        if self._listening is None:
            super().server_close()
        else:
            self._listening.close()

    def server_activate(self) -> None:
        """Listen."""
        if self._listening is None:
            super().server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; TLS waits until it has a thread of its own.

        Raises:
            BlockingIOError: another process that shares the socket was quicker; socketserver goes on.
        """
        return self.socket.accept()  # type: ignore[union-attr]

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's
        """Whether there are threads left for this connection, twice what may be associated."""
        if len(self.active_associations) < 2 * self.ae.maximum_associations:
            return True
        self.complain("too_many_connections", str(client_address[0]), "")
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        """Log one line in place of a traceback on stderr."""
        error = sys.exc_info()[0]
        self.complain("connection_failed", str(client_address[0]), error.__name__ if error else "")

    def service_actions(self) -> None:
        """Collect dead associations after many, not twice a minute: a collection stops a process that holds a model."""

    def collect(self) -> None:
        """Called before each association is made."""
        self._associations_made += 1
        if self._associations_made % _COLLECT_EVERY == 0:
            gc.collect()

    def shutdown(self) -> None:
        """Stop accepting and close the socket; associations go on."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        self.lobby.close()

    def complain(self, what: str, address: str, error: str) -> None:
        """One throttled line about an address; each is counted."""
        with self._counting:
            self.refusals[what] += 1
        held_back = self._complaints.admit(f"{what} {address}")
        if held_back is not None:
            log.warning(what, address=address, error=error, held_back=held_back)

    def drain(self, seconds: float) -> bool:
        """Let associations finish what they transfer, and abort them after `seconds`; True if that was not needed."""
        deadline = time.monotonic() + seconds
        while (open_ones := self.associations) and time.monotonic() < deadline:
            for association in open_ones:
                if not association.in_flight and time.monotonic() - association.last_served > _IDLE_BEFORE_DRAINED:
                    association.abort(block=False)
            time.sleep(_DRAIN_POLL_SECONDS)
        drained = not self.associations
        deadline = time.monotonic() + _LAST_SECONDS
        while (left := self.associations) and time.monotonic() < deadline:
            for association in left:
                association.abort(block=False)
                association.cut()
            time.sleep(_DRAIN_POLL_SECONDS)
        return drained

    @property
    def associations(self) -> list[GuardedAssociation]:
        """Those that are open."""
        return [one for one in self.active_associations if isinstance(one, GuardedAssociation)]
