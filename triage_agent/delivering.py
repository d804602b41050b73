"""Wires the senders from the settings: one a destination, so that a dead one blocks no other."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from random import SystemRandom

import structlog

from triage_agent.builders import build_retry
from triage_agent.commitment import committing_destinations
from triage_agent.delivery.answering import SEND_SECONDS
from triage_agent.delivery.committing import ASK_SECONDS
from triage_agent.delivery.sender import Sender, Sent
from triage_agent.domain.decision import Delivery
from triage_agent.domain.ports import Clock, Transport, Worklist
from triage_agent.domain.waits import LongestWaits
from triage_agent.ops.metrics import Metrics
from triage_agent.retrieval import longest_pause
from triage_agent.settings import Settings

log = structlog.get_logger(__name__)


def build_senders(
    settings: Settings,
    worklist: Worklist,
    transports: Mapping[str, Transport],
    metrics: Metrics,
    clock: Clock,
    owner_of: Callable[[str], str],
) -> Iterator[tuple[str, str, Sender]]:
    """For each destination that some route names: its name, the name under which its work is held, and its sender.

    What waits for a destination that no route names any more is dead from here on.
    """
    wanted = {route.to for route in settings.routes}
    if buried := worklist.bury_unrouted(wanted, clock()):
        log.warning("deliveries_without_a_route", dead=buried)
    for name, transport in transports.items():
        if name not in wanted:
            continue
        owner = owner_of(f"deliver-{name}")
        sender = Sender(
            worklist=worklist,
            transports={name: transport},
            clock=clock,
            rng=SystemRandom(),
            owner=owner,
            lease=timedelta(seconds=settings.worker.lease_seconds),
            retry=build_retry(settings),
            commits=committing_destinations(settings),
            shows_regions=settings.results.evidence,
            observed=partial(_observed, metrics, clock),
            journey=metrics.journey,
        )
        yield name, owner, sender


def _observed(metrics: Metrics, clock: Clock, delivery: Delivery, outcome: Sent) -> None:
    metrics.deliveries.labels(delivery.destination, outcome.value).inc()
    if outcome is Sent.SENT and delivery.queued_at is not None:
        seconds = max(0.0, (clock() - delivery.queued_at).total_seconds())
        metrics.timings.delivery.labels(delivery.destination, delivery.artifact.kind.value).observe(seconds)


def longest_waits(settings: Settings) -> LongestWaits:
    """How far ahead deadlines can lie in this configuration, but for a clock that was set back."""
    delivery = settings.delivery
    return LongestWaits(
        lease=timedelta(seconds=settings.worker.lease_seconds),
        sending=timedelta(seconds=delivery.longest_retry_seconds),
        replying=timedelta(seconds=max(delivery.longest_retry_seconds, SEND_SECONDS)),
        asking=timedelta(seconds=max(delivery.commit_answer_seconds, ASK_SECONDS)),
        fetching=longest_pause(settings),
    )


def sent_any(sender: Sender, destination: str) -> bool:
    """One look at what waits for a destination; whether anything went."""
    return sender.run_once(destination) > 0
