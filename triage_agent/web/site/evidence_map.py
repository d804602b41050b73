"""Where a score comes from, for the page of a study: what the evidence objects that were made of it say (promise 6).

Nothing is computed here. A map is shown only where the site has evidence turned on, only of the decision that stands,
and only while a reader asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from triage_agent.domain.decision import Artifact
from triage_agent.domain.ports import StudyDetail, Worklist
from triage_agent.domain.quiet import quiet
from triage_agent.domain.vocabulary import ArtifactKind

_MOST_OBJECTS = 5
_MOST_LINES = 20  # of an image
_MOST_POINTS = 5000  # of a line
_MOST_PIXELS = 1 << 26  # of a picture

Outline = Sequence[tuple[float, float]]
"""A closed outline; each point as shares of the image's width and height, 0 to 1."""


@dataclass(frozen=True, slots=True)
class StudyEvidence:
    """What there is of one study.

    Attributes:
        lines: by SOP Instance UID of the image that they lie over.
        picture: there is a picture, and no lines.
    """

    lines: Mapping[str, Sequence[Outline]] = field(default_factory=dict)
    picture: bool = False

    def __bool__(self) -> bool:
        return bool(self.lines) or self.picture


class EvidenceMaps:
    """Finds the maps of studies."""

    def __init__(self, worklist: Worklist, *, shown: bool) -> None:
        """`shown`: the site has evidence turned on (`[results] evidence`)."""
        self._worklist = worklist
        self._shown = shown

    def of(self, detail: StudyDetail) -> StudyEvidence:
        """What there is of a study; objects of earlier decisions, and withdrawn ones, are not shown.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        found = self._object(detail, ArtifactKind.EVIDENCE_GSPS)
        lines = {} if found is None else _lines(found)
        return StudyEvidence(lines, picture=not lines and self._object(detail, ArtifactKind.EVIDENCE_SC) is not None)

    def picture(self, detail: StudyDetail) -> bytes | None:
        """The picture as PNG, in colour; None where there is none, or it is none of ours.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        found = self._object(detail, ArtifactKind.EVIDENCE_SC)
        return None if found is None else _png(found)

    def _object(self, detail: StudyDetail, kind: ArtifactKind) -> Artifact | None:
        uids = self._uids(detail, kind)
        if not uids:
            return None
        made = self._worklist.results_of(detail.item.study_instance_uid, _MOST_OBJECTS, {kind})
        return next((one for one in made if one.uid in uids), None)

    def _uids(self, detail: StudyDetail, kind: ArtifactKind) -> set[str]:
        if not self._shown:
            return set()
        return {one.uid for one in detail.deliveries if one.kind is kind and one.revision == detail.item.revision}


def _lines(state: Artifact) -> dict[str, list[Outline]]:
    """The outlines of a presentation state (PS3.3 C.10.5) by image; nothing of one that cannot be read."""
    try:
        with quiet():
            root = dcmread(BytesIO(state.body))
            sizes = dict(_size(area) for area in root.DisplayedAreaSelectionSequence)
            found: dict[str, list[Outline]] = {}
            for drawn in root.GraphicAnnotationSequence:
                uid = _image_of(drawn)
                lines = [_line(one, *sizes[uid]) for one in drawn.get("GraphicObjectSequence", [])[:_MOST_LINES]]
                if lines:
                    found[uid] = lines
            return found
    except (InvalidDicomError, AttributeError, LookupError, TypeError, ValueError):
        return {}  # a page without its map is better than no page


def _size(area: Dataset) -> tuple[str, tuple[int, int]]:
    columns, rows = area.DisplayedAreaBottomRightHandCorner
    return _image_of(area), (max(1, int(columns)), max(1, int(rows)))


def _image_of(item: Dataset) -> str:
    return str(item.ReferencedImageSequence[0].ReferencedSOPInstanceUID)


def _line(drawn: Dataset, columns: int, rows: int) -> Outline:
    values = [float(value) for value in drawn.GraphicData[: 2 * _MOST_POINTS]]
    return [(x / columns, y / rows) for x, y in zip(values[::2], values[1::2], strict=True)]


def _png(picture: Artifact) -> bytes | None:
    """A Secondary Capture as we write them: RGB of 8 bits, not compressed."""
    try:
        with quiet():
            root = dcmread(BytesIO(picture.body))
            size = (int(root.Columns), int(root.Rows))
            pixels = bytes(root.PixelData)[: 3 * size[0] * size[1]]
            shown = Image.frombytes("RGB", size, pixels) if size[0] * size[1] <= _MOST_PIXELS else None
    except (InvalidDicomError, AttributeError, TypeError, ValueError):
        return None
    if shown is None:
        return None
    written = BytesIO()
    shown.save(written, "PNG", compress_level=1)
    return written.getvalue()
