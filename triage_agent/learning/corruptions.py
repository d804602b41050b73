"""Radiographs as worse machines, worse settings and worse archives would have made them, at five severities.

The kinds and most strengths follow MedMNIST-C's for radiographs (Di Salvo et al. 2024, arXiv 2406.17536); motion,
rotation, crop and burned-in text are added, and impulse noise, which no detector makes, is left out. Every function is
pure: the same image, kind, severity and generator state give the same image.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

Display: TypeAlias = NDArray[np.float32]

SEVERITIES = (1, 2, 3, 4, 5)
_REFERENCE = 224  # pixels of the longer side that lengths below are stated for, as in MedMNIST-C
_TEXTS = ("L", "STANDING", "AP 65KV 4MAS", "PORTABLE", "R", "SITE 12", "WB", "REPEAT 2")  # no person's name
_BYTE = 255


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of corruption: what it does, and how strongly at each severity."""

    apply: Callable[[Display, float, np.random.Generator], Display]
    levels: tuple[float, float, float, float, float]
    unit: str


def corrupt(display: Display, kind: str, severity: int, generator: np.random.Generator) -> Display:
    """A corrupted copy.

    Args:
        display: float32 [H, W] in [0, 1], bone bright.
        kind: a key of `CORRUPTIONS`.
        severity: 1 (slight) to 5 (severe).
        generator: for what is drawn: noise, direction, place.

    Returns:
        float32 in [0, 1]; [H, W], smaller for `crop`.
    """
    corruption = CORRUPTIONS[kind]
    changed = corruption.apply(display, corruption.levels[severity - 1], generator)
    return np.ascontiguousarray(np.clip(changed, 0.0, 1.0), dtype=np.float32)


def _gaussian_noise(display: Display, deviation: float, generator: np.random.Generator) -> Display:
    return display + np.float32(deviation) * generator.standard_normal(display.shape, dtype=np.float32)


def _speckle_noise(display: Display, deviation: float, generator: np.random.Generator) -> Display:
    """Noise in proportion to brightness, as few quanta make it: bright on the display is where few came through."""
    return display * (1 + np.float32(deviation) * generator.standard_normal(display.shape, dtype=np.float32))


def _blur(display: Display, pixels: float, _: np.random.Generator) -> Display:
    blurred: Display = ndimage.gaussian_filter(display, pixels * _scale(display), mode="nearest")
    return blurred


def _motion_blur(display: Display, pixels: float, generator: np.random.Generator) -> Display:
    """The mean of the image shifted along a line of the given length in a drawn direction."""
    angle = generator.uniform(0, np.pi)
    steps = max(3, round(pixels * _scale(display)))
    reach = ((np.arange(steps) + 0.5) / steps - 0.5) * pixels * _scale(display)
    shifted = [
        ndimage.shift(display, (step * np.sin(angle), step * np.cos(angle)), order=1, mode="nearest") for step in reach
    ]
    mean: Display = np.mean(shifted, axis=0, dtype=np.float32)
    return mean


def _contrast(display: Display, slope: float, _: np.random.Generator) -> Display:
    middle = np.float32(display.mean())
    changed: Display = (display - middle) * np.float32(slope) + middle
    return changed


def _gamma(display: Display, exponent: float, _: np.random.Generator) -> Display:
    return display ** np.float32(exponent)


def _brightness(display: Display, factor: float, _: np.random.Generator) -> Display:
    return display * np.float32(factor)


def _down_sampling(display: Display, share: float, _: np.random.Generator) -> Display:
    height, width = display.shape
    image = Image.fromarray(display)
    small = image.resize((max(1, round(width * share)), max(1, round(height * share))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _jpeg(display: Display, quality: float, _: np.random.Generator) -> Display:
    buffer = io.BytesIO()
    Image.fromarray(np.round(display * _BYTE).astype(np.uint8)).save(buffer, "jpeg", quality=int(quality))
    with Image.open(buffer) as decoded:
        return np.asarray(decoded, dtype=np.float32) / np.float32(_BYTE)


def _rotation(display: Display, degrees: float, generator: np.random.Generator) -> Display:
    turned: Display = ndimage.rotate(display, degrees * generator.choice((-1, 1)), reshape=False, order=1)
    return turned


def _crop(display: Display, share: float, generator: np.random.Generator) -> Display:
    """A part of the image, anywhere in it: what bad framing leaves."""
    tall, wide = (max(1, round(side * share)) for side in display.shape)
    top = int(generator.integers(display.shape[0] - tall + 1))
    left = int(generator.integers(display.shape[1] - wide + 1))
    return display[top : top + tall, left : left + wide]


def _burned_in_text(display: Display, share: float, generator: np.random.Generator) -> Display:
    """White letters of a share of the longer side, in one corner at the first severity and all four at the last."""
    height, width = display.shape
    size = max(6, round(share * max(display.shape)))
    font = ImageFont.load_default(size)
    ink = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(ink)
    lines = 1 + _TEXT_LEVELS.index(share)
    corners = generator.permutation(4)[: min(4, lines)]
    for number in range(lines):
        corner, text = int(corners[number % len(corners)]), str(generator.choice(_TEXTS))
        inset = size // 2 + size * (number // len(corners)) * 3 // 2
        x, horizontal = (size // 2, "l") if corner % 2 == 0 else (width - size // 2, "r")
        y, vertical = (inset, "a") if corner < 2 else (height - inset, "d")  # noqa: PLR2004 - two corners are at the top
        draw.text((x, y), text, fill=_BYTE, font=font, anchor=horizontal + vertical)
    written: Display = np.maximum(display, np.asarray(ink, dtype=np.float32) / np.float32(_BYTE))
    return written


def _scale(display: Display) -> float:
    return float(max(display.shape)) / _REFERENCE


_TEXT_LEVELS = (0.04, 0.05, 0.06, 0.08, 0.10)

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(_gaussian_noise, (0.02, 0.04, 0.08, 0.12, 0.18), "standard deviation"),
    "speckle_noise": Corruption(_speckle_noise, (0.05, 0.10, 0.15, 0.25, 0.35), "standard deviation"),
    "blur": Corruption(_blur, (0.5, 0.8, 1.2, 1.7, 2.4), "standard deviation in pixels of 224"),
    "motion_blur": Corruption(_motion_blur, (3, 5, 8, 12, 16), "length in pixels of 224"),
    "contrast_down": Corruption(_contrast, (0.9, 0.8, 0.7, 0.6, 0.4), "slope"),
    "contrast_up": Corruption(_contrast, (1.1, 1.2, 1.3, 1.4, 1.6), "slope"),
    "gamma_down": Corruption(_gamma, (0.9, 0.8, 0.7, 0.6, 0.4), "exponent"),
    "gamma_up": Corruption(_gamma, (1.1, 1.2, 1.4, 1.7, 2.0), "exponent"),
    "brightness_down": Corruption(_brightness, (0.9, 0.8, 0.7, 0.6, 0.5), "factor"),
    "brightness_up": Corruption(_brightness, (1.1, 1.2, 1.3, 1.4, 1.5), "factor"),
    "down_sampling": Corruption(_down_sampling, (0.7, 0.5, 0.35, 0.25, 0.15), "share of the pixels of a side"),
    "jpeg": Corruption(_jpeg, (50, 30, 15, 10, 7), "quality"),
    "rotation": Corruption(_rotation, (3, 6, 10, 15, 25), "degrees to either side"),
    "crop": Corruption(_crop, (0.95, 0.9, 0.8, 0.7, 0.6), "share of a side"),
    "burned_in_text": Corruption(_burned_in_text, _TEXT_LEVELS, "height as a share of the longer side"),
}
