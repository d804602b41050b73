"""From a file in the spool to an image for the model, or to the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.config import RAISE
from pydicom.valuerep import validate_value

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging import quality
from triage_agent.imaging.decode import decode, syntax_in_words
from triage_agent.imaging.display import to_display
from triage_agent.imaging.part10 import read_header, read_part10
from triage_agent.imaging.region import Region, laterality_of, region_of
from triage_agent.imaging.sample import sampled
from triage_agent.imaging.select import reason_to_skip
from triage_agent.imaging.tags import text, unreadable_on_failure

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_LARGEST_VALUE = 1 << 16  # bytes or characters; no attribute that identifies a study is longer
_DATES = frozenset({"AS", "DA", "DT", "TM"})
_DEEPEST = 16  # levels of sequences; real headers have five


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the log and the console show of how an image came to be."""

    transfer_syntax: str
    photometric: str
    grey_scale: str
    rows: int
    columns: int
    frame: int
    frames: int
    view: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Displayable:
    """A musculoskeletal radiograph, or one of which nothing says that it is none.

    Attributes:
        image: float32 [H, W] in [0, 1], bone bright, square pixels; or the square of a model's size that was asked for.
        laterality: R, L, B (both), U (unpaired) or None.
    """

    image: NDArray[np.float32]
    region: Region
    laterality: str | None
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An instance that is not to be scored, and why in plain words."""

    reason: str
    region: Region
    laterality: str | None


Loaded = Displayable | Skipped


def load_for_scoring(path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
    """Read one Part 10 file for the model; pixels are decoded only if it is to be scored.

    Args:
        path: the file.
        secondary_captures: also score secondary captures of radiographic modality (a site that digitises film).
        side: give the image as a square of that many pixels, see `sample.sampled`; None for all of it.

    Raises:
        UnreadableImageError: it should be scored and cannot: not DICOM, not decodable, truncated, blank ...
    """
    return load_with_header(path, secondary_captures=secondary_captures, side=side)[0]


def load_with_header(
    path: Path, *, secondary_captures: bool = False, side: int | None = None
) -> tuple[Loaded, Dataset]:
    """`load_for_scoring`, and what `read_headers` gives of the same file; raises as both."""
    header = read_headers(path)
    return _loaded(path, header, secondary_captures=secondary_captures, side=side), header


def _loaded(path: Path, header: Dataset, *, secondary_captures: bool, side: int | None) -> Loaded:
    if not text(header, "SOPClassUID"):
        raise UnreadableImageError("the file does not say what kind of object it is")
    region, laterality = region_of(header), laterality_of(header)
    reason = reason_to_skip(header, secondary_captures=secondary_captures)
    if reason is None and region.musculoskeletal is False:
        reason = f"{region.other} is not musculoskeletal"
    if reason is not None:
        return Skipped(reason=reason, region=region, laterality=laterality)
    dataset = read_part10(path)
    pixels = decode(dataset)
    display = to_display(pixels, dataset)
    refusal = quality.reason_to_refuse(display.shown)
    if refusal is not None:
        raise UnreadableImageError(refusal)
    rows, columns = pixels.values.shape[:2]
    facts = Facts(
        transfer_syntax=syntax_in_words(text(dataset.file_meta, "TransferSyntaxUID")),
        photometric=pixels.photometric,
        grey_scale=display.grey_scale,
        rows=rows,
        columns=columns,
        frame=pixels.frame,
        frames=pixels.frames,
        view=text(header, "ViewPosition"),
    )
    image = display.image if side is None else sampled(display.shown, side)
    return Displayable(image=image, region=region, laterality=laterality, facts=facts)


def read_headers(path: Path) -> Dataset:
    """Everything before the pixel data, with nothing in it that a later reader could stumble over.

    Private elements, values of more than 64 KiB and values that cannot be converted are dropped; the rest has been
    converted, so that reading it raises and warns no more. Where the structure is broken, what comes before is kept.

    Raises:
        UnreadableImageError: the file cannot be read, is no DICOM file, or is broken from its first element on.
    """
    header = read_header(path)
    with unreadable_on_failure("not a readable DICOM file"):
        _sanitize(header.file_meta, 0)
        _sanitize(header, 0)
    return header


def _sanitize(dataset: Dataset, depth: int) -> None:
    for tag in list(dataset.keys()):
        if tag.is_private or depth > _DEEPEST or not _is_sound(dataset, tag, depth):
            del dataset[tag]


def _is_sound(dataset: Dataset, tag: BaseTag, depth: int) -> bool:
    """Convert one element for good; False when that fails or it is too large to be a header value."""
    try:
        raw = dataset.get_item(tag)
        if isinstance(getattr(raw, "value", None), bytes | str) and len(raw.value) > _LARGEST_VALUE:
            return False
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                _sanitize(item, depth + 1)
        else:
            str(element.value)  # names decode only when they are looked at
            _check_parts(element.VR, raw.value)
    except Exception:  # noqa: BLE001 - conversion of a malformed value raises anything
        return False
    return True


def _check_parts(vr: str, value: object) -> None:
    """Raise ValueError unless numbers are numbers and dates are dates: pydicom leaves what is neither as text."""
    if vr not in _DATES | {"DS", "IS"} or not isinstance(value, bytes):
        return
    for part in value.decode("ascii").split("\\"):
        text_value = part.strip(" \0")
        if vr in _DATES:
            validate_value(vr, text_value, RAISE)
        elif text_value:
            float(text_value)
