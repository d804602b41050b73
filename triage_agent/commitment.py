"""Wires storage commitment from the settings: who is served at the door, who answers, who asks."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from random import SystemRandom

import structlog
from pydicom.uid import generate_uid

from triage_agent.builders import build_peers, build_retry
from triage_agent.delivery.answering import Answerer
from triage_agent.delivery.committing import Asker, CommitmentRule, ReportTaker
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.commitment_client import CommitmentClient
from triage_agent.dimse.peers import AccessPolicy
from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.spooling import kept
from triage_agent.worker import Loop

log = structlog.get_logger(__name__)

_BEFORE_ANSWERING = timedelta(seconds=1)  # for the peer to take our response, and to listen for the report


def committing_destinations(settings: Settings) -> tuple[str, ...]:
    """The peers that some route asks to commit to what they are sent, in the configuration's order."""
    return tuple(dict.fromkeys(route.to for route in settings.routes if route.commit))


def build_desk(
    settings: Settings,
    worklist: Worklist,
    policy: AccessPolicy,
    metrics: Metrics,
    clock: Clock,
    wake: Callable[[], None],
) -> CommitmentDesk:
    """What the server does with requests and reports; `wake` is called when something is to be sent again."""
    taker = _taker(settings, worklist, metrics, clock)
    days = settings.storage.retention_days  # answered requests are kept for as long as originals; for ever by 0

    def requested(request: CommitmentRequest) -> None:
        now = clock()
        forget = now - timedelta(days=days) if days else None
        worklist.keep_commitment_request(request, now, now + _BEFORE_ANSWERING, forget)

    def reported(peers: frozenset[str], report: CommitmentReport) -> None:
        if taker.take(peers, report).resent:
            wake()

    return CommitmentDesk(
        policy=policy,
        requested=requested,
        reported=reported,
        answered=lambda status: metrics.commitment_requests.labels(f"0x{status:04X}").inc(),
    )


def build_answerer(
    settings: Settings, worklist: Worklist, desk: CommitmentDesk, metrics: Metrics, clock: Clock
) -> Answerer:
    """The loop's step that answers what peers asked for."""
    clients = {
        name: CommitmentClient(
            peer, calling_ae_title=settings.dicom.ae_title, answer_seconds=settings.dicom.timeout_seconds
        )
        for name, peer in build_peers(settings).items()
    }

    def tell(peer: str, report: CommitmentReport) -> None:
        """On a new association; on the one that the request came on where the peer takes no other."""
        if peer not in clients:
            raise DeliveryError(f"no peer is named {peer} any more", permanent=True)
        try:
            clients[peer].report(report)
        except DeliveryError as error:
            if error.permanent:  # it has been told
                raise
            status = desk.report_where_asked(peer, report, settings.dicom.timeout_seconds)
            if status is None:
                raise
            if status:
                raise DeliveryError(f"{peer}: N-EVENT-REPORT answered 0x{status:04X}", permanent=True) from error

    return Answerer(
        worklist=worklist,
        is_kept=kept(settings),
        tell=tell,
        clock=clock,
        rng=SystemRandom(),
        lease=timedelta(seconds=settings.worker.lease_seconds),
        retry=build_retry(settings),
        observed=lambda outcome: metrics.commitment_answers.labels(outcome).inc(),
    )


def build_answering(
    settings: Settings, worklist: Worklist, desk: CommitmentDesk, metrics: Metrics, clock: Clock
) -> Loop:
    """The loop that answers what peers asked for, in a process that has their associations."""
    return Loop("commitment-answers", build_answerer(settings, worklist, desk, metrics, clock).step)


def build_askers(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock
) -> list[tuple[str, Asker, CommitmentClient]]:
    """For each destination that is to commit: its name, the loop's step that asks it, and the client to close."""
    taker = _taker(settings, worklist, metrics, clock)

    def reported(peers: frozenset[str], report: CommitmentReport) -> None:
        taker.take(peers, report)

    def asker(name: str) -> tuple[str, Asker, CommitmentClient]:
        client = build_client(settings, name, reported)
        step = Asker(
            worklist=worklist,
            destination=name,
            ask=client.ask,
            clock=clock,
            new_uid=lambda: str(generate_uid(prefix=None)),
            rule=_rule(settings),
            retry=build_retry(settings),
            observed=partial(_count, metrics),
        )
        return name, step, client

    return [asker(name) for name in committing_destinations(settings)]


def build_client(
    settings: Settings, name: str, reported: Callable[[frozenset[str], CommitmentReport], None] | None = None
) -> CommitmentClient:
    """A way to ask a peer."""
    return CommitmentClient(
        build_peers(settings)[name],
        calling_ae_title=settings.dicom.ae_title,
        reported=reported,
        answer_seconds=settings.dicom.timeout_seconds,
    )


def _taker(settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock) -> ReportTaker:
    def observed(peers: frozenset[str], outcome: str, objects: int) -> None:
        _count(metrics, ",".join(sorted(peers)), outcome, objects)

    return ReportTaker(worklist=worklist, clock=clock, rule=_rule(settings), observed=observed)


def _count(metrics: Metrics, destination: str, outcome: str, objects: int) -> None:
    metrics.commitments.labels(destination, outcome).inc(objects)


def _rule(settings: Settings) -> CommitmentRule:
    delivery = settings.delivery
    return CommitmentRule(
        answer_within=timedelta(seconds=delivery.commit_answer_seconds),
        most_asks=delivery.commit_asks,
        most_resends=delivery.commit_resends,
    )
