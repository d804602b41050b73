"""Wires the listener from the settings: who may call, what is kept of what comes, who is told."""

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from triage_agent.audit.queries import QueryLog
from triage_agent.builders import build_peers, build_server_settings
from triage_agent.commitment import build_desk
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.limits import Seats
from triage_agent.dimse.modality_worklist import ModalityWorklist, WorklistTerms
from triage_agent.dimse.peers import AccessPolicy, ourselves
from triage_agent.dimse.server import DicomServer
from triage_agent.dimse.services import Service
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import Searched
from triage_agent.hl7in.listener import MllpListener
from triage_agent.intake.incoming import Incoming
from triage_agent.intake.keeper import Keeper
from triage_agent.intake.receiver import Received, Receiver
from triage_agent.measuring import CountingReceiver
from triage_agent.ops.gauges import RefusedConnections
from triage_agent.ops.metrics import Metrics
from triage_agent.ordering import build_order_listener
from triage_agent.procedure_steps import build_ups_desk
from triage_agent.settings import Settings
from triage_agent.spooling import build_belonging, build_spool, settle_spool
from triage_agent.worker import Loop

_UPLOAD_SECONDS = 2.0  # for the upload in hand, at the stop; it is begun anew after the next start


class Server(Protocol):
    """What accepts associations: here, or in processes of its own."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""

    def start(self) -> None:
        """Listen; raises ConfigurationError where an address cannot be listened on, and nothing is listened on then."""

    def stop(self, drain_seconds: float = 10.0) -> bool:
        """Accept nothing more, let transfers end, abort what is left; True if nothing was."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a listener has in common with others on the same ports, each in a process of its own.

    Attributes:
        seats: who counts the associations of all.
        sockets: what they all accept connections from.
    """

    seats: Seats
    sockets: Sequence[socket.socket]


@dataclass(frozen=True, slots=True)
class Listener:
    """A server that is not started yet, and what stands behind it."""

    server: Server
    desk: CommitmentDesk
    spool: Keeper
    begin: Callable[..., Incoming]
    receive: Callable[[Incoming], Received]
    answered: Callable[[int], None]
    orders: MllpListener | None
    uploads: Loop | None = None  # what brings an object store what waits here
    check: Callable[[], None] = lambda: None  # raises TriageError where not all that should listen does
    reload: Callable[[], None] = lambda: None  # certificates, in other processes
    answers_here: bool = True  # requests for storage commitment: where associations are

    def start(self) -> None:
        """Accept associations, and orders where the site has those sent.

        Raises:
            ConfigurationError: an address cannot be listened on; nothing is then.
        """
        self.server.start()
        try:
            if self.orders is not None:
                self.orders.start()
        except ConfigurationError:
            self.server.stop(0.0)
            raise
        if self.uploads is not None:
            self.uploads.start()

    def reloading(self, own: Callable[[], None]) -> Callable[[], None]:
        """What reads the certificates again here, as `own` does, and in other processes."""

        def both() -> None:
            own()
            self.reload()

        return both

    def stop(self, drain_seconds: float) -> None:
        """Accept nothing more; all let what is in hand end in the same seconds, since a stop may not take long."""
        if self.uploads is not None:
            self.uploads.stop()  # what waits is uploaded after the next start
        self._stop_listening(drain_seconds)
        if self.uploads is not None:
            self.uploads.join(_UPLOAD_SECONDS)

    def _stop_listening(self, drain_seconds: float) -> None:
        orders = self.orders
        if orders is None:
            self.server.stop(drain_seconds)
            return
        beside = threading.Thread(target=orders.stop, args=(drain_seconds,), name="stop-orders", daemon=True)
        beside.start()
        self.server.stop(drain_seconds)
        beside.join(drain_seconds)


def build_listener(
    settings: Settings,
    worklist: Worklist,
    metrics: Metrics,
    clock: Clock,
    wake: Callable[..., None],
    queries: QueryLog | None = None,
    *,
    beside: Beside | None = None,
) -> Listener:
    """Bring spool and worklist to agree, and make what accepts associations; `wake` is told which loops have work.

    Whoever gives `queries` sees to it that what it counts is recorded; without it first searches are, all the same.
    One that is `beside` others listens for no orders, and finds spool and worklist in agreement.

    Raises:
        TriageError: the spool or the worklist is away, or they are not each other's, or the server cannot be made.
    """
    belonging = build_belonging(settings, worklist)
    # Before the spool's folders are made: one of several may be started again while the spool's disk is away.
    belonging.settle() if beside is None else belonging.require()
    dicom, rule, spool = settings.dicom, settings.study.rule(), build_spool(settings)
    own = ourselves(dicom.ae_title, dicom.host, dicom.port)
    policy = AccessPolicy(build_peers(settings).values(), accept_unknown=dicom.accept_unknown_peers, own=own)
    words = settings.study.priority_words.words()
    uploads = None if beside else settle_spool(settings, spool, worklist, metrics, clock)
    receiver = CountingReceiver(Receiver(spool, worklist, rule, clock, words=words), settings, metrics)
    desk = build_desk(settings, worklist, policy, metrics, clock, wake)

    def receive(incoming: Incoming) -> Received:
        received = receiver.keep(incoming)
        wake("worker")
        return received

    def answered(status: int) -> None:
        metrics.stores.labels(f"0x{status:04X}").inc()

    server = DicomServer(
        build_server_settings(settings),
        begin=receiver.begin,
        receive=receive,
        policy=policy,
        audit=worklist.record_audit,
        clock=clock,
        answered=answered,
        rejected=lambda reason: metrics.rejected.labels(reason).inc(),
        commitment=desk,
        services=build_services(settings, worklist, policy, metrics, clock, queries),
        seats=beside.seats if beside else None,
        listening=beside.sockets if beside else (),
    )
    metrics.add(RefusedConnections(lambda: server.refused_connections))
    orders = None if beside else build_order_listener(settings, worklist, metrics, clock)
    return Listener(server, desk, spool, receiver.begin, receive, answered, orders, uploads)


def build_services(
    settings: Settings,
    worklist: Worklist,
    policy: AccessPolicy,
    metrics: Metrics,
    clock: Clock,
    queries: QueryLog | None = None,
) -> list[Service]:
    """What is served over DIMSE beside storage and its commitment."""
    dicom, queries = settings.dicom, queries or QueryLog(worklist.record_audit, clock)
    modality = ModalityWorklist(
        worklist.scheduled,
        clock,
        WorklistTerms(days=dicom.worklist_days, most=dicom.worklist_answers),
        answered=lambda status: metrics.queries.labels(f"0x{status:04X}").inc(),
        asked=partial(queries.asked, Searched.ORDERS),
    )
    ups = build_ups_desk(settings, worklist, policy, metrics, clock, queries)
    return [modality, *([] if ups is None else [ups])]
