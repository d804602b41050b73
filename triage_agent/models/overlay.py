"""A map laid over the image it belongs to; what is returned are bytes and arrays, so that results need no torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_FINDING = "A map is not a finding."
STRONGEST = 0.6  # of the colour, so that the bone under it can still be seen
# Dark purple to yellow: evenly rising in lightness, also for colour-blind readers.
_STOPS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32)
_SMALLEST_TEXT = 11  # pixels
_TEXT_SHARE = 40  # of the width


def overlay(display: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image in grey with the map in colour over it, the more opaque the higher; where the map is 0 nothing changes.

    Args:
        display: float32 [H, W] in [0, 1].
        heat: float32 [H, W] in [0, 1].

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: their sizes differ.
    """
    if display.shape != heat.shape:
        raise ValueError(f"a map of {heat.shape} on an image of {display.shape}")
    ends = np.arange(len(_STOPS), dtype=np.float32) / (len(_STOPS) - 1)
    colour = np.stack([np.interp(heat, ends, channel) for channel in _STOPS.T], axis=-1)
    share = (STRONGEST * heat)[..., None]
    grey = np.clip(display, 0, 1)[..., None] * 255
    return np.asarray(np.round(grey * (1 - share) + colour * share), dtype=np.uint8)


def png(picture: NDArray[np.uint8], caption: str = "", largest: int | None = None) -> bytes:
    """A PNG of a picture, without metadata.

    Args:
        picture: uint8 [H, W] or [H, W, 3].
        caption: stands in a strip of its own below it.
        largest: side in pixels to which a larger picture is reduced.
    """
    image = Image.fromarray(picture)
    if largest is not None:
        image.thumbnail((largest, largest))
    if caption:
        image = _captioned(image.convert("RGB"), caption)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _captioned(image: Image.Image, caption: str) -> Image.Image:
    size = max(_SMALLEST_TEXT, image.width // _TEXT_SHARE)
    font = ImageFont.load_default(size)
    lines = _lines(caption, font, image.width - size)
    whole = Image.new("RGB", (image.width, image.height + round(size * (1.4 * len(lines) + 0.6))), "white")
    whole.paste(image)
    pen = ImageDraw.Draw(whole)
    for place, line in enumerate(lines):
        pen.text((size / 2, image.height + size * (0.3 + 1.4 * place)), line, fill="black", font=font)
    return whole


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The words in lines that are no wider than `width` pixels, or one word long."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
