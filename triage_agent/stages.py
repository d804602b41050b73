"""Wires what reads images from the settings: the pipeline that decides, and the shadow that only compares."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

import structlog

from triage_agent.assessing import check_model
from triage_agent.builders import build_policy, build_routes
from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.domain.ports import Clock, ImageScorer, Worklist
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.imaging.loader import Loader
from triage_agent.ops.metrics import Metrics
from triage_agent.pipeline import Later, Observer, Pipeline
from triage_agent.settings import Settings
from triage_agent.shadow import Shadow
from triage_agent.worker import Precedence, Worker

log = structlog.get_logger(__name__)


def build_pipeline(
    settings: Settings,
    worklist: Worklist,
    loader: Loader,
    scorer: ImageScorer,
    later: Sequence[Later],
    metrics: Metrics,
    clock: Clock,
    wake: Callable[[], None],
) -> Pipeline:
    """From claimed work to the outbox; `wake` is called when there is something to send, `later` of each decision.

    Raises:
        ConfigurationError: a rule of the policy cannot be used.
    """

    def assessed(outcome: Outcome, seconds: float) -> None:
        metrics.assessed.labels(outcome.value).inc()
        metrics.scoring_seconds.observe(seconds)

    def decided(finding: Finding) -> None:
        metrics.decided.labels(finding.value).inc()
        wake()

    def flagged() -> None:
        metrics.flagged.inc()
        wake()

    def unbuilt(kind: ArtifactKind) -> None:
        metrics.unbuilt.labels(kind.value).inc()

    return Pipeline(
        worklist=worklist,
        spool=settings.data_dir / "spool",
        loader=loader,
        scorer=scorer,
        policy=build_policy(settings),
        routes=build_routes(settings),
        institution=settings.institution,
        name_patient=settings.results.name_patient,
        timezone=settings.results.zone(),
        clock=clock,
        observer=Observer(assessed=assessed, flagged=flagged, decided=decided, unbuilt=unbuilt),
        batch=settings.model.batch,
        secondary_captures=settings.study.score_secondary_captures,
        later=later,
    )


def build_workers(
    settings: Settings, worklist: Worklist, pipeline: Pipeline, clock: Clock, owner_of: Callable[[str], str]
) -> Iterator[tuple[str, str, Callable[[], bool]]]:
    """Who scores images as they come, and who decides complete studies: a name, an owner and a step for each loop.

    A loop for each: to read headers, to build a report and to commit it takes as long as an image does, and no flag
    waits for that (promise 7).
    """
    precedence = Precedence()
    for name, step in (("worker", Worker.score), ("worker-decides", Worker.decide)):
        owner = owner_of(name)
        worker = Worker(
            pipeline=pipeline,
            worklist=worklist,
            owner=owner,
            lease=timedelta(seconds=settings.worker.lease_seconds),
            batch=settings.model.batch,
            clock=clock,
            precedence=precedence,
        )
        yield name, owner, partial(step, worker)


def build_comparison(
    settings: Settings, worklist: Worklist, loader: Loader, scorer: ImageScorer, metrics: Metrics, clock: Clock
) -> Shadow:
    """What has a second model read decided studies, without any effect on them; the model is asked once, now."""
    try:
        check_model(scorer)  # compiled now, it does not hold the device for minutes when studies come
    except ModelUnavailableError as error:
        log.warning("shadow_scores_nothing", error=error.message)

    def compared(agrees: bool | None) -> None:
        metrics.shadow.labels("failed" if agrees is None else str(agrees).lower()).inc()

    return Shadow(
        worklist=worklist,
        spool=settings.data_dir / "spool",
        loader=loader,
        scorer=scorer,
        clock=clock,
        compared=compared,
        batch=settings.model.batch,
        secondary_captures=settings.study.score_secondary_captures,
    )
