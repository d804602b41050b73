"""Wires what the web server answers besides probes from the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter

from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.priorities import PriorityWords
from triage_agent.settings import Settings
from triage_agent.web.access import Access, Caller
from triage_agent.web.results import Results
from triage_agent.web.server import ServerTls
from triage_agent.web.storing import Door
from triage_agent.web.stow import Pace, Stow

if TYPE_CHECKING:
    from triage_agent.listening import Listener  # it brings pynetdicom, which only a listener needs


@dataclass(frozen=True, slots=True)
class Services:
    """What a site has switched on."""

    routers: tuple[APIRouter, ...]
    tls: ServerTls | None
    stow: Stow | None
    warn_on_conflict: bool
    words: PriorityWords

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


def build_services(settings: Settings, worklist: Worklist, clock: Clock) -> Services:
    """The routers, and the TLS that they are served by."""
    web = settings.web
    callers = [Caller(name=token.name, token=token.token, may=frozenset(token.may)) for token in web.tokens]
    access = Access(callers)
    stow = None
    if web.stow:
        stow = Stow(access, Pace(seconds=settings.dicom.timeout_seconds, slowest=settings.dicom.min_bytes_per_second))
    results = Results(access, worklist, clock) if web.results else None
    tls = None if web.tls is None else ServerTls(certificate=web.tls.certificate, key=web.tls.key, ca=web.tls.ca)
    return Services(
        routers=tuple(one.router for one in (stow, results) if one is not None),
        tls=tls,
        stow=stow,
        warn_on_conflict=settings.dicom.warn_on_conflict,
        words=settings.study.priority_words.words(),
    )
