"""A decision as a Basic Text SR (PS3.3 A.35.1): sections and sentences, for viewers that show no measurements.

The codes are those of the measurement report where this SOP class may hold them; figures are text, since it has no NUM.
Nothing refers to a region within an image (promise 6).
"""

from collections.abc import Iterator, Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from triage_agent.domain.decision import Artifact, Decision
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.results import codes as concepts
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.document import write_document
from triage_agent.results.evidence import Source, require_sources
from triage_agent.results.observer import observer_of
from triage_agent.results.structured_report import processing_summary
from triage_agent.results.summary import FINDINGS, explanation, headline

_CONTAINS = RelationshipTypeValues.CONTAINS
_SUMMARY: Code = codes.cid7001.Summary
_FINDINGS: Code = codes.cid7001.Findings
_FINDING: Code = codes.DCM.Finding


def build_text_report(context: ResultContext) -> Artifact:
    """The report of a decision as a Part 10 file.

    Raises:
        TriageError: no instance of the study can be referred to, so that no valid report exists.
    """
    decision, sources = require_decision(context), require_sources(context)
    content = _content(context, decision, sources)
    return Artifact(
        kind=ArtifactKind.SR_TEXT,
        uid=context.uid(ArtifactKind.SR_TEXT.value),
        body=write_document(context, decision, ArtifactKind.SR_TEXT, content, sources),
        summary=headline(decision),
    )


def _content(context: ResultContext, decision: Decision, sources: Sequence[Source]) -> Dataset:
    root: Dataset = ContainerContentItem(name=codes.DCM.ImagingMeasurementReport)
    root.ContentSequence = ContentSequence(
        [
            *observer_of(context),
            _section(_SUMMARY, [_text(concepts.COMMENT, line) for line in explanation(decision)]),
            _section(_FINDINGS, [*_of_study(context, decision), *_of_images(decision, sources)]),
        ]
    )
    return root


def _of_study(context: ResultContext, decision: Decision) -> Iterator[ContentItem]:
    """What the study as a whole shows."""
    yield _text(_FINDING, headline(decision))
    yield _code(concepts.NORMALITY, concepts.NORMALITIES[decision.finding])
    if decision.probability is not None:
        yield _text(concepts.PROBABILITY, f"{decision.probability:.4f} (mean of the scored images)")
    if (summary := processing_summary(context, decision)) is not None:
        yield _code(concepts.SUMMARY, summary)
    if site := concepts.REGIONS.get(decision.anatomy or ""):
        yield _code(codes.SCT.FindingSite, site)
    if decision.priority in concepts.URGENCIES:
        yield _code(concepts.PRIORITY, concepts.URGENCIES[decision.priority])
    if category := concepts.ACR_CATEGORIES.get(decision.acr_category or ""):
        yield _code(concepts.ACTIONABLE_FINDING, category)


def _of_images(decision: Decision, sources: Sequence[Source]) -> Iterator[ContentItem]:
    """A sentence an image with the reference to it; of a study that is not assessed no figure is told."""
    assessed = decision.finding is not Finding.NOT_ASSESSED
    for number, source in enumerate((one for one in sources if one.considered), start=1):
        one = source.assessment
        scored = assessed and one is not None and one.outcome is Outcome.SCORED and one.probability is not None
        said = f"probability {one.probability:.4f}" if one and scored else FINDINGS[Finding.NOT_ASSESSED].lower()
        item = _text(_FINDING, f"Image {number}: {said}.")
        item.ContentSequence = ContentSequence(
            [
                ImageContentItem(
                    name=codes.SCT.Source,
                    referenced_sop_class_uid=source.sop_class_uid,
                    referenced_sop_instance_uid=source.sop_instance_uid,
                    relationship_type=RelationshipTypeValues.INFERRED_FROM,
                )
            ]
        )
        yield item


def _section(name: Code, items: Sequence[ContentItem]) -> ContainerContentItem:
    section = ContainerContentItem(name=CodedConcept.from_code(name), relationship_type=_CONTAINS)
    section.ContentSequence = ContentSequence(items)
    return section


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name=name, value=value, relationship_type=_CONTAINS)


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(name=name, value=value, relationship_type=_CONTAINS)
