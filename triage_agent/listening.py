"""Wires the listener from the settings: who may call, what is kept of what comes, who is told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from triage_agent.audit.queries import QueryLog
from triage_agent.builders import build_belonging, build_peers, build_server_settings, build_spool
from triage_agent.commitment import build_desk
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.modality_worklist import ModalityWorklist, WorklistTerms
from triage_agent.dimse.peers import AccessPolicy, ourselves
from triage_agent.dimse.server import DicomServer
from triage_agent.dimse.services import Service
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import Searched
from triage_agent.hl7in.listener import MllpListener
from triage_agent.intake.incoming import Incoming
from triage_agent.intake.receiver import Received, Receiver
from triage_agent.intake.reconcile import reconcile
from triage_agent.intake.spool import Spool
from triage_agent.ops.gauges import RefusedConnections
from triage_agent.ops.metrics import Metrics
from triage_agent.ordering import build_order_listener
from triage_agent.procedure_steps import build_ups_desk
from triage_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Listener:
    """A server that is not started yet, and what stands behind it."""

    server: DicomServer
    desk: CommitmentDesk
    spool: Spool
    begin: Callable[..., Incoming]
    receive: Callable[[Incoming], Received]
    answered: Callable[[int], None]
    orders: MllpListener | None

    def start(self) -> None:
        """Accept associations, and orders where the site has those sent.

        Raises:
            ConfigurationError: an address cannot be listened on; nothing is then.
        """
        self.server.start()
        if self.orders is None:
            return
        try:
            self.orders.start()
        except ConfigurationError:
            self.server.stop(0.0)
            raise

    def stop(self, drain_seconds: float) -> None:
        """Accept nothing more; both let what is in hand end in the same seconds, since a stop may not take long."""
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
) -> Listener:
    """Bring spool and worklist to agree, and make what accepts associations; `wake` is told which loops have work.

    Whoever gives `queries` sees to it that what it counts is recorded; without it first searches are, all the same.

    Raises:
        TriageError: the spool or the worklist is away, or they are not each other's, or the server cannot be made.
    """
    build_belonging(settings, worklist).settle()  # before the spool's folders are made
    dicom, rule, spool = settings.dicom, settings.study.rule(), build_spool(settings)
    own = ourselves(dicom.ae_title, dicom.host, dicom.port)
    policy = AccessPolicy(build_peers(settings).values(), accept_unknown=dicom.accept_unknown_peers, own=own)
    words = settings.study.priority_words.words()
    reconcile(spool, worklist, rule, clock, words=words)
    receiver = Receiver(spool, worklist, rule, clock, words=words)
    desk = build_desk(settings, worklist, policy, metrics, clock, wake)

    def receive(incoming: Incoming) -> Received:
        received = receiver.keep(incoming)
        metrics.received_bytes.inc(incoming.size)
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
    )
    metrics.add(RefusedConnections(lambda: server.refused_connections))
    orders = build_order_listener(settings, worklist, metrics, clock)
    return Listener(server, desk, spool, receiver.begin, receive, answered, orders)


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
