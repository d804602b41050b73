"""Wires the listener from the settings: who may call, what is kept of what comes, who is told."""

from collections.abc import Callable
from dataclasses import dataclass

from triage_agent.builders import build_peers, build_server_settings, build_spool
from triage_agent.commitment import build_desk
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.peers import AccessPolicy, ourselves
from triage_agent.dimse.server import DicomServer
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.intake.incoming import Incoming
from triage_agent.intake.receiver import Received, Receiver
from triage_agent.intake.reconcile import reconcile
from triage_agent.intake.spool import Spool
from triage_agent.ops.metrics import Metrics
from triage_agent.procedure_steps import build_ups_desk
from triage_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Listener:
    """A server that is not started yet, and what stands behind it."""

    server: DicomServer
    desk: CommitmentDesk
    spool: Spool


def build_listener(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock, wake: Callable[[], None]
) -> Listener:
    """Bring spool and worklist to agree, and make what accepts associations; `wake` is called when something came.

    Raises:
        TriageError: the spool or the worklist is away, or the server cannot be made as it is configured.
    """
    dicom, rule, spool = settings.dicom, settings.study.rule(), build_spool(settings)
    own = ourselves(dicom.ae_title, dicom.host, dicom.port)
    policy = AccessPolicy(build_peers(settings).values(), accept_unknown=dicom.accept_unknown_peers, own=own)
    reconcile(spool, worklist, rule, clock)
    receiver = Receiver(spool, worklist, rule, clock)
    desk = build_desk(settings, worklist, policy, metrics, clock, wake)
    ups = build_ups_desk(settings, worklist, policy, metrics, clock)

    def receive(incoming: Incoming) -> Received:
        received = receiver.keep(incoming)
        metrics.received_bytes.inc(incoming.size)
        wake()
        return received

    server = DicomServer(
        build_server_settings(settings),
        begin=receiver.begin,
        receive=receive,
        policy=policy,
        audit=worklist.record_audit,
        clock=clock,
        answered=lambda status: metrics.stores.labels(f"0x{status:04X}").inc(),
        rejected=lambda reason: metrics.rejected.labels(reason).inc(),
        commitment=desk,
        services=[ups] if ups is not None else [],
    )
    return Listener(server, desk, spool)
