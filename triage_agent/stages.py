"""Wires what reads images from the settings: the pipeline that decides, and the shadow that only compares."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from triage_agent.assessing import check_model
from triage_agent.builders import build_policy, build_routes
from triage_agent.domain.errors import ModelUnavailableError, TriageError
from triage_agent.domain.ports import Clock, ImageScorer, Worklist
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.imaging.ahead import ReadAhead
from triage_agent.imaging.loader import Loader
from triage_agent.measuring import MeasuredLoader, MeasuredScorer
from triage_agent.ops.metrics import Metrics
from triage_agent.pace import Pace
from triage_agent.pipeline import Later, Observer, Pipeline
from triage_agent.settings import Settings
from triage_agent.shadow import Shadow
from triage_agent.spooling import reading, spool_folder
from triage_agent.worker import Worker

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
    pace: Pace,
) -> Pipeline:
    """From claimed work to the outbox; `wake` is called when there is something to send, `later` of each decision.

    Raises:
        ConfigurationError: a rule of the policy cannot be used.
    """
    return Pipeline(
        worklist=worklist,
        spool=spool_folder(settings),
        loader=MeasuredLoader(reading(settings, loader), metrics),
        scorer=MeasuredScorer(scorer, metrics),
        policy=build_policy(settings),
        routes=build_routes(settings),
        institution=settings.institution,
        name_patient=settings.results.name_patient,
        timezone=settings.results.zone(),
        clock=clock,
        observer=_observer(scorer.identity.label, metrics, clock, wake),
        batch=settings.model.batch,
        together=pace.together,
        side=pace.side,
        ahead=ReadAhead(pace.decoders),
        secondary_captures=settings.study.score_secondary_captures,
        later=later,
        journey=metrics.journey,
    )


def _observer(bundle: str, metrics: Metrics, clock: Clock, wake: Callable[[], None]) -> Observer:
    timings = metrics.timings

    def assessed(assessment: Assessment, seconds: float) -> None:
        metrics.assessed.labels(assessment.outcome.value).inc()
        metrics.scoring_seconds.observe(seconds)
        if assessment.outcome is Outcome.SCORED and assessment.probability is not None:
            timings.scores.labels(bundle).observe(assessment.probability)

    def flagged(image: ClaimedImage) -> None:
        metrics.flagged.inc()
        timings.flag.observe(_seconds_since(image.instance.received_at, clock))
        wake()

    def decided(claimed: ClaimedStudy, finding: Finding) -> None:
        metrics.decided.labels(finding.value).inc()
        times = [instance.received_at for instance in claimed.instances] or [clock()]
        timings.report.observe(_seconds_since(max(times), clock))
        if claimed.revision == 1:
            metrics.journey.whole(claimed.study_instance_uid, min(times).timestamp())
        wake()

    def unbuilt(kind: ArtifactKind) -> None:
        metrics.unbuilt.labels(kind.value).inc()

    return Observer(assessed=assessed, flagged=flagged, decided=decided, unbuilt=unbuilt)


def _seconds_since(at: datetime, clock: Clock) -> float:
    """Never less than none: two clocks may differ."""
    return max(0.0, (clock() - at).total_seconds())


def build_worker(
    settings: Settings,
    pipeline: Pipeline,
    worklist: Worklist,
    metrics: Metrics,
    clock: Clock,
    owner: str,
    scored: Callable[[], None] = lambda: None,
    *,
    decides: bool = True,
) -> Worker:
    """One loop's work; what it claims it holds as `owner`."""
    return Worker(
        pipeline=pipeline,
        worklist=worklist,
        owner=owner,
        lease=timedelta(seconds=settings.worker.lease_seconds),
        batch=settings.model.batch,
        clock=clock,
        journey=metrics.journey,
        decides=decides,
        scored=scored,
    )


def load_shadow(
    settings: Settings, metrics: Metrics, build: Callable[[Settings], ImageScorer | None]
) -> ImageScorer | None:
    """The shadow bundle, by `build`; None, too, where it cannot be loaded: nothing that is decided depends on it."""
    if not (name := settings.model.shadow):
        return None
    loaded = metrics.shadow_loaded.labels(name)  # 0 until it is
    try:
        second = build(settings)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it costs its own opinion only
        said = str(error) if isinstance(error, TriageError) else type(error).__name__
        log.error("shadow_not_loaded", bundle=name, error=said)  # noqa: TRY400 - an admin needs the remedy
        return None
    loaded.set(1)
    return second


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
        spool=spool_folder(settings),
        loader=reading(settings, loader),
        scorer=MeasuredScorer(scorer, metrics),
        clock=clock,
        compared=compared,
        batch=settings.model.batch,
        secondary_captures=settings.study.score_secondary_captures,
    )
