"""The page of a study: its images, what was decided and why, what went where, and what was there before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import quote

from fastapi import HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DecoderUnavailableError, UnreadableImageError
from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.domain.feedback import LONGEST_NOTE, FeedbackBook, Verdict
from triage_agent.domain.ports import Clock, StudyDetail, Worklist
from triage_agent.domain.quiet import quiet
from triage_agent.domain.reading import ReadingList
from triage_agent.domain.states import sources_of
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event
from triage_agent.web.site.claims import is_forgotten, mark_of
from triage_agent.web.site.condition import Condition
from triage_agent.web.site.evidence_map import EvidenceMaps, Outline
from triage_agent.web.site.gate import Gate, Visitor, available, visitor_of
from triage_agent.web.site.images import SIZES, Radiographs, Window
from triage_agent.web.site.masking import masked_all, masked_item
from triage_agent.web.site.pages import Pages

_EARLIER = 20  # studies of the patient
_MOST_RESULTS = 20
_MOST_WORDS = 50  # of readers about the study
_DEEPEST = 12  # levels of a report's tree
_AUDITED_FOR = timedelta(minutes=10)  # whoever looks at one image after the other sees one study
_MOST_SEEN = 10_000
_SEE_OTHER = 303
_NO_MAP = "There is no evidence map of this image."
_REPORTS = frozenset(kind for kind in ArtifactKind if kind.value.startswith("sr"))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a report: how deep it stands, its concept, its value, and whether that is somebody's name."""

    level: int
    concept: str
    value: str
    person: bool = False


class Viewing:
    """The routes."""

    def __init__(
        self,
        gate: Gate,
        worklist: Worklist,
        readers: ReadingList,
        pages: Pages,
        clock: Clock,
        radiographs: Radiographs,
        feedback: FeedbackBook,
        condition: Condition,
        pacs_link: str = "",
        *,
        evidence: bool = False,
    ) -> None:
        self.router = gate.router()
        self._gate = gate
        self._worklist = worklist
        self._readers = readers
        self._pages = pages
        self._clock = clock
        self._radiographs = radiographs
        self._feedback = feedback
        self._condition = condition
        self._pacs_link = pacs_link
        self._maps = EvidenceMaps(worklist, shown=evidence)
        self._seen: dict[tuple[str, str], Any] = {}
        self.router.get("/studies/{uid}")(self.study)
        self.router.get("/studies/{uid}/images/{image}")(self.image)
        self.router.get("/studies/{uid}/evidence")(self.picture)
        self.router.post("/studies/{uid}/retry")(self.retry)

    def study(self, request: Request, uid: str, *, evidence: bool = False) -> Response:
        """One study; with its evidence map already shown, where there is one, for browsers without scripts."""
        visitor, detail = visitor_of(request), self._detail(uid)
        with available():
            listed = self._readers.one(uid)
            earlier = self._readers.of_patient(detail.item.patient_id, uid, _EARLIER)
            results = self._worklist.results_of(uid, _MOST_RESULTS, _REPORTS)
            maps = self._maps.of(detail)
            words = self._feedback.of_study(uid, _MOST_WORDS)
        self._audit(visitor, uid)
        return self._pages.show(
            "study.html",
            visitor,
            detail=detail,
            troubles=self._condition.troubles(),
            old=listed is not None and is_forgotten(listed, self._clock()),
            mark=mark_of(listed) if listed is not None else "",
            item=masked_item(detail.item) if visitor.masked else detail.item,
            listed=listed,
            earlier=masked_all(earlier) if visitor.masked else earlier,
            report=_report(results, masked=visitor.masked),
            maps=maps,
            with_maps=evidence and bool(maps),
            evidence_notice=EVIDENCE_NOTICE,
            words=[replace(word, note="") for word in words] if visitor.masked else words,
            verdicts=list(Verdict),
            longest_note=LONGEST_NOTE,
            pacs_link=_filled(self._pacs_link, detail.item),
            may_retry=_may_retry(detail),
            now=self._clock(),
        )

    def image(
        self,
        request: Request,
        uid: str,
        image: str,
        size: int = 1024,
        low: float = Query(0, ge=-2, le=3),  # beyond the range: black becomes grey, which is less contrast
        high: float = Query(1, ge=-2, le=3),
        inverted: bool = False,
        *,
        evidence: bool = False,
    ) -> Response:
        """One image as PNG, windowed from its full depth; with the outlines of its evidence map, where it has some."""
        detail = self._detail(uid)
        found = [one for one in detail.instances if one.sop_instance_uid == image]
        if not found or size not in SIZES:
            raise HTTPException(404, "There is no such image.")
        if found[0].original_deleted_at is not None:
            raise HTTPException(410, "The image has been deleted, as the site's retention wants it.")
        lines = self._lines(detail, image) if evidence else ()
        self._audit(visitor_of(request), uid)
        try:
            png = self._radiographs.png(found[0].path, size, Window(min(low, high), max(low, high), inverted), lines)
        except UnreadableImageError as error:
            raise HTTPException(422, error.message) from None
        except DecoderUnavailableError:
            raise HTTPException(503, "Images cannot be read at the moment.", {"Retry-After": "10"}) from None
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})

    def picture(self, request: Request, uid: str) -> Response:
        """The evidence map as the picture that was made of it, where no outlines were."""
        detail = self._detail(uid)
        with available():
            png = self._maps.picture(detail)
        if png is None:
            raise HTTPException(404, _NO_MAP)
        self._audit(visitor_of(request), uid)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})

    def _lines(self, detail: StudyDetail, image: str) -> Sequence[Outline]:
        with available():
            lines = self._maps.of(detail).lines.get(image, ())
        if not lines:
            raise HTTPException(404, _NO_MAP)
        return lines

    def retry(self, request: Request, uid: str) -> Response:
        """Put failed deliveries, or a study that needs a human, back to work."""
        self._detail(uid)
        with available():
            number = self._worklist.retry_study(uid, visitor_of(request).name, self._clock())
        if not number:
            raise HTTPException(409, "There is nothing that could be tried again.")
        return RedirectResponse(f"/studies/{uid}", _SEE_OTHER)

    def _detail(self, uid: str) -> StudyDetail:
        with available():
            detail = self._worklist.study(uid) if is_uid(uid) else None
        if detail is None:
            raise HTTPException(404, "There is no such study on this worklist.")
        return detail

    def _audit(self, visitor: Visitor, uid: str) -> None:
        """Once in a while for each study that somebody looks at."""
        now, key = self._clock(), (visitor.name, uid)
        if key in self._seen and now - self._seen[key] < _AUDITED_FOR:
            return
        self._gate.record(visitor, AuditAction.STUDY_VIEWED, uid)
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[key] = now


def _may_retry(detail: StudyDetail) -> bool:
    """Whether there is something that failed: a result that was given up, or the study itself."""
    failed = any(one.state is DeliveryState.DEAD for one in detail.deliveries)
    return failed or detail.item.status in sources_of(Event.RETRIED)


def _filled(template: str, item: WorklistItem) -> str:
    """The way to this study at the site's PACS; what it has from the study cannot lead elsewhere."""
    return template.replace("{study_uid}", quote(item.study_instance_uid, safe="")).replace(
        "{accession_number}", quote(item.accession_number or "", safe="")
    )


def _report(results: Sequence[Artifact], *, masked: bool = False) -> list[Line]:
    """The last report that we made, a line a content item; empty where there is none."""
    last = next((one for one in results if one.kind in _REPORTS), None)
    if last is None:
        return []
    try:
        with quiet():
            root = dcmread(BytesIO(last.body))
            return [line for line in _lines(root, 0) if not (masked and line.person)]
    except InvalidDicomError:  # a page without its report is better than no page
        return []


def _lines(item: Dataset, level: int) -> list[Line]:
    person = item.get("ValueType", "") == "PNAME"
    found = [Line(level, _meaning(item.get("ConceptNameCodeSequence")), _value(item), person)]
    if level < _DEEPEST:
        for child in item.get("ContentSequence", []):
            found += _lines(child, level + 1)
    return found


def _meaning(codes: Any) -> str:
    return str(codes[0].get("CodeMeaning", "")) if codes else ""


def _value(item: Dataset) -> str:
    """What a content item says (PS3.3 section C.17.3)."""
    say = _VALUES.get(str(item.get("ValueType", "")))
    return say(item) if say is not None else ""


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence")
    if not measured:
        return ""
    unit = _meaning(measured[0].get("MeasurementUnitsCodeSequence"))
    return f"{measured[0].get('NumericValue', '')} {'' if unit == 'no units' else unit}".strip()


def _image(item: Dataset) -> str:
    referenced = item.get("ReferencedSOPSequence")
    return str(referenced[0].get("ReferencedSOPInstanceUID", "")) if referenced else ""


_VALUES: Mapping[str, Callable[[Dataset], str]] = {
    "TEXT": lambda item: str(item.get("TextValue", "")),
    "CODE": lambda item: _meaning(item.get("ConceptCodeSequence")),
    "UIDREF": lambda item: str(item.get("UID", "")),
    "DATETIME": lambda item: str(item.get("DateTime", "")),
    "DATE": lambda item: str(item.get("Date", "")),
    "TIME": lambda item: str(item.get("Time", "")),
    "PNAME": lambda item: str(item.get("PersonName", "")),
    "NUM": _number,
    "IMAGE": _image,
}
