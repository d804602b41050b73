"""Wires what reads images from the settings: the pipeline that decides, and the shadow that only compares."""

from collections.abc import Callable, Sequence

import structlog

from triage_agent.assessing import check_model
from triage_agent.builders import build_policy, build_routes
from triage_agent.domain.errors import ModelUnavailableError, TriageError
from triage_agent.domain.ports import Clock, ImageScorer, Worklist
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.imaging.loader import Loader
from triage_agent.ops.metrics import Metrics
from triage_agent.pipeline import Later, Observer, Pipeline
from triage_agent.settings import Settings
from triage_agent.shadow import Shadow

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
        spool=settings.data_dir / "spool",
        loader=loader,
        scorer=scorer,
        clock=clock,
        compared=compared,
        batch=settings.model.batch,
        secondary_captures=settings.study.score_secondary_captures,
    )
