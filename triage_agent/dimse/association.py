"""pynetdicom's association machinery, made fit for strangers that connect and for peers that hang.

Each class overrides the narrowest thing that was found wanting in pynetdicom 3.0 and leaves the protocol itself to it:

- a connected socket has no timeout, so a peer that stops in the middle of a PDU holds its threads for ever;
- a PDU's announced length is believed, and a message grows as long as the peer likes (`messages`);
- errors outside its `try` blocks end a thread with a traceback on stderr;
- both reactors poll a thousand times a second, so that idle associations eat the CPU and every message waits;
- a connection that is closed before it asked for anything that can be understood keeps its threads for `acse_timeout`;
- every association copies every supported context (50 ms for all of storage), and a burst waits for TCP's retries.
"""

import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, DimseServiceType
from pynetdicom.dul import DULServiceProvider

from triage_agent.dimse.checkpoint import Checkpoint
from triage_agent.dimse.messages import WAIT_SECONDS, Messages, Terms, incoming_of
from triage_agent.dimse.wire import BoundedSocket, fragments

log = structlog.get_logger(__name__)

_NO_DATA_SET = 0xA900
_ESTABLISHED = "Sta6"  # PS3.8 table 9-3: ready for data transfer


class _PokingQueue(queue.Queue[Any]):
    """Tells somebody when something was put."""

    def __init__(self, poke: Callable[[], None]) -> None:
        super().__init__()
        self._poke = poke

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._poke()


class UpperLayer(DULServiceProvider):
    """The upper layer's reactor, which sleeps until the socket or a service user wakes it."""

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self.daemon = True  # a thread that hangs must not keep the process
        self._run_loop_delay = 0.0
        self._waker, self._woken = socket.socketpair()
        self._waker.settimeout(0.0)
        self._woken.settimeout(0.0)
        self.to_user_queue = _PokingQueue(self._poke_user)

    def run_reactor(self) -> None:
        """Run until the association ends; what pynetdicom does not catch ends this association and nothing else."""
        try:
            structlog.contextvars.bind_contextvars(address=self.assoc.requestor.address)
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - strangers' input must not end a thread with a traceback
            log.warning("upper_layer_failed", error=type(error).__name__)
        finally:
            self._abandon_message()
            self._poke_user()
            self._waker.close()
            self._woken.close()

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive and wake the reactor to send it."""
        super().send_pdu(primitive)
        self._wake()

    def kill_dul(self) -> None:
        """Make the reactor end."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """End the reactor if it is idle; False if it is not."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        if threading.current_thread() is not self:
            self.join(WAIT_SECONDS)
        return True

    def _is_transport_event(self) -> bool:
        wire = self.socket
        if not isinstance(wire, BoundedSocket) or self.state_machine.current_state == "Sta13":
            return super()._is_transport_event()
        if not wire.wait(WAIT_SECONDS if self.event_queue.empty() else 0.0, self._woken):
            with suppress(OSError):
                self._woken.recv(4096)
            return False
        self._read_pdu_data()
        return True

    def _read_pdu_data(self) -> None:
        """Read a PDU; on an established association a P-DATA-TF goes to DIMSE without pynetdicom's copies of it.

        That is action DT-2 (PS3.8 table 9-7), which leaves the state as it is.
        """
        wire = self.socket
        if not isinstance(wire, BoundedSocket) or self.state_machine.current_state != _ESTABLISHED:
            super()._read_pdu_data()
            return
        while self._receive(wire) and self.to_provider_queue.empty() and not self._kill_thread:
            self._idle_timer.restart()
            if not wire.wait(WAIT_SECONDS, self._woken, flowing=True):
                return

    def _receive(self, wire: BoundedSocket) -> bool:
        """Take up one PDU; whether it was a part of a data set, so that the next one is, too.

        Those come by the thousand: from one to the next there is no round through pynetdicom's reactor.
        """
        try:
            value = wire.receive_p_data()
            values = [] if value is None else list(fragments(value))
        except OSError as error:
            log.warning("connection_lost", error=type(error).__name__)
            self.event_queue.put("Evt17")
            return False
        except (ValueError, struct.error):
            self.event_queue.put("Evt19")
            return False
        if value is None:
            super()._read_pdu_data()
            return False
        return isinstance(self.assoc, GuardedAssociation) and self.assoc.dimse.receive(values)

    def _abandon_message(self) -> None:
        if isinstance(self.assoc, GuardedAssociation):
            self.assoc.dimse.abandon()

    def _wake(self) -> None:
        with suppress(OSError):  # full, so it will wake anyway, or closed, so there is nobody to wake
            self._waker.send(b"\0")

    def _poke_user(self) -> None:
        self.assoc.dimse.msg_queue.put((None, None))


class GuardedAssociation(Association):
    """An accepted association that ends cleanly whatever happens on it."""

    dimse: Messages

    def __init__(self, ae: ApplicationEntity, server: Any, terms: Terms) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self._server = server
        self.dul: UpperLayer = UpperLayer(self)
        self.dimse = Messages(self, terms)
        # Their setters pass these on to the upper layer's timers, which are new.
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout
        self._reactor_checkpoint: Checkpoint = Checkpoint()
        self._serving = False
        self.last_served = time.monotonic()
        self.at_end: list[Callable[[], None]] = []  # called once it has ended, in its own thread; they raise nothing

    @property
    def in_flight(self) -> bool:
        """Whether a message is being received or served."""
        return self._serving or self.dimse.message is not None or not self.dimse.msg_queue.empty()

    def cut(self) -> None:
        """Close the connection under the association, without asking anybody."""
        connection = self.dul.socket.socket if self.dul.socket else None
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # as in `BoundedSocket.cut`

    @property
    def peer_ends(self) -> bool:
        """Whether the peer has released or aborted, which the reactor has still to see."""
        return not self.dul.to_user_queue.empty()

    @contextmanager
    def stopped(self, deadline: float) -> Iterator[bool]:
        """Keep the reactor from taking and serving messages, so that another thread can; False where it is too late.

        Args:
            deadline: by the monotonic clock; what is being served is waited for until then.
        """
        self._reactor_checkpoint.clear()
        try:
            while not self._reactor_checkpoint.blocks:
                if not self.is_alive() or time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.0005)
            yield True
        finally:
            self._reactor_checkpoint.set()

    def run_reactor(self) -> None:
        """Run until the association ends."""
        try:
            structlog.contextvars.bind_contextvars(address=self.requestor.address)
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("association_failed", error=type(error).__name__)
            self.cut()
        finally:
            self.dul.kill_dul()
            self.dimse.end()
            for call in self.at_end:
                call()

    def abandon_unasked(self) -> None:
        """End at once when the connection closed before anything was requested that could be understood."""
        if self.requestor.primitive is None:
            time_is_over: Any = None  # what `receive_pdu` returns then, which the queue's type does not foresee
            self.dul.to_user_queue.put(time_is_over)

    def _serve_request(self, msg: DimseServiceType, context_id: int) -> None:
        self._serving = True
        try:
            if isinstance(msg, C_STORE) and msg.MessageID is not None and not msg.is_valid_request:
                self._refuse_incomplete(msg, context_id)
            else:
                super()._serve_request(msg, context_id)
        finally:
            if (incoming := incoming_of(msg)) is not None:
                incoming.close()
            self._serving = False
            self.last_served = time.monotonic()
            # Our own time to serve it is not the peer's silence, of which the reactor asks next.
            self.dul._idle_timer.restart()  # noqa: SLF001 - there is no other way

    def _refuse_incomplete(self, request: C_STORE, context_id: int) -> None:
        """Answer a C-STORE without data set or identifiers, which pynetdicom leaves waiting (PS3.7 section 9.3.1.2)."""
        response = C_STORE()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.Status = _NO_DATA_SET
        response.ErrorComment = "the request lacks its data set or its identifiers"  # type: ignore[assignment]
        self.dimse.send_msg(response, context_id)
