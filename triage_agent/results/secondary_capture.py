"""A decision as a page in a Secondary Capture Image (PS3.3 A.8.1), for a PACS that shows only images."""

from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.composite import Series, as_file, begin, set_content_time
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.evidence import common_laterality, sources_of
from triage_agent.results.page import BOLD, REGULAR, Line, Style, page_of, said_on, wrapped
from triage_agent.results.summary import headline

_SERIES = Series(modality="OT", number=9911, name="sc")
WIDTH = 800  # pixels; the height follows from what there is to say
_MARGIN = 32
_LEAST_HEIGHT = 480
_MOST_HEIGHT = 4096
_LEADING = 1.4  # of a line's height to its letters'
_SIZES = {Style.TITLE: 34, Style.STRONG: 21, Style.PLAIN: 19}
_INK, _PAPER = 255, 0  # light on dark: a white page in a dark reading room blinds
_CUT = "The rest does not fit on this page."
_DESCRIPTION = "A machine's triage result as text; no picture of the patient"
LONG_TEXT = 10240  # characters of LT, PS3.5 section 6.2

_Font = ImageFont.FreeTypeFont


def build_secondary_capture(context: ResultContext) -> Artifact:
    """The page of a decision as a Part 10 file; Image Comments has its text."""
    decision = require_decision(context)
    lines = page_of(context, decision)
    dataset = begin(context, _SERIES, SecondaryCaptureImageStorage, context.uid(ArtifactKind.SC.value))
    dataset.ConversionType = "SYN"  # synthetic, PS3.3 C.8.6.1
    dataset.InstanceNumber = max(1, decision.revision)
    dataset.PatientOrientation = None
    side = common_laterality([source for source in sources_of(context) if source.considered])
    dataset.Laterality = side if side in {"R", "L"} else None
    set_content_time(context, dataset)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = _DESCRIPTION
    dataset.ImageComments = said_on(lines).encode()[:LONG_TEXT].decode(errors="ignore")
    dataset.BurnedInAnnotation = "YES" if context.name_patient else "NO"
    dataset.RecognizableVisualFeatures = "NO"
    _set_pixels(dataset, draw(lines))
    return Artifact(
        kind=ArtifactKind.SC,
        uid=dataset.SOPInstanceUID,
        body=as_file(dataset, context.software_version),
        summary=headline(decision),
    )


def draw(lines: list[Line], *, least_height: int = _LEAST_HEIGHT, margin: int = _MARGIN) -> Image.Image:
    """The page, 8 bit grey, 800 pixels wide and as high as it needs, at most 4096."""
    fonts: dict[Style, _Font] = {style: _font(style) for style in Style}
    rows = [
        (row, fonts[line.style])
        for line in lines
        for row in wrapped(line.text, WIDTH - 2 * margin, fonts[line.style].getlength)
    ]
    height = 2 * margin + sum(_row_height(font) for _, font in rows)
    while height > _MOST_HEIGHT:
        height -= _row_height(rows.pop(-2)[1])
        rows[-1] = (_CUT, fonts[Style.PLAIN])
    page = Image.new("L", (WIDTH, max(height, least_height)), color=_PAPER)
    pen, top = ImageDraw.Draw(page), margin
    for row, font in rows:
        pen.text((margin, top), row, fill=_INK, font=font)
        top += _row_height(font)
    return page


def _font(style: Style) -> _Font:
    face = REGULAR if style is Style.PLAIN else BOLD
    # Not Raqm, which is there on some machines only: the same result is the same pixels (promise 5).
    return ImageFont.truetype(str(face), _SIZES[style], layout_engine=ImageFont.Layout.BASIC)


def _row_height(font: _Font) -> int:
    return round(font.size * _LEADING)


def _set_pixels(dataset: Dataset, page: Image.Image) -> None:
    """Image Pixel (PS3.3 C.7.6.3) and a window over all of it (C.11.2)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = page.size
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    pixels = page.tobytes()
    dataset.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
