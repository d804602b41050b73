"""A decision as words over its images: a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

The words stand in a corner of the display, whatever is shown there; nothing points at a region of an image (promise 6).
"""

from collections import Counter
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from triage_agent.domain.decision import Artifact, Decision
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.results.composite import Series, as_file, begin, local, long_string, short_text
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.evidence import Source, common_laterality, evidence_item, sources_of
from triage_agent.results.grey_scale import Rendering, rendering_of, size_of, window_of
from triage_agent.results.header import text_of
from triage_agent.results.summary import DISCLAIMER, headline, warnings_of

LAYER = "TRIAGE"
_CORNER, _OPPOSITE = [0.01, 0.01], [0.7, 0.15]  # of the displayed area, from its top left to its bottom right

Shown = tuple[Source, Dataset]
"""An image that a state is of, and its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What tells one kind of state from another."""

    kind: ArtifactKind
    series: Series
    label: str
    description: str


_STATE = State(
    kind=ArtifactKind.GSPS,
    series=Series(modality="PR", number=9913, name="gsps"),
    label=LAYER,
    description=f"Triage result. {DISCLAIMER}",
)


def annotated(context: ResultContext) -> tuple[Rendering, list[Shown]] | None:
    """The scored images that one state can show, with their headers; None for a study that is not assessed.

    A state has one rescaling and one polarity. Where a study's images differ, those are meant that most of them have.
    """
    result = context.result
    if not isinstance(result, Decision) or result.finding is Finding.NOT_ASSESSED:
        return None
    headers = {text_of(header, "SOPInstanceUID"): header for header in reversed(context.headers)}
    scored = [
        (source, headers[source.sop_instance_uid])
        for source in sources_of(context)
        if source.assessment is not None and source.assessment.outcome is Outcome.SCORED
    ]
    renderings = [rendering_of(header) for _, header in scored]
    known = Counter(rendering for rendering in renderings if rendering is not None)
    if not known:
        return None
    ((common, _),) = known.most_common(1)
    return common, [shown for shown, rendering in zip(scored, renderings, strict=True) if rendering == common]


def can_annotate(context: ResultContext) -> bool:
    """Whether there is an image to write on."""
    return annotated(context) is not None


def build_presentation_state(context: ResultContext) -> Artifact:
    """The state as a Part 10 file; only for contexts that `can_annotate`."""
    decision = require_decision(context)
    found = annotated(context)
    if found is None:
        raise ValueError("no image can be written on")
    rendering, shown = found
    return write_state(context, _STATE, rendering, shown, [_words_over(decision, source) for source, _ in shown])


def write_state(
    context: ResultContext, state: State, rendering: Rendering, shown: list[Shown], annotations: list[Dataset]
) -> Artifact:
    """A state with these annotations, that shows the images as they are shown without it."""
    decision, uid = require_decision(context), context.uid(state.kind.value)
    dataset = begin(context, state.series, GrayscaleSoftcopyPresentationStateStorage, uid)
    _identify(context, state, dataset)
    side = common_laterality([source for source, _ in shown])
    dataset.Laterality = side if side in {"R", "L"} else None
    dataset.ReferencedSeriesSequence = _by_series([source for source, _ in shown])
    dataset.DisplayedAreaSelectionSequence = [_whole(source, header) for source, header in shown]
    dataset.GraphicLayerSequence = [_layer()]
    dataset.GraphicAnnotationSequence = annotations
    _render(dataset, rendering, shown)
    return Artifact(
        kind=state.kind,
        uid=uid,
        body=as_file(dataset, context.software_version),
        summary=headline(decision),
    )


def _identify(context: ResultContext, state: State, dataset: Dataset) -> None:
    """Presentation State Identification (PS3.3 C.11.10)."""
    made_at = local(context)
    dataset.InstanceNumber = max(1, context.result.revision)
    dataset.ContentLabel = state.label
    dataset.ContentDescription = long_string(state.description)
    dataset.PresentationCreationDate = f"{made_at:%Y%m%d}"
    dataset.PresentationCreationTime = f"{made_at:%H%M%S.%f}"
    dataset.ContentCreatorName = ""


def _by_series(sources: list[Source]) -> list[Dataset]:
    """Presentation State Relationship (PS3.3 C.11.11): as evidence is listed, with another name for the images."""
    found = []
    for series in evidence_item(sources).ReferencedSeriesSequence:
        item = Dataset()
        item.SeriesInstanceUID = series.SeriesInstanceUID
        item.ReferencedImageSequence = list(series.ReferencedSOPSequence)
        found.append(item)
    return found


def _whole(source: Source, header: Dataset) -> Dataset:
    """Displayed Area (PS3.3 C.10.4): all of the image, as large as fits."""
    item = Dataset()
    item.ReferencedImageSequence = [reference(source)]
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = list(size_of(header) or (1, 1))
    item.PresentationSizeMode = "SCALE TO FIT"
    item.PresentationPixelAspectRatio = [1, 1]
    return item


def _layer() -> Dataset:
    item = Dataset()
    item.GraphicLayer = LAYER
    item.GraphicLayerOrder = 1
    return item


def _words_over(decision: Decision, source: Source) -> Dataset:
    """Graphic Annotation (PS3.3 C.10.5): one text object, placed on the display and not on the image."""
    one = source.assessment
    own = [] if one is None or one.probability is None else [f"This image: probability {one.probability:.2f}."]
    said = [
        DISCLAIMER,
        *warnings_of(decision.model),
        headline(decision),
        *own,
        f"Bundle: {decision.model.label}.",
    ]
    item = Dataset()
    item.ReferencedImageSequence = [reference(source)]
    item.GraphicLayer = LAYER
    item.TextObjectSequence = [words(short_text(said))]
    return item


def words(said: str) -> Dataset:
    """A text object in a corner of the display."""
    text = Dataset()
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.BoundingBoxTopLeftHandCorner = _CORNER
    text.BoundingBoxBottomRightHandCorner = _OPPOSITE
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    text.UnformattedTextValue = said
    return text


def _render(dataset: Dataset, rendering: Rendering, shown: list[Shown]) -> None:
    """Modality LUT, Softcopy VOI LUT and Softcopy Presentation LUT (PS3.3 C.11.1, C.11.8, C.11.6): the images' own."""
    if rendering.slope:
        dataset.RescaleSlope, dataset.RescaleIntercept = rendering.slope, rendering.intercept
        dataset.RescaleType = "US"  # unspecified
    windows = []
    for source, header in shown:
        if (window := window_of(header)) is not None:
            window.ReferencedImageSequence = [reference(source)]
            windows.append(window)
    if windows:
        dataset.SoftcopyVOILUTSequence = windows
    dataset.PresentationLUTShape = rendering.shape


def reference(source: Source, frame: int | None = None) -> Dataset:
    """Image SOP Instance Reference (PS3.3 table 10-3); of one frame, counted from 1, or of all."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item
