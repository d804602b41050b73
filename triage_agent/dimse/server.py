"""The DICOM server: who may associate, and what a C-STORE is answered."""

import errno
import socket
import ssl
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import C_STORE

from triage_agent import __version__
from triage_agent.dimse.association import GuardedAssociation
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.door import Door
from triage_agent.dimse.library import configure_pynetdicom
from triage_agent.dimse.limits import Seats
from triage_agent.dimse.listener import Handler, Listener, TlsGate
from triage_agent.dimse.messages import Begin, Incoming, Terms, incoming_of
from triage_agent.dimse.peers import AccessPolicy
from triage_agent.dimse.services import Service, answering
from triage_agent.dimse.statuses import comment_on as _status
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import (
    ConfigurationError,
    InvalidDatasetError,
    StorageExhaustedError,
    TriageError,
    WorklistUnavailableError,
)
from triage_agent.domain.ports import Clock, Registered
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID, is_uid

log = structlog.get_logger(__name__)

# PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS = 0x0000
COERCED = 0xB000
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_POLL_SECONDS = 0.1

"""Answers C-FIND requests of one SOP class: statuses, with an identifier each while they are pending."""


class Outcome(Protocol):
    """What the server needs to know of an instance that was received."""

    @property
    def outcome(self) -> Registered:
        """Whether it was new, known, or in conflict with what is known."""


class Receive(Protocol):
    """Keeps an instance whose data set has come; returns when it is durable and on the worklist."""

    def __call__(self, incoming: Any, /) -> Outcome:
        """Raises InvalidDatasetError, StorageExhaustedError or WorklistUnavailableError; see `DicomServer`.

        Args:
            incoming: what `begin` made for this data set, with every fragment of it; closed by the server.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server listens.

    Attributes:
        port: 0 for any that is free.
        timeout_seconds: between messages, and for one PDU to come whole.
        request_seconds: for TLS and a whole association request; at most `timeout_seconds`.
        min_bytes_per_second: a message that comes slower, averaged once `timeout_seconds` have passed, is aborted.
        max_pdu_bytes: largest P-DATA-TF that senders are told to send; large ones make large images fast.
        max_instance_bytes: a longer data set aborts its association.
        plain: whether `port` is listened on; `tls_port` is whenever there is `tls`.
        tls: the context of the next connection by TLS.
        warn_on_conflict: answer 0xB000 in place of 0x0000 to known SOP Instance UIDs with other bytes.
    """

    ae_title: str
    host: str
    port: int
    max_associations: int = 100
    timeout_seconds: float = 30.0
    request_seconds: float = 10.0
    min_bytes_per_second: float = 4000.0
    max_pdu_bytes: int = 131072
    max_instance_bytes: int = 2 << 30
    warn_on_conflict: bool = False
    plain: bool = True
    tls: Callable[[], ssl.SSLContext] | None = None
    tls_port: int = 2762


def _unobserved(_: object) -> None:
    """Nobody counts."""


class DicomServer:
    """Verification and Storage SCP (PS3.4 annexes A and B), and of what it is given besides.

    Args:
        begin: called before each data set comes, in the thread that reads the connection and hands it the fragments.
        receive: called in the association's thread with what `begin` returned, once everything came.
        audit: told of rejected associations; may raise `WorklistUnavailableError`.
        answered: told the status of every C-STORE response.
        rejected: told why, of every association that is rejected.
        commitment: serves storage commitment (PS3.4 annex J) for peers that may ask for it, or that we ask.
        services: what else is served, each for its SOP classes.
        seats: who counts associations; by default those of this process are counted here.
        listening: sockets that listen already (`sockets.listening_sockets`); by default they are made here.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        begin: Begin,
        receive: Receive,
        policy: AccessPolicy,
        audit: Callable[[AuditEvent], None],
        clock: Clock,
        answered: Callable[[int], None] = _unobserved,
        rejected: Callable[[str], None] = _unobserved,
        commitment: CommitmentDesk | None = None,
        services: Sequence[Service] = (),
        seats: Seats | None = None,
        listening: Sequence[socket.socket] = (),
    ) -> None:
        configure_pynetdicom()
        self._shared = iter(listening)
        self._answered = answered
        self._settings = settings
        self._begin = begin
        self._receive = receive
        self._commitment = commitment
        self._services = services
        self._door = Door(
            settings.ae_title,
            policy=policy,
            audit=audit,
            clock=clock,
            rejected=rejected,
            commits=commitment is not None,
            services=services,
            seats=seats,
        )
        self._listeners: list[Listener] = []
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the server listens on, the plain ones where there are; before `start` those asked for."""
        if not self._listeners:
            return self._settings.host, self._settings.port
        return str(self._listeners[0].server_address[0]), int(self._listeners[0].server_address[1])

    @property
    def tls_port(self) -> int:
        """The port that is listened on by TLS."""
        return int(self._listeners[-1].server_address[1]) if self._listeners else self._settings.tls_port

    @property
    def refused_connections(self) -> Counter[str]:
        """How many connections were closed before they asked for an association, by why."""
        return sum((listener.refusals for listener in self._listeners), Counter[str]())

    @property
    def running(self) -> bool:
        """Whether connections are accepted."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Listen, in a thread for each port.

        Raises:
            ConfigurationError: an address cannot be listened on, or the certificates cannot be used.
        """
        settings, entity = self._settings, self._application_entity()
        try:
            if settings.plain:
                self._listen(entity, settings.port, None)
            if settings.tls is not None:
                settings.tls()
                self._listen(entity, settings.tls_port, TlsGate(settings.tls, self._door.on_handshake_failed))
        except ConfigurationError:
            self.stop(0.0)
            raise

    def _listen(self, entity: ApplicationEntity, port: int, tls: TlsGate | None) -> None:
        settings = self._settings
        try:
            listener = Listener(
                entity,
                (settings.host, port),
                contexts=[self._door.for_anybody],
                tls=tls,
                handlers=self._handlers(),
                io_timeout=settings.timeout_seconds,
                request_timeout=self._request_seconds,
                terms=Terms(
                    begin=self._begin,
                    largest=settings.max_instance_bytes,
                    slowest=settings.min_bytes_per_second,
                    grace=settings.timeout_seconds,
                ),
                listening=next(self._shared, None),
            )
        except OSError as error:
            raise cannot_listen(settings.host, port, error) from error
        thread = threading.Thread(
            target=listener.serve_forever, args=(_POLL_SECONDS,), name="dicom-listener", daemon=True
        )
        thread.start()
        self._listeners.append(listener)
        self._threads.append(thread)
        host, bound = listener.server_address[:2]
        log.info("listening", ae_title=settings.ae_title, host=host, port=bound, tls=tls is not None)

    def _handlers(self) -> list[Handler]:
        handlers: list[Handler] = [
            (evt.EVT_REQUESTED, self._door.on_requested),
            (evt.EVT_REJECTED, self._door.on_rejected),
            (evt.EVT_CONN_CLOSE, _on_closed),
            (evt.EVT_C_STORE, self._on_store),
        ]
        services = [*self._services, *([] if self._commitment is None else [self._commitment])]
        return handlers + list(answering(services).items())

    def stop(self, drain_seconds: float = 10.0) -> bool:
        """Accept nothing more, let transfers end for `drain_seconds`, abort what is left; True if nothing was.

        What is aborted was not acknowledged, so its sender has it still.
        """
        for listener, thread in zip(self._listeners, self._threads, strict=True):
            if thread.is_alive():
                listener.shutdown()
        deadline = time.monotonic() + drain_seconds
        drained = [listener.drain(max(0.0, deadline - time.monotonic())) for listener in self._listeners]
        self._listeners, self._threads = [], []
        return all(drained)

    @property
    def _request_seconds(self) -> float:
        return min(self._settings.request_seconds, self._settings.timeout_seconds)

    def _application_entity(self) -> ApplicationEntity:
        settings = self._settings
        entity = ApplicationEntity(settings.ae_title)
        entity.acse_timeout = self._request_seconds
        entity.dimse_timeout = settings.timeout_seconds
        entity.network_timeout = settings.timeout_seconds
        entity.maximum_pdu_size = settings.max_pdu_bytes
        entity.maximum_associations = settings.max_associations
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = f"TRIAGE_{__version__}"[:16]
        return entity

    def _on_store(self, event: evt.Event) -> Dataset | int:
        """Answer a C-STORE request, and say so to whom it may concern."""
        answer = self._answer(event)
        self._answered(answer if isinstance(answer, int) else int(answer.Status))
        return answer

    def _answer(self, event: evt.Event) -> Dataset | int:
        """The status (PS3.4 section B.2.3): 0x0000 only for what is durable."""
        request = event.request
        incoming = incoming_of(request)
        if not isinstance(request, C_STORE):
            return _status(CANNOT_UNDERSTAND, "not a C-STORE request")
        if incoming is None:
            return _status(DATA_SET_DOES_NOT_MATCH, "the request lacks its data set")
        if request.AffectedSOPClassUID != event.context.abstract_syntax:
            return _status(SOP_CLASS_NOT_SUPPORTED, "SOP class is not the presentation context's")
        source, uid = str(event.assoc.requestor.ae_title).strip(), str(request.AffectedSOPInstanceUID)
        named = uid if is_uid(uid) else "(not a UID)"  # whatever else stands there may be a name
        with structlog.contextvars.bound_contextvars(calling_ae_title=source, sop_instance_uid=named):
            return self._store(incoming)

    def _store(self, incoming: Incoming) -> Dataset | int:
        try:
            received = self._receive(incoming)
        except InvalidDatasetError as error:
            return _refusal(DATA_SET_DOES_NOT_MATCH, error)
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            return _refusal(OUT_OF_RESOURCES, error)
        except Exception as error:  # noqa: BLE001 - a bug costs one instance its acknowledgement, not the association
            log.error("store_failed", error=type(error).__name__, where=_origin(error))  # noqa: TRY400 - see _origin
            return _status(CANNOT_UNDERSTAND, f"internal error ({type(error).__name__})")
        if received.outcome is Registered.CONFLICT and self._settings.warn_on_conflict:
            return _status(COERCED, "first copy kept: this SOP Instance UID came before with other bytes")
        return SUCCESS


def cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    """An address that is taken, or not ours, in the house's words."""
    remedy = "set [dicom] host and port to an address of this machine that is free"
    if error.errno == errno.EADDRINUSE:
        remedy += f"; `ss -ltnp sport = :{port}` says who has it: a process of an agent that was killed may; end it"
    return ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}", remedy=remedy)


def _origin(error: Exception) -> str:
    """Where an error was raised; its message and the frames' values may name a patient."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _refusal(code: int, error: TriageError) -> Dataset:
    log.warning("store_refused", status=f"0x{code:04X}", why=error.message)
    return _status(code, error.message)


def _on_closed(event: evt.Event) -> None:
    if isinstance(event.assoc, GuardedAssociation):
        event.assoc.abandon_unasked()
