"""Evidence as outlines over the images that raised a study: a presentation state of its own (PS3.3 A.33.1, C.10.5).

Built only where a site turns evidence on (promise 6). An outline surrounds where the map is above half of its largest
value: it says what the score leaned on, and not where a lesion is.
"""

from collections.abc import Sequence

from pydicom import Dataset

from triage_agent.domain.decision import Artifact, Decision
from triage_agent.domain.evidence import EVIDENCE_NOTICE, EvidenceMap
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.composite import Series, short_text
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.contours import Outline, outlines
from triage_agent.results.evidence import Source
from triage_agent.results.grey_scale import Rendering, size_of
from triage_agent.results.presentation_state import LAYER, Shown, State, annotated, reference, words, write_state
from triage_agent.results.summary import DISCLAIMER, warnings_of

_STATE = State(
    kind=ArtifactKind.EVIDENCE_GSPS,
    series=Series(modality="PR", number=9916, name="evidence-gsps"),
    label="TRIAGE EVIDENCE",
    description=EVIDENCE_NOTICE,
)


def mapped(context: ResultContext) -> tuple[Rendering, list[Shown]] | None:
    """The images that have a map and that one state can show; None where there is none."""
    found = annotated(context)
    if found is None:
        return None
    rendering, shown = found
    with_map = [one for one in shown if one[0].sop_instance_uid in context.maps]
    return (rendering, with_map) if with_map else None


def can_outline(context: ResultContext) -> bool:
    """Whether there is an image to draw on."""
    return mapped(context) is not None


def build_evidence_state(context: ResultContext) -> Artifact:
    """The state as a Part 10 file; only for contexts that `can_outline`."""
    decision, found = require_decision(context), mapped(context)
    if found is None:
        raise ValueError("no image can be drawn on")
    rendering, shown = found
    annotations = [
        _over(decision, source, context.maps[source.sop_instance_uid], size_of(header) or (1, 1))
        for source, header in shown
    ]
    return write_state(context, _STATE, rendering, shown, annotations)


def _over(decision: Decision, source: Source, found: EvidenceMap, size: tuple[int, int]) -> Dataset:
    one = source.assessment
    own = [] if one is None or one.probability is None else [f"This image: probability {one.probability:.2f}."]
    said = [
        EVIDENCE_NOTICE,
        DISCLAIMER,
        *warnings_of(decision.model),
        *own,
        f"What the score leans on ({found.method}).",
        f"Bundle: {decision.model.label}.",
    ]
    item = Dataset()
    item.ReferencedImageSequence = [reference(source, found.frame)]
    item.GraphicLayer = LAYER
    item.TextObjectSequence = [words(short_text(said))]
    if drawn := [_drawn(line) for line in outlines(found.heat, *size)]:
        item.GraphicObjectSequence = drawn
    return item


def _drawn(outline: Outline) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(outline)
    item.GraphicData = _flat(outline)
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    return item


def _flat(outline: Outline) -> Sequence[float]:
    return [round(float(value), 2) for value in outline.reshape(-1)]
