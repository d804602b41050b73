"""A decision as an Encapsulated PDF (PS3.3 A.45.1), for a PACS that keeps documents."""

from collections.abc import Iterator
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.composite import Series, as_file, begin, set_content_time
from triage_agent.results.context import PRODUCT, ResultContext, require_decision
from triage_agent.results.evidence import require_sources
from triage_agent.results.page import BOLD, REGULAR, Line, Style, page_of, wrapped
from triage_agent.results.summary import DISCLAIMER, headline

_SERIES = Series(modality="DOC", number=9914, name="pdf")
_MARGIN = 60  # points
_LEADING = 1.45
_FACES = {"TriageRegular": REGULAR, "TriageBold": BOLD}
_SET = {Style.TITLE: ("TriageBold", 20), Style.STRONG: ("TriageBold", 11), Style.PLAIN: ("TriageRegular", 10)}


def build_encapsulated_pdf(context: ResultContext) -> Artifact:
    """The page of a decision as a PDF in a Part 10 file.

    Raises:
        TriageError: no instance of the study can be referred to.
    """
    decision, sources = require_decision(context), require_sources(context)
    document = as_pdf(page_of(context, decision))
    dataset = begin(context, _SERIES, EncapsulatedPDFStorage, context.uid(ArtifactKind.PDF.value))
    dataset.ConversionType = "SYN"
    dataset.InstanceNumber = max(1, decision.revision)
    set_content_time(context, dataset)
    dataset.AcquisitionDateTime = ""  # of what it was made from: not one moment
    dataset.BurnedInAnnotation = "YES" if context.name_patient else "NO"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.DocumentTitle = f"Triage result. {DISCLAIMER}"
    dataset.ConceptNameCodeSequence = []
    dataset.SourceInstanceSequence = [_reference(one.sop_class_uid, one.sop_instance_uid) for one in sources]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return Artifact(
        kind=ArtifactKind.PDF,
        uid=dataset.SOPInstanceUID,
        body=as_file(dataset, context.software_version),
        summary=headline(decision),
    )


def as_pdf(lines: list[Line]) -> bytes:
    """A4 pages, without a clock in them: equal lines give equal bytes (promise 5)."""
    for name, path in _FACES.items():
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(path)))
    file = BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setTitle("Triage result")
    canvas.setCreator(PRODUCT)
    width, height = A4
    top = height - _MARGIN
    for row, face, size in _rows(lines, width - 2 * _MARGIN):
        top -= size * _LEADING
        if top < _MARGIN:
            canvas.showPage()
            top = height - _MARGIN - size * _LEADING
        canvas.setFont(face, size)
        canvas.drawString(_MARGIN, top, row)
    canvas.save()
    return file.getvalue()


def _rows(lines: list[Line], width: float) -> Iterator[tuple[str, str, int]]:
    for line in lines:
        face, size = _SET[line.style]

        def measure(text: str, face: str = face, size: int = size) -> float:
            return float(pdfmetrics.stringWidth(text, face, size))

        for row in wrapped(line.text, width, measure):
            yield row, face, size


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item
