"""Wires what the web server answers besides probes from the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter

from triage_agent.audit.queries import QueryLog
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.priorities import PriorityWords
from triage_agent.domain.vocabulary import Searched
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.ups_web import build_workitem_service
from triage_agent.web.access import Access, Caller
from triage_agent.web.results import Results
from triage_agent.web.server import ServerTls
from triage_agent.web.storing import Door
from triage_agent.web.stow import Pace, Stow
from triage_agent.worker import Loop

if TYPE_CHECKING:
    from triage_agent.listening import Listener  # it brings pynetdicom, which only a listener needs


_LAST_EVENT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Services:
    """What a site has switched on."""

    routers: tuple[APIRouter, ...]
    tls: ServerTls | None
    stow: Stow | None
    warn_on_conflict: bool
    words: PriorityWords
    announces: Callable[[], bool] | None

    def announce(self) -> Callable[[], None]:
        """Tell whoever listens for workitems' events, until what is returned is called."""
        if self.announces is None:
            return lambda: None
        loop = Loop("workitem-events", self.announces)
        loop.start()

        def end() -> None:
            loop.stop()
            loop.join(_LAST_EVENT_SECONDS)  # what is not told is told after the next start

        return end

    def receive(self, listener: "Listener") -> Callable[[], None]:
        """Take instances by STOW-RS, too, until what is returned is called."""
        if self.stow is None:
            return lambda: None
        door = Door(
            begin=listener.begin,
            receive=listener.receive,
            answered=listener.answered,
            warn_on_conflict=self.warn_on_conflict,
            words=self.words,
        )
        return self.stow.open(door)


def build_services(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock, queries: QueryLog | None = None
) -> Services:
    """The routers, and the TLS that they are served by; of `queries` see `listening.build_listener`."""
    web, queries = settings.web, queries or QueryLog(worklist.record_audit, clock)
    callers = [Caller(name=token.name, token=token.token, may=frozenset(token.may)) for token in web.tokens]
    access = Access(callers)
    stow = None
    if web.stow:
        stow = Stow(access, Pace(seconds=settings.dicom.timeout_seconds, slowest=settings.dicom.min_bytes_per_second))
    results = Results(access, worklist, clock, partial(queries.asked, Searched.RESULTS)) if web.results else None
    routers = tuple(one.router for one in (stow, results) if one is not None)
    workitems = build_workitem_service(settings, access, worklist, metrics, clock, queries) if web.ups else None
    tls = None if web.tls is None else ServerTls(certificate=web.tls.certificate, key=web.tls.key, ca=web.tls.ca)
    return Services(
        routers=routers if workitems is None else (*routers, *workitems.routers),
        tls=tls,
        stow=stow,
        warn_on_conflict=settings.dicom.warn_on_conflict,
        announces=None if workitems is None else workitems.announces,
        words=settings.study.priority_words.words(),
    )
