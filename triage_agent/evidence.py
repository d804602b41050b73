"""Wires evidence from the settings: the maps of what raised a study, where a site has turned them on."""

from collections.abc import Callable
from contextlib import ExitStack

import structlog

from triage_agent.builders import build_routes
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.imaging.loader import Loader
from triage_agent.mapping import QUEUED, Mapper
from triage_agent.ops.metrics import Metrics
from triage_agent.pipeline import Later
from triage_agent.settings import Settings
from triage_agent.spooling import reading, spool_folder
from triage_agent.worker import Loop, Loops

log = structlog.get_logger(__name__)


def shows_evidence(settings: Settings) -> bool:
    """Whether it is turned on, and some route asks for it."""
    return settings.results.evidence and any(kind.is_evidence for route in settings.routes for kind in route.send)


def add_evidence(
    settings: Settings,
    worklist: Worklist,
    loader: Loader,
    metrics: Metrics,
    clock: Clock,
    loops: Loops,
    stack: ExitStack,
) -> list[Later]:
    """Let maps be made in a loop of their own; what is to be told of each decision, nothing where none are wanted."""
    mapper = _build_mapper(settings, worklist, loader, metrics, clock, loops.wake)
    if mapper is None:
        return []
    loops.add(Loop("evidence", mapper.step))
    stack.callback(mapper.stop)
    return [mapper.offer]


def _build_mapper(
    settings: Settings,
    worklist: Worklist,
    loader: Loader,
    metrics: Metrics,
    clock: Clock,
    wake: Callable[[], None],
) -> Mapper | None:
    """What makes maps; None where nobody wants any, or the bundle has none: nothing that is decided depends on it.

    `wake` is called when there is something to send.
    """
    if not shows_evidence(settings):
        return None
    model = settings.model
    try:
        from triage_agent.models.explaining import start_explainer  # noqa: PLC0415 - brings torch

        explainer = start_explainer(model.bundle, model.device, model.encoder)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it costs maps only
        said = str(error) if isinstance(error, TriageError) else type(error).__name__
        log.error("evidence_not_loaded", bundle=model.bundle, error=said)  # noqa: TRY400 - an admin needs the remedy
        return None

    def mapped(outcome: str) -> None:
        metrics.evidence.labels(outcome).inc()
        if outcome == QUEUED:
            wake()

    return Mapper(
        worklist=worklist,
        spool=spool_folder(settings),
        loader=reading(settings, loader),
        explainer=explainer,
        routes=build_routes(settings),
        institution=settings.institution,
        timezone=settings.results.zone(),
        clock=clock,
        mapped=mapped,
        secondary_captures=settings.study.score_secondary_captures,
    )
