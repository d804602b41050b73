"""Wires Unified Procedure Steps from the settings: who is served at the door, and who is told of what."""

from collections.abc import Callable
from functools import partial
from random import SystemRandom

from triage_agent.audit.queries import QueryLog
from triage_agent.builders import build_peers, build_retry
from triage_agent.delivery.announcing import Announcer
from triage_agent.dimse.peers import AccessPolicy
from triage_agent.dimse.ups import UpsDesk
from triage_agent.dimse.ups_client import ReportClient
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import Searched
from triage_agent.domain.workitem import Attributes, StepReport, Workitem, items_of, text_at, workitem_uid
from triage_agent.intake.performing import Performer
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.steps.data import output_information
from triage_agent.ups_web import callable_titles, told_over_web
from triage_agent.worker import Loop, Loops
from triage_agent.worklist.workitems import workitems_of

_PERFORM_SECONDS = 1.0  # between two looks at what peers have posted
_INPUT, _RETRIEVAL, _RETRIEVE_AE = "00404021", "0040E071", "00080054"  # what is to be processed, and who has it


def build_ups_desk(
    settings: Settings, worklist: Worklist, policy: AccessPolicy, metrics: Metrics, clock: Clock, queries: QueryLog
) -> UpsDesk | None:
    """What the server does with requests about workitems; None where the worklist keeps none."""
    if (workitems := workitems_of(worklist)) is None:
        return None
    return UpsDesk(
        workitems,
        ae_title=settings.dicom.ae_title,
        policy=policy,
        peers=callable_titles(settings),
        told=told_over_web(settings),
        clock=clock,
        answered=lambda kind, status: metrics.workitem_requests.labels(kind, f"0x{status:04X}").inc(),
        asked=partial(queries.asked, Searched.WORKITEMS),
    )


def build_performer(settings: Settings, worklist: Worklist, clock: Clock) -> Performer | None:
    """The loop's step that does what peers post; None where there are no workitems, or nobody may post any."""
    workitems = workitems_of(worklist)
    if workitems is None or not any("ups" in peer.may for peer in settings.dicom.peers):
        return None
    titles = callable_titles(settings)
    sources = {peer.ae_title: peer.name for peer in settings.dicom.peers if peer.retrieve is not None}

    def source_of(item: Workitem) -> str | None:
        """Who the workitem says has the images, else who posted it, else the only one to fetch from."""
        candidates = [item.posted_by]
        for given in items_of(item.attributes, _INPUT):
            candidates[:0] = [text_at(where, _RETRIEVE_AE) for where in items_of(given, _RETRIEVAL)]
        named = next((sources[title] for title in candidates if title in sources), None)
        return named or (next(iter(sources.values())) if len(sources) == 1 else None)

    def outputs_of(study_instance_uid: str) -> list[Attributes]:
        found = workitems.workitems([workitem_uid(study_instance_uid)], objects=True)
        return [output for item in found if item.study is not None for output in output_information(item.study, titles)]

    return Performer(
        workitems=workitems,
        worklist=worklist,
        ae_title=settings.dicom.ae_title,
        source_of=source_of,
        outputs_of=outputs_of,
        clock=clock,
    )


def add_performer(settings: Settings, worklist: Worklist, clock: Clock, loops: Loops) -> None:
    """Do what peers post as workitems; looked for seldom, since each takes its fetching and its scoring."""
    if (performer := build_performer(settings, worklist, clock)) is not None:
        loops.add(Loop("perform", performer.step, idle_seconds=_PERFORM_SECONDS))


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
        apart=told_over_web(settings),
        observed=lambda outcome: metrics.workitem_reports.labels(outcome).inc(),
    )
    return announcer, close
