"""The modules of an SR document around its content tree (PS3.3 C.17, for each of the SR IODs of A.35)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydicom import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
)

from triage_agent.domain.decision import Decision
from triage_agent.domain.vocabulary import ArtifactKind, Event
from triage_agent.results.composite import Series, add_coding_scheme, as_file, begin, set_content_time
from triage_agent.results.context import ResultContext
from triage_agent.results.evidence import Source, evidence_item, predecessor_of

SOP_CLASSES: Mapping[ArtifactKind, str] = MappingProxyType(
    {
        ArtifactKind.SR: Comprehensive3DSRStorage,
        ArtifactKind.SR_COMPREHENSIVE: ComprehensiveSRStorage,
        ArtifactKind.SR_ENHANCED: EnhancedSRStorage,
        ArtifactKind.SR_TEXT: BasicTextSRStorage,
    }
)

# A series of its own for each, so that a PACS that gets two of them has no series of two reports with one number.
_SERIES: Mapping[ArtifactKind, Series] = MappingProxyType(
    {
        ArtifactKind.SR: Series(modality="SR", number=9901),
        ArtifactKind.SR_COMPREHENSIVE: Series(modality="SR", number=9902, name="sr-comprehensive"),
        ArtifactKind.SR_ENHANCED: Series(modality="SR", number=9903, name="sr-enhanced"),
        ArtifactKind.SR_TEXT: Series(modality="SR", number=9904, name="sr-text"),
    }
)


def write_document(
    context: ResultContext, decision: Decision, kind: ArtifactKind, content: Dataset, sources: Sequence[Source]
) -> bytes:
    """A Part 10 file with `content` as its tree; `kind` says of which of the SR SOP classes."""
    dataset = begin(context, _SERIES[kind], SOP_CLASSES[kind], context.uid(kind.value))
    dataset.ReferencedPerformedProcedureStepSequence = []
    add_coding_scheme(dataset)
    _document_general(context, decision, dataset)
    _replaced(context, dataset)
    for element in content:
        dataset.add(element)
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence_item(sources)]
    return as_file(dataset, context.software_version)


def _document_general(context: ResultContext, decision: Decision, dataset: Dataset) -> None:
    """SR Document General (PS3.3 C.17.2): always preliminary, never verified."""
    dataset.InstanceNumber = max(1, decision.revision)
    set_content_time(context, dataset)
    if decision.event is Event.DECIDED:  # a study of which an image failed is never that
        dataset.CompletionFlag = "COMPLETE"
    else:
        dataset.CompletionFlag = "PARTIAL"
        dataset.CompletionFlagDescription = "Not every image could be assessed"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    dataset.PerformedProcedureCodeSequence = []


def _replaced(context: ResultContext, dataset: Dataset) -> None:
    """Predecessor Documents (PS3.3 C.17.2): else two reports that differ would stand side by side, both COMPLETE."""
    if (predecessor := predecessor_of(context)) is not None:
        dataset.PredecessorDocumentsSequence = [evidence_item([predecessor])]
