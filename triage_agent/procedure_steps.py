"""Wires Unified Procedure Steps from the settings: who is served at the door, and who is told of what."""

from collections.abc import Callable
from random import SystemRandom

from triage_agent.builders import build_peers, build_retry
from triage_agent.delivery.announcing import Announcer
from triage_agent.dimse.peers import AccessPolicy
from triage_agent.dimse.ups import UpsDesk
from triage_agent.dimse.ups_client import ReportClient
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.workitem import StepReport
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.worklist.workitems import workitems_of


def build_ups_desk(
    settings: Settings, worklist: Worklist, policy: AccessPolicy, metrics: Metrics, clock: Clock
) -> UpsDesk | None:
    """What the server does with requests about workitems; None where the worklist keeps none."""
    if (workitems := workitems_of(worklist)) is None:
        return None
    return UpsDesk(
        workitems,
        ae_title=settings.dicom.ae_title,
        policy=policy,
        receivers=[peer.ae_title for peer in settings.dicom.peers if peer.host],
        clock=clock,
        answered=lambda kind, status: metrics.workitem_requests.labels(kind, f"0x{status:04X}").inc(),
    )


def build_announcer(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock
) -> tuple[Announcer, Callable[[], None]] | None:
    """The loop's step that tells subscribers, and what ends its associations; None where there are no workitems."""
    if (workitems := workitems_of(worklist)) is None:
        return None
    clients = {
        peer.ae_title: ReportClient(
            peer, calling_ae_title=settings.dicom.ae_title, answer_seconds=settings.dicom.timeout_seconds
        )
        for peer in build_peers(settings).values()
        if peer.host
    }

    def tell(report: StepReport) -> None:
        if report.subscriber not in clients:
            raise DeliveryError(f"no peer is {report.subscriber} any more", permanent=True)
        clients[report.subscriber].tell(report)

    def close() -> None:
        for client in clients.values():
            client.close()

    announcer = Announcer(
        workitems=workitems,
        tell=tell,
        clock=clock,
        rng=SystemRandom(),
        retry=build_retry(settings),
        observed=lambda outcome: metrics.workitem_reports.labels(outcome).inc(),
    )
    return announcer, close
