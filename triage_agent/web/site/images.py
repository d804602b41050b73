"""Radiographs as pages show them: decoded in a process that a file can only end, kept for a while, sent as PNG."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from triage_agent.domain.errors import DecoderUnavailableError, UnreadableImageError
from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.imaging.load import Displayable
from triage_agent.imaging.loader import Loader
from triage_agent.web.site.evidence_map import Outline

SIZES = (320, 1024, 2048, 4096)  # pixels of the longer side
_MOST_BYTES = 192 << 20  # of images that are kept decoded; four of the largest detectors'
_AT_ONCE = 2  # renderings: each holds an image of its own
_OUTLINE, _AROUND = (255, 214, 10), (0, 0, 0)  # seen on bright and on dark places alike
_THIN = 400  # times as long as an outline is wide
_SMALLEST_LETTERS, _LARGEST_LETTERS = 8, 24  # pixels
_WIDE = 1.6  # times its share of a line may a letter be high
_MARGIN = 3


@dataclass(frozen=True, slots=True)
class Window:
    """What part of the display range is shown: `low` becomes black and `high` white, -2 to 3; or the reverse."""

    low: float = 0.0
    high: float = 1.0
    inverted: bool = False


class Radiographs:
    """Renders stored images; safe to share between threads."""

    def __init__(self, loader: Loader, spool: Path) -> None:
        self._loader = loader
        self._spool = spool
        self._kept: OrderedDict[str, NDArray[np.uint16]] = OrderedDict()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_AT_ONCE)

    def png(self, path: str, size: int, window: Window, lines: Sequence[Outline] = ()) -> bytes:
        """A PNG of 8 bits, grey, its longer side at most `size` pixels; in colour with `lines` of evidence over it.

        Raises:
            UnreadableImageError: it cannot be shown, and why.
            DecoderUnavailableError: nothing can be read at the moment.
        """
        with self._places:
            image = self._image(path)
            shown = Image.fromarray(_windowed(image, window))
            shown.thumbnail((size, size), Image.Resampling.BILINEAR)
            shown = _outlined(shown, lines) if lines else shown
            written = BytesIO()
            shown.save(written, "PNG", compress_level=1)
            return written.getvalue()

    def _image(self, path: str) -> NDArray[np.uint16]:
        with self._lock:
            if (known := self._kept.get(path)) is not None:
                self._kept.move_to_end(path)
                return known
        loaded = self._loader.load(self._spool / path, secondary_captures=True)
        if not isinstance(loaded, Displayable):
            raise UnreadableImageError(loaded.reason)
        image = np.round(loaded.image * np.float32(65535)).astype(np.uint16)
        with self._lock:
            self._kept[path] = image
            while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > _MOST_BYTES:
                self._kept.popitem(last=False)
        return image


def _outlined(shown: Image.Image, lines: Sequence[Outline]) -> Image.Image:
    """The lines over the image, and in its pixels the words of what they are not."""
    over = shown.convert("RGB")
    pen, thick = ImageDraw.Draw(over), max(2, max(shown.size) // _THIN)
    for line in lines:
        points = [(x * shown.width, y * shown.height) for x, y in line]
        pen.line(points, fill=_AROUND, width=thick + 2, joint="curve")
        pen.line(points, fill=_OUTLINE, width=thick, joint="curve")
    _say(pen, shown.size)
    return over


def _say(pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """What the lines are not, below on the left, in letters with which it is as wide as the image at most."""
    width, height = size
    lines = EVIDENCE_NOTICE.split("; ")
    letters = min(_LARGEST_LETTERS, max(_SMALLEST_LETTERS, round(_WIDE * width / max(map(len, lines)))))
    font, said = ImageFont.load_default(letters), "\n".join(lines)
    box = pen.multiline_textbbox((0, 0), said, font=font)
    at = (_MARGIN, height - _MARGIN - box[3])
    left, top, right, bottom = pen.multiline_textbbox(at, said, font=font)
    pen.rectangle((left - _MARGIN, top - _MARGIN, right + _MARGIN, bottom + _MARGIN), fill=_AROUND)
    pen.multiline_text(at, said, fill=_OUTLINE, font=font)


def _windowed(image: NDArray[np.uint16], window: Window) -> NDArray[np.uint8]:
    """By one table for all values: quicker than arithmetic on every pixel."""
    span = max(window.high - window.low, 1 / 255)
    table = np.clip((np.arange(65536, dtype=np.float32) / 65535 - window.low) / span, 0, 1)
    if window.inverted:
        table = 1 - table
    return np.round(table * 255).astype(np.uint8)[image]


__all__ = ["SIZES", "DecoderUnavailableError", "Radiographs", "UnreadableImageError", "Window"]
