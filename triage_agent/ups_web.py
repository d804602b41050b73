"""Wires workitems over HTTP from the settings; it brings no pynetdicom, which only a listener needs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from fastapi import APIRouter

from triage_agent.audit.queries import QueryLog
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import Searched
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.steps.desk import Desk
from triage_agent.web.access import ANYBODY, Access
from triage_agent.web.events import EventAnnouncer, EventChannels
from triage_agent.web.stow import Pace
from triage_agent.web.workitems import WorkitemService
from triage_agent.worklist.workitems import workitems_of

_KEEP = timedelta(hours=1)  # what nobody listens for is not told after that: a search tells more


@dataclass(frozen=True, slots=True)
class WebWorkitems:
    """What answers, who listens, and the step of the loop that tells."""

    routers: tuple[APIRouter, ...]
    channels: EventChannels
    announces: Callable[[], bool]


def callable_titles(settings: Settings) -> dict[str, str]:
    """The AE titles of the peers that can be called, by their names."""
    return {peer.name: peer.ae_title for peer in settings.dicom.peers if peer.host}


def told_over_web(settings: Settings) -> frozenset[str]:
    """The names that are told on an event channel: of those that can be called none."""
    if not settings.web.ups:
        return frozenset()
    names = {token.name for token in settings.web.tokens if {"query", "ups"} & set(token.may)}
    return frozenset(names if settings.web.tokens else {ANYBODY}) - set(callable_titles(settings).values())


def build_workitem_service(
    settings: Settings,
    access: Access,
    worklist: Worklist,
    metrics: Metrics,
    clock: Clock,
    queries: QueryLog | None = None,
) -> WebWorkitems | None:
    """The service; None where the worklist keeps no workitems."""
    if (workitems := workitems_of(worklist)) is None:
        return None
    titles, listeners = callable_titles(settings), told_over_web(settings)
    desk = Desk(
        workitems,
        ae_title=settings.dicom.ae_title,
        titles=titles,
        receivers=listeners | set(titles.values()),
        clock=clock,
    )
    service = WorkitemService(
        access,
        desk,
        Pace(seconds=settings.dicom.timeout_seconds, slowest=settings.dicom.min_bytes_per_second),
        listeners=listeners,
        answered=lambda transaction, status: metrics.workitem_requests.labels(transaction, str(status)).inc(),
        asked=partial((queries or QueryLog(worklist.record_audit, clock)).asked, Searched.WORKITEMS),
    )
    channels = EventChannels(access, listeners)
    announcer = EventAnnouncer(
        workitems,
        channels,
        clock=clock,
        keep=_KEEP,
        observed=lambda outcome: metrics.workitem_reports.labels(outcome).inc(),
    )
    return WebWorkitems((service.router, channels.router), channels, announcer.step)
