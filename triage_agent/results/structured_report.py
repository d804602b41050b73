"""A decision as an SR by TID 1500 "Measurement Report" (PS3.16; IHE AI Results, qualitative findings).

The same tree as a Comprehensive 3D SR, a Comprehensive SR or an Enhanced SR: it has only what all three may hold.

One measurement group (TID 1501) says what the study as a whole shows, and one group an image gives its probability. No
group refers to a region within an image: the report tells when to read, not where to look (promise 6).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import cast

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from triage_agent.domain.decision import Artifact, Decision, ModelIdentity
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Outcome
from triage_agent.results import codes as concepts
from triage_agent.results.context import MANUFACTURER, ResultContext, require_decision
from triage_agent.results.document import write_document
from triage_agent.results.evidence import Source, common_laterality, require_sources
from triage_agent.results.observer import observer_of
from triage_agent.results.summary import explanation, headline

_DECIMALS = 6  # of probabilities: what a Decimal String (PS3.5 section 6.2, 16 characters) holds with ease
_INFERRED = "The finding site was inferred by the model from the image; the header names no single region."


def build_structured_report(context: ResultContext, kind: ArtifactKind = ArtifactKind.SR) -> Artifact:
    """The report of a decision as a Part 10 file; `kind` is one of those that have this tree.

    Raises:
        TriageError: no instance of the study can be referred to, so that no valid report exists.
    """
    decision, sources = require_decision(context), require_sources(context)
    return Artifact(
        kind=kind,
        uid=context.uid(kind.value),
        body=write_document(context, decision, kind, _content(context, decision, sources), sources),
        summary=headline(decision),
    )


def _content(context: ResultContext, decision: Decision, sources: Sequence[Source]) -> Dataset:
    """The content tree: TID 1500 with its observer (TID 1001), groups (TID 1501) and remarks (row 12)."""
    groups = [_study_group(context, decision, sources)]
    groups += [
        _image_group(context, number, source, assessed=decision.finding is not Finding.NOT_ASSESSED)
        for number, source in enumerate((source for source in sources if source.considered), start=1)
    ]
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer_of(context)),
        procedure_reported=concepts.IMAGING_PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    root: Dataset = report[0]
    root.ContentSequence.append(_remarks(decision))
    return root


@lru_cache(maxsize=8)
def _algorithm(model: ModelIdentity) -> AlgorithmIdentification:
    """TID 4019; the same in each group, and in every report that a bundle makes."""
    return AlgorithmIdentification(
        name=model.name,
        version=model.version,
        parameters=[
            f"bundle digest (SHA-256): {model.digest}",
            f"threshold: {model.threshold:g}",
            f"alert threshold: {model.alert:g}",
            *([f"allowed error rate: {model.error_rate:g}"] if model.error_rate else []),
        ],
        family=concepts.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )


def _study_group(
    context: ResultContext, decision: Decision, sources: Sequence[Source]
) -> MeasurementsAndQualitativeEvaluations:
    """The result for the study: normality, mean probability, priority and category."""
    used = [source for source in sources if source.considered] or list(sources)
    measured = decision.probability
    measurements = [] if measured is None else [_probability(measured, derivation=concepts.DERIVED_AS_MEAN)]
    return _group(
        context,
        identifier="Study",
        tracked=(str(decision.revision), decision.model.digest),
        measurements=measurements,
        evaluations=list(_evaluations(context, decision)),
        sites=_finding_sites(decision.anatomy, common_laterality(used)),
        inferred=decision.anatomy not in {one.anatomy for one in context.assessments if not one.anatomy_from_image},
        images=used,
    )


def _image_group(
    context: ResultContext, number: int, source: Source, *, assessed: bool
) -> MeasurementsAndQualitativeEvaluations:
    """One image's probability, or that there is none.

    Of a study that is not `assessed` no image's is told: beside the threshold it would be read as a finding.
    """
    assessment = source.assessment
    has_one = assessment is not None and assessment.outcome is Outcome.SCORED and assessment.probability is not None
    scored = assessed and has_one
    return _group(
        context,
        identifier=f"Image {number}",
        tracked=(source.sop_instance_uid,),
        measurements=[_probability(assessment.probability or 0.0)] if assessment is not None and scored else [],
        evaluations=[] if scored else [(concepts.NORMALITY, concepts.NORMALITIES[Finding.NOT_ASSESSED])],
        sites=_finding_sites(assessment.anatomy if assessment else None, source.laterality),
        inferred=assessment is not None and assessment.anatomy_from_image,
        images=[source],
    )


def _group(
    context: ResultContext,
    *,
    identifier: str,
    tracked: tuple[str, ...],
    measurements: Sequence[Measurement],
    evaluations: Sequence[tuple[Code, Code]],
    sites: Sequence[FindingSite],
    inferred: bool,
    images: Sequence[Source],
) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501; `tracked` makes the tracking UID this group's own, `inferred` is whether the model named the site."""
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derive_uid("tracking", context.result.study_instance_uid, *tracked), identifier=identifier
        ),
        algorithm_id=_algorithm(context.model),
        finding_sites=sites,
        measurements=measurements,
        qualitative_evaluations=[QualitativeEvaluation(name=name, value=value) for name, value in evaluations],
        source_images=[
            SourceImageForMeasurementGroup(
                referenced_sop_class_uid=image.sop_class_uid, referenced_sop_instance_uid=image.sop_instance_uid
            )
            for image in images
        ],
    )
    if sites and inferred:
        group[0].ContentSequence.append(_comment(_INFERRED))
    return group


def _comment(text: str) -> TextContentItem:
    return TextContentItem(name=concepts.COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS)


def _evaluations(context: ResultContext, decision: Decision) -> Iterator[tuple[Code, Code]]:
    yield concepts.NORMALITY, concepts.NORMALITIES[decision.finding]
    if (summary := processing_summary(context, decision)) is not None:
        yield concepts.SUMMARY, summary
    if decision.priority in concepts.URGENCIES:
        yield concepts.PRIORITY, concepts.URGENCIES[decision.priority]
    if category := concepts.ACR_CATEGORIES.get(decision.acr_category or ""):
        yield concepts.ACTIONABLE_FINDING, category


def processing_summary(context: ResultContext, decision: Decision) -> Code | None:
    """CID 6047: whether all images could be scored, and whether something was found.

    Every term of the context group ends in "with findings" or "without findings": a study that is outside the bundle's
    scope, or is uncertain and shows nothing, has no such row, lest a viewer that reads the code alone take it for a
    negative. Of one that failed the row's first half is the news: that not all, or none, could be done.
    """
    outcomes = {one.outcome for one in context.assessments}
    regions = {None, *decision.model.anatomies}  # an image of another one raises nothing
    counted = (one.probability or 0.0 for one in context.assessments if one.anatomy in regions)
    raised = max(counted, default=0.0) >= decision.model.alert
    above = (decision.probability or 0.0) >= decision.model.threshold
    doubted = decision.finding is Finding.UNCERTAIN or decision.event is Event.FAILED
    found = decision.finding is Finding.ABNORMAL or (doubted and (above or raised))
    if decision.event is Event.FAILED and not found and Outcome.SCORED not in outcomes:
        return cast("Code", codes.DCM.NoAlgorithmsSucceededWithoutFindings)
    if not found and decision.finding is not Finding.NORMAL and decision.event is not Event.FAILED:
        return None
    if decision.event is Event.FAILED:
        partly = codes.DCM.NotAllAlgorithmsSucceededWithFindings
        summary = partly if found else codes.DCM.NotAllAlgorithmsSucceededWithoutFindings
    else:
        wholly = codes.DCM.AllAlgorithmsSucceededWithFindings
        summary = wholly if found else codes.DCM.AllAlgorithmsSucceededWithoutFindings
    return cast("Code", summary)


def _probability(value: float, derivation: Code | None = None) -> Measurement:
    """TID 300; a probability of abnormality in [0, 1]."""
    return Measurement(
        name=concepts.PROBABILITY, value=round(value, _DECIMALS), unit=concepts.NO_UNITS, derivation=derivation
    )


def _finding_sites(anatomy: str | None, laterality: str) -> list[FindingSite]:
    """The region; nothing where neither header nor model names one, or it has no code here."""
    region = concepts.REGIONS.get(anatomy or "")
    if region is None:
        return []
    return [FindingSite(anatomic_location=region, laterality=concepts.LATERALITIES.get(laterality))]


def _remarks(decision: Decision) -> ContainerContentItem:
    """TID 1500 rows 12 and 14: what is not coded, in sentences."""
    container = ContainerContentItem(
        name=CodedConcept.from_code(concepts.QUALITATIVE_EVALUATIONS),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence(map(_comment, explanation(decision)))
    return container
