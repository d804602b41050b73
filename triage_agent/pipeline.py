"""The way of a study: claimed -> imaging -> models -> decision -> results -> outbox; intake before, delivery after."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path

import structlog
from pydicom import Dataset

from triage_agent.assessing import check_model, score_loaded
from triage_agent.decision.policy import Policy, decide, flag_for, flag_of_failed, of_several_patients
from triage_agent.domain.decision import Artifact, Decision, Flag, InForm, Route, Shipment
from triage_agent.domain.errors import ModelUnavailableError, UnreadableImageError
from triage_agent.domain.orders import MergedPatient
from triage_agent.domain.ports import Clock, ImageScorer, Worklist
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy, StoredInstance, with_originals
from triage_agent.domain.urgency import asking_for
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Outcome
from triage_agent.imaging.loader import Loader, SpoolLoader, load_instance
from triage_agent.results.building import build_each, raises_to, told
from triage_agent.results.context import DECISION, FLAG, RAISE
from triage_agent.results.header import name_several_patients
from triage_agent.results.merged import as_merged
from triage_agent.results.registry import REGISTRY, ResultContext
from triage_agent.results.unscored import told_of_unscored
from triage_agent.worklist.limits import MAX_ATTEMPTS

log = structlog.get_logger(__name__)


Later = Callable[[ClaimedStudy, Decision, Sequence[Assessment]], None]
"""Takes a decided study, to do something about it afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Told what the pipeline did; the metrics' side of it."""

    assessed: Callable[[Outcome, float], None]  # what became of an image, and the seconds it took
    flagged: Callable[[], None]
    decided: Callable[[Finding], None]
    unbuilt: Callable[[ArtifactKind], None] = lambda _kind: None  # a result that could not be built


class Pipeline:
    """Turns claimed work into assessments, flags and decisions; every result is committed by the worklist."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        spool: Path,
        loader: Loader,
        scorer: ImageScorer,
        policy: Policy,
        routes: Sequence[Route],
        institution: str,
        clock: Clock,
        observer: Observer,
        batch: int,
        secondary_captures: bool = False,
        name_patient: bool = False,
        timezone: tzinfo = UTC,
        later: Sequence[Later] = (),
    ) -> None:
        """`batch` is how many images are decoded and held in memory at once.

        `later` are told of every decision that was written, with its assessments; they must return at once.
        `secondary_captures`: score those of a radiographic modality too (a site that digitises film).
        `name_patient`: pages that people read name the patient. `timezone`: of dates in results, see `ResultContext`.
        """
        self._worklist = worklist
        self._spool = spool
        self._scorer = scorer
        self._policy = policy
        self._routes = tuple(routes)
        self._institution = institution
        self._name_patient = name_patient
        self._timezone = timezone
        self._clock = clock
        self._observer = observer
        self._batch = batch
        self._loader = SpoolLoader(loader, spool)
        self._load = partial(load_instance, self._loader, secondary_captures=secondary_captures)
        self._later = tuple(later)
        self._model_failure: ModelUnavailableError | None = None

    def check_model(self) -> None:
        """Whether the model can score, as far as was seen; asks it nothing.

        Raises:
            ModelUnavailableError: it failed on the built-in image, and has not been seen to work since.
        """
        if (failure := self._model_failure) is not None:
            raise ModelUnavailableError(failure.message, remedy=failure.remedy)

    def warm_up(self) -> None:
        """Score a built-in image: the first inference takes longest, minutes where it compiles, and no study waits."""
        try:
            check_model(self._scorer)
        except ModelUnavailableError as error:
            self._model_failure = error  # `try_model_again` says so, as often as it fails

    def try_model_again(self) -> None:
        """Where the model failed before, ask it once more, so that no work is claimed only to be given back.

        Raises:
            ModelUnavailableError: it still fails.
        """
        if self._model_failure is not None:
            check_model(self._scorer)
            self._model_failure = None

    def score_images(self, claimed: Sequence[ClaimedImage]) -> None:
        """Assess images of studies that are still receiving, and raise those that already show an abnormality.

        Raises:
            ModelUnavailableError: the model scores nothing at all, or the spool is away; what was not kept waits.
        """
        with asking_for(image.priority for image in claimed):
            assessments = self._assess([image.instance for image in claimed])
        for image, assessment in zip(claimed, assessments, strict=True):
            with structlog.contextvars.bound_contextvars(study_instance_uid=image.study_instance_uid):
                self._keep(image, assessment)

    def decide_study(self, claimed: ClaimedStudy, owner: str) -> bool:
        """Assess what is left of a complete study, decide, and hand the results to the outbox.

        False if the study moved on meanwhile (an image came, the lease ran out): then only what its images were
        assessed as is kept, since that stays true.

        Raises:
            ModelUnavailableError: the model scores nothing at all, or the spool is away; nothing was written.
        """
        with structlog.contextvars.bound_contextvars(study_instance_uid=claimed.study_instance_uid):
            missing = [instance for instance in claimed.instances if self._needs_assessment(instance)]
            with asking_for([claimed.priority]):
                fresh = self._assess(missing) if claimed.attempt <= MAX_ATTEMPTS else _given_up(missing)
            known = {
                instance.sop_instance_uid: instance.assessment for instance in claimed.instances if instance.assessment
            } | {assessment.sop_instance_uid: assessment for assessment in fresh}
            complete = [known[instance.sop_instance_uid] for instance in claimed.instances]
            decision = decide(claimed, complete, self._scorer.identity, self._policy, self._clock())
            decision, shipments = self._results_of(claimed, decision, complete)
            written = self._worklist.decide(decision, fresh, shipments, owner, routed=bool(self._routes))
            if written:
                for offer in self._later:
                    offer(claimed, decision, complete)
                self._observer.decided(decision.finding)
            elif claimed.attempt <= MAX_ATTEMPTS:
                for instance, assessment in zip(missing, fresh, strict=True):
                    self._keep(_as_image(claimed, instance), assessment)
            log.info(
                "decided" if written else "decision_dropped_study_moved_on",
                outcome=decision.event.value,
                finding=decision.finding.value,
                priority=decision.priority.value,
                rule=decision.rule,
                revision=decision.revision,
            )
            return written

    def _needs_assessment(self, instance: StoredInstance) -> bool:
        known = instance.assessment
        if known is None:
            return True
        another_s = known.bundle_digest not in {"", self._scorer.identity.digest}  # also one that it refused
        return another_s and instance.original_deleted_at is None

    def _assess(self, instances: Sequence[StoredInstance]) -> list[Assessment]:
        """One assessment an instance, in order, a batch at a time: a study may have more images than fit in memory."""
        batches = [instances[start : start + self._batch] for start in range(0, len(instances), self._batch)]
        return [assessment for batch in batches for assessment in self._assess_batch(batch)]

    def _assess_batch(self, instances: Sequence[StoredInstance]) -> list[Assessment]:
        """Decodes all, then asks the model once."""
        started = time.perf_counter()
        loaded = [self._load(self._spool / instance.path) for instance in instances]
        named = [(instance.sop_instance_uid, what) for instance, what in zip(instances, loaded, strict=True)]
        try:
            assessments = score_loaded(named, self._scorer)
        except ModelUnavailableError as error:
            self._model_failure = error
            raise
        seconds = (time.perf_counter() - started) / len(instances)
        for assessment in assessments:
            self._observer.assessed(assessment.outcome, seconds)
        return assessments

    def _keep(self, image: ClaimedImage, assessment: Assessment) -> None:
        """Commit an image's assessment, with the raise that it asks for: the flag does not wait (promise 7)."""
        flag = flag_for(image, assessment, self._scorer.identity, self._policy, self._clock())
        if flag is None:
            self._worklist.record_assessment(image, assessment, self._clock())
            return
        merged = self._worklist.merged_of(image.study_instance_uid)  # asked now: it may have been merged meanwhile
        shipments = self._flag_shipments(flag, image.instance, assessment, merged)
        if self._worklist.raise_flag(flag, shipments, self._clock(), assessment):
            self._observer.flagged()
            log.info("raised", priority=flag.priority.value, rule=flag.rule, revision=flag.revision)

    def _flag_shipments(
        self, flag: Flag, instance: StoredInstance, assessment: Assessment, merged: MergedPatient | None
    ) -> list[Shipment]:
        """A flag that cannot be spelled out for a destination is still raised on the worklist."""
        headers = as_merged([self._header(instance)], merged)
        shipments, _ = self._shipments({FLAG}, flag, headers, [instance], [assessment])
        return shipments

    def _results_of(
        self, claimed: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]
    ) -> tuple[Decision, list[Shipment]]:
        """The decision's artifacts by route; a study of several patients, or without results, needs a human."""
        unscored = told_of_unscored(self._routes, decision, claimed.instances)
        if decision.event is Event.EXCLUDED and not unscored:
            return decision, []
        claimed, assessments = with_originals(claimed, assessments)
        headers = as_merged([self._header(instance) for instance in claimed.instances], claimed.merged)
        if name_several_patients([header for header in headers if header is not None]):
            return of_several_patients(decision), []
        if decision.event is Event.DECIDED:
            occasions = {DECISION, RAISE} if decision.priority.rank > claimed.priority.rank else {DECISION}
            shipments, problems = self._shipments(occasions, decision, headers, claimed.instances, assessments)
            if not problems:
                return decision, shipments
            reason, reasons = "; ".join(problems), (*decision.reasons, *problems)
            decision = replace(decision, event=Event.FAILED, status_reason=reason, reasons=reasons)
            if shipments:  # they tell of the raise, too
                return decision, shipments
        told = self._tell_of_unscored(unscored, decision, headers, claimed.instances, assessments)
        flag = flag_of_failed(claimed, decision, assessments)
        if flag is None:
            return decision, told
        image, assessment = next(
            (instance, one)
            for instance, one in zip(claimed.instances, assessments, strict=True)
            if instance.sop_instance_uid == flag.sop_instance_uid
        )
        return decision, [*self._flag_shipments(flag, image, assessment, claimed.merged), *told]

    def _tell_of_unscored(
        self,
        routes: Sequence[Route],
        decision: Decision,
        headers: Sequence[Dataset | None],
        instances: Sequence[StoredInstance],
        assessments: Sequence[Assessment],
    ) -> list[Shipment]:
        """That a human reads it, by what of its headers can be read: a study of which none can is nobody's."""
        read = [header for header in headers if header is not None]
        if not routes or not read:
            return []
        shipments, _ = self._shipments({DECISION}, decision, read, instances, assessments, routes)
        return shipments

    def _shipments(
        self,
        occasions: set[str],
        result: Decision | Flag,
        headers: Sequence[Dataset | None],
        instances: Sequence[StoredInstance],
        assessments: Sequence[Assessment],
        only: Sequence[Route] | None = None,
    ) -> tuple[list[Shipment], list[str]]:
        """What the routes, or `only` some, ask for on these occasions, and why some of it could not be built.

        Each kind is built once a form, whatever the number of destinations; one that has nothing to say of this is not.
        """
        wanted = [
            (kind, route.form_of(kind), route.to)
            for route in (self._routes_of(result) if only is None else only)
            for kind in route.send
            if REGISTRY[kind].occasions & occasions
        ]
        if not wanted:
            return [], []
        try:
            context = ResultContext(
                result=result,
                headers=tuple(_all_read(headers)),
                assessments=tuple(assessments),
                stored=tuple(instances),
                institution=self._institution,
                name_patient=self._name_patient,
                timezone=self._timezone,
            )
            wanted = [one for one in wanted if _speaks_of(one[0], context)]
        except Exception as error:  # noqa: BLE001 - promise 2: nothing disappears
            artifacts, problems = dict[InForm, Artifact](), [told("the result", error)]
        else:
            forms = {(kind, form): replace(self._with_previous(context, kind), form=form) for kind, form, _ in wanted}
            artifacts, problems = build_each(forms)
        for kind in {kind for kind, form, _ in wanted if (kind, form) not in artifacts}:
            self._observer.unbuilt(kind)
        shipments = [
            Shipment(artifact=artifacts[kind, form], destination=to, raises_to=raises_to(kind, result))
            for kind, form, to in wanted
            if (kind, form) in artifacts
        ]
        return shipments, problems

    def _routes_of(self, result: Decision | Flag) -> Sequence[Route]:
        """Those that the rule which fired names, or all."""
        return [route for route in self._routes if not result.routes or route.to in result.routes]

    def _header(self, instance: StoredInstance) -> Dataset | None:
        """None where it cannot be read.

        Raises:
            ModelUnavailableError: nothing can be read at the moment.
        """
        try:
            return self._loader.header(self._spool / instance.path)
        except ModelUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - promise 2: whatever a file does, its study comes to an end
            log.warning("header_failed", error=type(error).__name__)  # values may name a patient
            return None

    def _with_previous(self, context: ResultContext, kind: ArtifactKind) -> ResultContext:
        result = context.result
        if result.revision == 1 or not REGISTRY[kind].refers_to_previous:
            return context
        return replace(context, previous=self._worklist.last_artifact(result.study_instance_uid, kind, result.revision))


def _speaks_of(kind: ArtifactKind, context: ResultContext) -> bool:
    """Whether a kind has anything to say of a result; where that cannot be found out, building it tells why."""
    try:
        return REGISTRY[kind].has_something_to_say(context)
    except Exception:  # noqa: BLE001 - one kind's failure costs no other kind
        return True


def _all_read(headers: Sequence[Dataset | None]) -> list[Dataset]:
    read = [header for header in headers if header is not None]
    if len(read) < len(headers):
        raise UnreadableImageError("the header of an instance cannot be read")
    return read


def _as_image(claimed: ClaimedStudy, instance: StoredInstance) -> ClaimedImage:
    return ClaimedImage(
        study_instance_uid=claimed.study_instance_uid,
        revision=claimed.revision,
        priority=claimed.priority,
        instance=instance,
        known=claimed.known,
    )


def _given_up(instances: Sequence[StoredInstance]) -> list[Assessment]:
    """What crashes the worker each time is not tried for ever: a human reads the study."""
    reason = f"scoring it ended abnormally {MAX_ATTEMPTS} times"
    return [
        Assessment(sop_instance_uid=instance.sop_instance_uid, outcome=Outcome.FAILED, reason=reason)
        for instance in instances
    ]
