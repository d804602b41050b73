"""Evidence as a picture, a Secondary Capture Image (PS3.3 A.8.1) in colour: each image with its map over it.

Built only where a site turns evidence on (promise 6). What it is not stands in its pixels.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from triage_agent.domain.decision import Artifact, Decision
from triage_agent.domain.evidence import EVIDENCE_NOTICE, EvidenceMap
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.composite import Series, as_file, begin, set_content_time
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.evidence import Source, common_laterality, sources_of
from triage_agent.results.header import text_of
from triage_agent.results.page import Line, Style, said_on
from triage_agent.results.secondary_capture import LONG_TEXT, WIDTH, draw
from triage_agent.results.summary import DISCLAIMER, explanation, headline, warnings_of

_SERIES = Series(modality="OT", number=9915, name="evidence-sc")
_HIGHEST = 800  # pixels, of one image on the page
_GAP = 16
_LABEL = 40  # high, above each image


def has_maps(context: ResultContext) -> bool:
    """Whether there is anything to show."""
    return bool(context.maps)


def build_evidence_picture(context: ResultContext) -> Artifact:
    """The picture as a Part 10 file; only for contexts that have maps."""
    decision = require_decision(context)
    shown = [(one, context.maps[one.sop_instance_uid]) for one in sources_of(context) if _has_map(context, one)]
    said = _said(decision, [found for _, found in shown])
    dataset = begin(context, _SERIES, SecondaryCaptureImageStorage, context.uid(ArtifactKind.EVIDENCE_SC.value))
    dataset.ConversionType = "SYN"  # synthetic, PS3.3 C.8.6.1
    dataset.InstanceNumber = max(1, decision.revision)
    dataset.PatientOrientation = None
    side = common_laterality([source for source, _ in shown])
    dataset.Laterality = side if side in {"R", "L"} else None
    set_content_time(context, dataset)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = f"{EVIDENCE_NOTICE}: what the score leans on, over the image"
    dataset.ImageComments = said_on(_comments(decision, said)).encode()[:LONG_TEXT].decode(errors="ignore")
    dataset.SourceImageSequence = [_source(source, found) for source, found in shown]
    burned_in = _burned_in(context, [source for source, _ in shown])
    if burned_in:
        dataset.BurnedInAnnotation = burned_in
    _set_pixels(dataset, _page(said, shown))
    return Artifact(
        kind=ArtifactKind.EVIDENCE_SC,
        uid=dataset.SOPInstanceUID,
        body=as_file(dataset, context.software_version),
        summary=f"Evidence of: {headline(decision)}",
    )


def _has_map(context: ResultContext, source: Source) -> bool:
    return source.sop_instance_uid in context.maps


def _said(decision: Decision, maps: Sequence[EvidenceMap]) -> list[Line]:
    """What stands above the pictures."""
    methods = ", ".join(sorted({one.method for one in maps}))
    return [
        Line(EVIDENCE_NOTICE, Style.STRONG),
        Line(DISCLAIMER, Style.STRONG),
        *(Line(warning) for warning in warnings_of(decision.model)),
        Line(f"Colour shows what the score leans on ({methods}); yellow most. Bundle: {decision.model.label}."),
    ]


def _comments(decision: Decision, said: Sequence[Line]) -> list[Line]:
    return [*said, Line(headline(decision)), *(Line(one) for one in explanation(decision))]


def _page(said: Sequence[Line], shown: Sequence[tuple[Source, EvidenceMap]]) -> Image.Image:
    """Words on top, then the images below each other, each as wide as the page at most."""
    top = draw(list(said), least_height=0)
    pictures = [_fitted(found) for _, found in shown]
    height = top.height + sum(picture.height + _LABEL + _GAP for picture in pictures)
    page = Image.new("RGB", (WIDTH, height))
    page.paste(top.convert("RGB"), (0, 0))
    pen, below = ImageDraw.Draw(page), top.height
    for number, (picture, (source, _)) in enumerate(zip(pictures, shown, strict=True), start=1):
        label = draw([Line(_label(number, source))], least_height=0, margin=8)
        page.paste(label.convert("RGB").crop((0, 0, WIDTH, _LABEL)), (0, below))
        page.paste(picture, ((WIDTH - picture.width) // 2, below + _LABEL))
        pen.line((0, below, WIDTH, below), fill=(80, 80, 80))
        below += picture.height + _LABEL + _GAP
    return page


def _label(number: int, source: Source) -> str:
    one = source.assessment
    probability = "" if one is None or one.probability is None else f", probability {one.probability:.2f}"
    return f"Image {number}{probability}"


def _fitted(found: EvidenceMap) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(found.picture))
    share = min(WIDTH / picture.width, _HIGHEST / picture.height)
    return picture.resize((max(1, round(picture.width * share)), max(1, round(picture.height * share))))


def _source(source: Source, found: EvidenceMap) -> Dataset:
    """Source Image (PS3.3 C.7.6.1.1.4 and table 10-3)."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    if found.frame is not None:
        item.ReferencedFrameNumber = found.frame
    return item


def _burned_in(context: ResultContext, sources: Sequence[Source]) -> str:
    """What is burned into the images is in their picture, too; empty where one of them does not say."""
    uids = {source.sop_instance_uid for source in sources}
    headers = [header for header in context.headers if text_of(header, "SOPInstanceUID") in uids]
    said = {text_of(header, "BurnedInAnnotation").upper() for header in headers}
    if "YES" in said:
        return "YES"
    return "NO" if said == {"NO"} else ""


def _set_pixels(dataset: Dataset, page: Image.Image) -> None:
    """Image Pixel (PS3.3 C.7.6.3)."""
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Columns, dataset.Rows = page.size
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    pixels = page.tobytes()
    dataset.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
