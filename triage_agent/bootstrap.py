"""A running agent: its parts, started in order and ended in reverse; `builders` makes them from the settings."""

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from triage_agent import __version__
from triage_agent.audit.queries import QueryLog
from triage_agent.auditing import keep_audit
from triage_agent.builders import (
    build_certificate_watch,
    build_loader,
    build_peers,
    build_policy,
    build_reserve,
    build_retention,
    build_scorer,
    build_shadow,
    build_signals,
    build_transports,
    migrate_own,
    open_worklist,
    start_scorer,
    start_shadow,
)
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import (
    BundleError,
    ConfigurationError,
    TriageError,
    WorklistUnavailableError,
)
from triage_agent.domain.ports import Clock, ImageScorer, StudyCounter, Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.ops.metrics import Metrics
from triage_agent.pace import pace_of
from triage_agent.pooling import watched
from triage_agent.settings import Settings
from triage_agent.spooling import build_belonging, build_spool
from triage_agent.tracing import trace_journeys
from triage_agent.watching import watch_for_workers, watch_process, watch_site
from triage_agent.worker import Loop, Loops, in_time

if TYPE_CHECKING:
    from triage_agent.dimse.commitment import CommitmentDesk
    from triage_agent.imaging.loader import Loader
    from triage_agent.retrieval import Fetching
    from triage_agent.schedule import Schedule
    from triage_agent.shadow import Shadow

__all__ = [
    "Agent",
    "build_agent",
    "build_belonging",
    "build_loader",
    "build_peers",
    "build_policy",
    "build_scorer",
    "build_shadow",
    "build_spool",
    "build_transports",
    "open_worklist",
    "start_scorer",
    "start_shadow",
    "utc_now",
]

log = structlog.get_logger(__name__)

# From SIGTERM on, both at the same time; far below its 30 s, since a database may be slow to take things back.
_DRAIN_SECONDS = 8.0  # for associations and orders
_STOP_SECONDS = 10.0  # for images and deliveries in hand
_LAST_ANSWER_SECONDS = 2.0  # on top of them, for an answer to a request for storage commitment


def utc_now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent."""

    worklist: Worklist
    metrics: Metrics
    reload: Callable[[], None]  # certificates, from their files


@contextmanager
def build_agent(settings: Settings, role: str) -> Iterator[Agent]:
    """Start the agent in a role (all, listener, worker, web); its parts stop in reverse order at the end of the block.

    Raises:
        TriageError: it cannot start, and why.
    """
    with ExitStack() as stack:
        start = _Start(settings, stack, role)
        start.spool(role)
        start.probes(role)
        start.certificates()
        works = role in {"all", "worker"}
        models = start.models() if works else None  # before anything is received that could then not be scored
        if role in {"all", "listener"}:
            start.listener()
        if models is not None:
            start.worker(*models)
        start.finish(role)
        yield Agent(start.worklist, start.metrics, start.reload)


class _Start:
    """Starts the parts in order and leaves their ends on the stack."""

    def __init__(self, settings: Settings, stack: ExitStack, role: str) -> None:
        self._settings = settings
        self._stack = stack
        self._work = ExitStack()  # what ends after the listener: the loops finish what they have while it drains
        self._process = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._owners: list[str] = []  # one a loop, so that a loop that failed frees what it held and nothing else
        self._checks: dict[str, Callable[[], None]] = {}
        self._stuck: list[str] = []
        self._loops = Loops(_STOP_SECONDS)
        self.metrics = Metrics(trace_journeys(settings, role, stack))
        self.reload: Callable[[], None] = lambda: None
        migrate_own(settings)
        self.worklist = open_worklist(settings)
        self._signals = build_signals(settings, self._loops.wake)
        # With several machines, the database's: by their own clocks they would take each other's work.
        self._clock: Clock = self._signals.clock if self._signals else utc_now
        self._queries = QueryLog(self.worklist.record_audit, self._clock)

    def spool(self, role: str) -> None:
        """Refuse one that is not the database's, before a model is loaded; it is joined when the listener begins."""
        if role == "web":
            return
        belonging = build_belonging(self._settings, self.worklist)
        belonging.require() if role == "worker" else belonging.look()
        self._checks["spool"] = belonging.require

    def probes(self, role: str) -> None:
        """Answer probes from the first moment on, and pages where they are served; not ready until `finish`."""
        from triage_agent.signing_in import build_site
        from triage_agent.web.app import build_app
        from triage_agent.web.server import WebServer
        from triage_agent.webservices import build_services

        settings, worklist, queries = self._settings, self.worklist, self._queries
        disk = watch_site(settings, worklist, self.metrics, self._clock)
        self._checks |= {"start": _still_starting, "database": self.worklist.ping}
        self._stack.enter_context(watch_process(settings, role, self._checks, self.metrics, self._clock))
        web = settings.web
        self._services = build_services(settings, worklist, self.metrics, self._clock, queries)
        made = None
        if role in {"all", "web"}:
            made = build_site(settings, worklist, self._clock, self._process, disk)
        site, close = made or (None, lambda: None)
        self._stack.callback(close)
        app = build_app(self._checks, self.metrics.exposition, __version__, self._services.routers, site)
        server = WebServer(app, web.host, web.port, self._services.tls)
        server.start()
        self._stack.callback(server.stop)
        self._stack.callback(self._services.announce())
        if self._signals is not None:
            self._signals.start()
            self._stack.callback(self._signals.stop)
        self._stack.enter_context(keep_audit(settings, worklist, self.metrics, self._clock, queries))
        self._stack.enter_context(self._work)

    def certificates(self) -> None:
        """Load them where there is TLS, and watch their files."""
        watch = build_certificate_watch(self._settings)
        if watch is None:
            return
        watch.start()
        self._stack.callback(watch.stop)
        self.metrics.watch_certificates(watch.expiries, watch.is_current)
        self.reload = watch.reload

    def listener(self) -> None:
        """Bring spool and worklist to agree, then accept associations."""
        from triage_agent.listeners.wiring import build_listeners

        listener = build_listeners(
            self._settings, self.worklist, self.metrics, self._clock, self._loops.wake, self._queries
        )
        listener.start()
        self._stack.callback(listener.stop, _DRAIN_SECONDS)
        watch = watch_for_workers(self.worklist, self._clock)
        watch.start()
        self._stack.callback(watch.stop)
        if listener.answers_here:
            self._answers(listener.desk)
        self.reload = listener.reloading(self.reload)
        self._announces()
        self._checks |= {"disk": listener.spool.check_ready, "listeners": listener.check}
        self._stack.callback(self._services.receive(listener))

    def _answers(self, desk: "CommitmentDesk") -> None:
        """Answer requests for storage commitment where the associations are: some peers listen only on theirs."""
        from triage_agent.commitment import build_answering

        loop = build_answering(self._settings, self.worklist, desk, self.metrics, self._clock)
        loop.start()
        self._work.callback(loop.join, _LAST_ANSWER_SECONDS)  # what it cannot end is answered after the next start
        self._stack.callback(loop.stop)

    def _announces(self) -> None:
        """Tell subscribers of workitems; what is not told at the end is told after the next start."""
        from triage_agent.procedure_steps import build_announcer

        if (made := build_announcer(self._settings, self.worklist, self.metrics, self._clock)) is None:
            return
        announcer, close = made
        self._work.callback(close)
        loop = Loop("workitem-reports", announcer.step)
        loop.start()
        self._work.callback(loop.join, _LAST_ANSWER_SECONDS)
        self._stack.callback(loop.stop)

    def models(self) -> tuple[ImageScorer, ImageScorer | None]:
        """Load the bundle, and the shadow bundle where there is one; it is a wrong configuration if the first fails."""
        from triage_agent.stages import load_shadow

        try:
            scorer = watched(start_scorer(self._settings), self._checks, self._stack, self._work)
            second = load_shadow(self._settings, self.metrics, start_shadow)
        except BundleError as error:
            raise ConfigurationError(error.message, remedy=error.remedy) from error
        if second is not None:
            watched(second, {}, self._stack, self._work)  # nobody is less ready without it
        return scorer, second

    def worker(self, scorer: ImageScorer, second: ImageScorer | None) -> None:
        """Score, decide, compare with the second model, deliver, and tick."""
        from triage_agent.evidence import add_evidence, shows_evidence
        from triage_agent.notification import add_notifiers
        from triage_agent.procedure_steps import add_performer
        from triage_agent.stages import build_pipeline, build_worker

        settings = self._settings
        pace = pace_of(settings, scorer)
        # The shadow reads with a decoder of its own, so that no image waits for it; and so does evidence.
        most = pace.decoders + (second is not None) + shows_evidence(settings)
        loader = self._work.enter_context(build_loader(settings, most=most))
        later = add_evidence(settings, self.worklist, loader, self.metrics, self._clock, self._loops, self._stack)
        if second is not None:
            later.append(self._shadow(second, loader).offer)
        pipeline = build_pipeline(
            settings, self.worklist, loader, scorer, later, self.metrics, self._clock, self._loops.wake, pace
        )
        pipeline.warm_up()
        self._checks["model"] = pipeline.check_model
        for name in pace.names:
            owner, decides = self._owner_of(name), name not in pace.for_images
            scored = partial(self._loops.wake, "worker")
            worker = build_worker(
                settings, pipeline, self.worklist, self.metrics, self._clock, owner, scored, decides=decides
            )
            self._add_loop(name, worker.step, owner)
        self._deliverers()
        self._fetchers()
        add_performer(settings, self.worklist, self._clock, self._loops)
        add_notifiers(settings, self.worklist, self.metrics, self._clock, self._loops, self._work)
        self._run()

    def _run(self) -> None:
        """Start the loops and the ticks, and leave their ends on the stack in the order that they need."""
        counter = self._counter()
        # Before connections are cut: what is in flight then is free already.
        self._work.callback(in_time, self._give_back)
        schedule = self._schedule(counter)
        schedule.start()
        self._work.callback(schedule.stop)  # it renews what loops hold until they have ended
        self._work.callback(self._join_loops)
        self._stack.callback(self._loops.stop)
        self._loops.start()

    def _schedule(self, counter: StudyCounter | None) -> "Schedule":
        from triage_agent.delivering import longest_waits
        from triage_agent.schedule import WORK, Schedule

        settings = self._settings
        self.metrics.watch_ticks(WORK)
        return Schedule(
            worklist=self.worklist,
            rule=settings.study.rule(),
            clock=self._clock,
            counter=counter,
            completed=self._loops.wake,
            owners=self._owners,
            lease=timedelta(seconds=settings.worker.lease_seconds),
            longest=longest_waits(settings),
            fetch_from=settings.study.ask_peer or "",
            retention=build_retention(settings, self.worklist, self._clock),
            reserve=build_reserve(settings),
            failed=self.metrics.tick_failed,
        )

    def finish(self, role: str) -> None:
        """Say that everything is up, here and in the audit trail."""
        self._audit(AuditAction.AGENT_STARTED, role)
        self._stack.callback(in_time, partial(self._audit, AuditAction.AGENT_STOPPED, role))
        del self._checks["start"]
        log.info("started", role=role, version=__version__, owner=self._process)

    def _shadow(self, scorer: ImageScorer, loader: "Loader") -> "Shadow":
        """The second model, in a loop of its own: nothing that is received, raised or decided waits for it."""
        from triage_agent.stages import build_comparison

        shadow = build_comparison(self._settings, self.worklist, loader, scorer, self.metrics, self._clock)
        self._loops.add(Loop("shadow", shadow.step))
        self._stack.callback(shadow.stop)
        return shadow

    def _deliverers(self) -> None:
        """One loop a destination that some route names, and one for each that is asked to commit."""
        from triage_agent.commitment import build_askers
        from triage_agent.delivering import build_senders, sent_any

        settings, transports = self._settings, build_transports(self._settings)
        for name, owner, sender in build_senders(
            settings, self.worklist, transports, self.metrics, self._clock, self._owner_of
        ):
            self._work.callback(sender.close)
            self._add_loop(f"deliver-{name}", partial(sent_any, sender, name), owner)
        for name, asker, client in build_askers(settings, self.worklist, self.metrics, self._clock):
            self._work.callback(client.close)
            self._loops.add(Loop(f"commit-{name}", asker.step))

    def _add_loop(self, name: str, step: Callable[[], bool], owner: str) -> None:
        idle = self._settings.worker.poll_seconds
        self._loops.add(Loop(name, step, partial(self._free_held, owner), idle_seconds=idle))

    def _fetchers(self) -> None:
        """Fetch from each PACS that studies can be fetched from, in loops of their own: a slow one delays nothing."""
        from triage_agent.retrieval import LOOPS, Fetching, retrieving_peers

        if not retrieving_peers(self._settings):
            return
        fetching = Fetching(self._settings, self.worklist, self._clock, self._loops.wake, self.metrics)
        self._stack.callback(fetching.stop)
        for number in range(1, LOOPS + 1):
            owner = self._owner_of(f"fetch-{number}")
            self._add_loop(f"fetch-{number}", partial(_fetched_any, fetching, owner), owner)

    def _owner_of(self, loop: str) -> str:
        """The name under which a loop holds what it works on."""
        self._owners.append(f"{self._process}/{loop}")
        return self._owners[-1]

    def _counter(self) -> StudyCounter | None:
        from triage_agent.retrieval import build_counter

        if (client := build_counter(self._settings)) is not None:
            self._work.callback(client.close)
        return client

    def _free_held(self, owner: str, counted: bool) -> None:
        """What a failed step held would otherwise be renewed for as long as this process lives."""
        self.worklist.give_back(owner, self._clock(), counted=counted)

    def _join_loops(self) -> None:
        self._stuck = self._loops.join()

    def _give_back(self) -> None:
        """At the end; what could not be finished in time counts as tried, since it may never end."""
        try:
            for owner in self._owners:
                self._free_held(owner, owner.removeprefix(f"{self._process}/") in self._stuck)
        except WorklistUnavailableError as error:
            log.warning("not_given_back", error=error.message)

    def _audit(self, action: AuditAction, role: str) -> None:
        detail = {"role": role, "version": __version__}
        try:
            self.worklist.record_audit(AuditEvent(at=self._clock(), action=action, actor=self._process, detail=detail))
        except WorklistUnavailableError as error:
            log.warning("not_audited", action=action.value, error=error.message)


def _fetched_any(fetching: "Fetching", owner: str) -> bool:
    return fetching.step(owner)[0]


def _still_starting() -> None:
    raise TriageError("still starting")
