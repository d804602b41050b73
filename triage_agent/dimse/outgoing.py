"""Associations that we ask for: made, used and ended without a wait that has no end."""

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context
from pynetdicom.transport import AddressInformation

from triage_agent import __version__
from triage_agent.dimse.checkpoint import SureCheckpoint
from triage_agent.dimse.inbox import Inbox
from triage_agent.dimse.library import configure_pynetdicom
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.secure_wire import SecureWire
from triage_agent.dimse.trouble import trouble
from triage_agent.dimse.wire import BoundedSocket
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from triage_agent.dimse.tls import ClientTls

Context = tuple[str, str]  # abstract syntax, transfer syntax: each proposed in a presentation context of its own

_MAX_PDU = 131072
_REJECTED = (0x01, 0x02)  # for good, for now (PS3.8 table 9-21)


class BoundedEntity(ApplicationEntity):
    """An application entity whose connections wait for nothing longer than `io_timeout` seconds."""

    io_timeout = 30.0
    tls: "ClientTls | None" = None
    host = ""  # by the name that its certificate has

    def __init__(self, ae_title: str) -> None:
        super().__init__(ae_title)
        self._wires: WeakSet[BoundedSocket] = WeakSet()
        self._guard = threading.Lock()

    def associate(self, *args: Any, **options: Any) -> Association:
        """As pynetdicom does; a rejection is known as one however soon it comes."""
        association = super().associate(*args, **options)
        if association.is_aborted:
            _notice_rejection(association)
        return association

    def cut(self) -> None:
        """Hang up on everybody, also where the answer to an association request is waited for."""
        with self._guard:
            wires = list(self._wires)
        for wire in wires:
            wire.cut()

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> BoundedSocket:
        if self.tls is None:
            wire = BoundedSocket(assoc, self.io_timeout, address=address)
            wire.tls_args = tls_args
        else:
            wire = SecureWire(assoc, self.io_timeout, address=address, secure=partial(self.tls.secure, host=self.host))
        assoc._reactor_checkpoint = SureCheckpoint(assoc)  # noqa: SLF001 - pynetdicom's own lets answers slip by
        assoc.dimse = Inbox(assoc)
        assoc.dul.daemon = True  # it waits for the peer, and the end of the process must not
        with self._guard:
            self._wires.add(wire)
        return wire


def _notice_rejection(association: Association) -> None:
    """Take up the rejection that pynetdicom left: it aborts where the peer has hung up before it came to look."""
    with association.dul.to_user_queue.mutex:
        waiting = list(association.dul.to_user_queue.queue)
    for answer in waiting:
        if isinstance(answer, A_ASSOCIATE) and answer.result in _REJECTED:
            association.acceptor.primitive = answer
            association.is_rejected, association.is_aborted = True, False


class Caller:
    """Asks one peer for associations.

    Args:
        idle_seconds: how long an association that nothing is sent on is kept before it is released.
    """

    def __init__(
        self, peer: Peer, *, calling_ae_title: str, connect_seconds: float, answer_seconds: float, idle_seconds: float
    ) -> None:
        configure_pynetdicom()
        self._peer = peer
        self._entity = BoundedEntity(calling_ae_title)
        self._entity.io_timeout = answer_seconds
        self._entity.connection_timeout = connect_seconds
        self._entity.acse_timeout = answer_seconds
        self._entity.dimse_timeout = answer_seconds
        self._entity.network_timeout = idle_seconds
        self._entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._entity.tls, self._entity.host = peer.tls, peer.host
        self._entity.implementation_version_name = f"TRIAGE_{__version__}"[:16]

    def __str__(self) -> str:
        return f"{self._peer.ae_title}@{self._peer.host}:{self._peer.port}"

    def cut(self) -> None:
        """Hang up on the peer at once, whatever is in flight."""
        self._entity.cut()

    def associate(
        self,
        contexts: Sequence[Context],
        *,
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
        handlers: Sequence[EventHandlerType] = (),
    ) -> Association:
        """An established association with at least one of `contexts` accepted.

        Args:
            contexts: what is proposed.
            roles: which role we propose for what, where it is not the user's (PS3.7 section D.3.3.4).
            handlers: who serves what the peer asks on it.

        Raises:
            DeliveryError: permanent only when the peer takes none of the contexts.
        """
        try:
            association = self._entity.associate(
                self._peer.host,
                self._peer.port,
                contexts=[build_context(abstract, transfer) for abstract, transfer in contexts],
                ae_title=self._peer.ae_title,
                max_pdu=_MAX_PDU,
                ext_neg=list(roles) or None,
                evt_handlers=list(handlers) or None,
            )
        except OSError as error:
            raise DeliveryError(
                f"{self}: the host's name is not known ({error})",
                permanent=False,
                remedy="check the peer's host",
                away=True,
            ) from error
        if association.is_established:
            association.network_timeout_response = "A-RELEASE"
            return association
        failure = self._failure(association)
        end(association)
        raise failure

    @contextmanager
    def associated(
        self,
        contexts: Sequence[Context],
        *,
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
        handlers: Sequence[EventHandlerType] = (),
    ) -> Iterator[Association]:
        """An association for one purpose, ended afterwards; see `associate`.

        Raises:
            DeliveryError: there is none, or it ended before something could be sent.
        """
        association = self.associate(contexts, roles=roles, handlers=handlers)
        try:
            yield association
        except RuntimeError as error:  # pynetdicom's, where nothing can be sent
            raise DeliveryError(f"{self}: the association has ended", permanent=False, away=True) from error
        finally:
            end(association)

    def _failure(self, association: Association) -> DeliveryError:
        """Why there is no association, and what to do."""
        answer, wire = association.acceptor.primitive, association.dul.socket
        if isinstance(wire, BoundedSocket) and wire.failure is not None:
            return DeliveryError(
                f"{self}: no TLS connection: {trouble(wire.failure)}",
                permanent=False,
                remedy="compare the certificates and CAs of both sides, and their TLS versions",
                away=True,
            )
        if isinstance(wire, BoundedSocket) and not wire.connected:
            return DeliveryError(
                f"{self}: no connection", permanent=False, remedy="check that the peer is running", away=True
            )
        if association.is_rejected and isinstance(answer, A_ASSOCIATE):
            return DeliveryError(
                f"{self}: association rejected ({answer.result_str}: {answer.reason_str})",
                permanent=False,
                remedy=f"make {self._entity.ae_title} known to the peer, or check the peer's AE title",
                away=True,
            )
        if association.rejected_contexts and not association.accepted_contexts:
            return DeliveryError(
                f"{self}: none of the presentation contexts was accepted",
                permanent=True,
                remedy="let the peer take this SOP class, or send it another kind of result",
            )
        return DeliveryError(
            f"{self}: no answer to the association request",
            permanent=False,
            remedy="see whether a DICOM application listens there, and by the same kind of connection (TLS or not)",
            away=True,
        )


def accepted_contexts(association: Association) -> dict[Context, int]:
    """The ids of the accepted presentation contexts."""
    return {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])): int(context.context_id or 0)
        for context in association.accepted_contexts
    }


def exchange(association: Association, request: C_STORE, context_id: int) -> C_STORE | None:
    """Send a C-STORE request as it is and wait for its answer; None when none came in time.

    `Association.send_c_store` would decode and encode the data set again. Like it, this keeps the association's own
    reactor from taking the answer.
    """
    reactor = association._reactor_checkpoint  # noqa: SLF001 - what every send_* method of pynetdicom does
    try:
        reactor.clear()
    except RuntimeError:  # it has ended
        return None
    try:
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
    finally:
        reactor.set()
    return answer if isinstance(answer, C_STORE) and answer.is_valid_response else None


def end(association: Association, seconds: float | None = None) -> None:
    """Release an association, or abort it when it does not let itself be released; the connection is closed then.

    The peer has `seconds` to answer the release, or as long as for any other answer.
    """
    if association.is_established:
        if seconds is not None:
            association.acse_timeout = association.dimse_timeout = seconds
        with suppress(RuntimeError):  # it ends already, or is busy: the connection is closed in any case
            association.release()
    elif association.is_alive():
        association.abort()
    wire = association.dul.socket
    if isinstance(wire, BoundedSocket):
        wire.shut()
