"""How a study is taken: exposure, framing, collimation, marker, dressing. None of it knows the diagnosis."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from triage_agent.simulation.phantom.camera import Map
from triage_agent.simulation.phantom.odds import happens
from triage_agent.simulation.phantom.physics import Exposure

SHUTTER_NONE, SHUTTER_BLACK = "none", "black"
_PENUMBRA_MM = 0.5
_LEAD = 0.004  # transmission of a lead letter
_LETTER = {  # strokes in a unit square, y down
    "L": (((0.0, 0.0), (0.0, 1.0), (0.62, 1.0)),),
    "R": (
        ((0.0, 1.0), (0.0, 0.0), (0.42, 0.0), (0.58, 0.1), (0.62, 0.26), (0.58, 0.42), (0.42, 0.5), (0.0, 0.5)),
        ((0.32, 0.5), (0.66, 1.0)),
    ),
}


@dataclass(frozen=True)
class Habits:
    """What stays the same over the views of one study.

    Attributes:
        exposure: Dose, scatter, blur and edge enhancement.
        shutter: Whether the unexposed border is blanked.
        collimation: Largest share of the field that a leaf covers.
        letter: Height of the lead letter in mm a mm of field height; 0 is no letter.
        boxed: Whether the letter has a frame.
        latitude: How much of the 12 bits the limb takes.
    """

    exposure: Exposure
    shutter: str
    collimation: float
    letter: float
    boxed: bool
    latitude: float


@dataclass(frozen=True)
class Framing:
    """One view's framing: turns in degrees, zoom, offset and leaves as shares of the field."""

    spin: float
    tilt: tuple[float, float]
    zoom: float
    offset: tuple[float, float]
    leaves: tuple[float, float, float, float]
    leaf_angle: float
    corner: tuple[float, float]
    letter_angle: float
    letter_mirrored: bool
    has_letter: bool
    dressing: float


def draw_habits(rng: np.random.Generator) -> Habits:
    """A random X-ray room."""
    exposure = Exposure(
        photons=float(np.exp(rng.uniform(np.log(4e4), np.log(2.5e5)))),
        scatter=float(rng.uniform(0.05, 0.3)),
        blur=float(rng.uniform(0.10, 0.2)),
        sharpening=float(rng.choice([0.0, rng.uniform(0.3, 1.3)], p=[0.2, 0.8])),
        sharpening_range=float(rng.uniform(2.0, 9.0)),
    )
    return Habits(
        exposure=exposure,
        shutter=str(rng.choice([SHUTTER_NONE, SHUTTER_BLACK], p=[0.25, 0.75])),
        collimation=float(rng.choice([0.0, rng.uniform(0.03, 0.14)], p=[0.45, 0.55])),
        letter=float(rng.uniform(0.035, 0.06)) if happens(rng, 0.9) else 0.0,
        boxed=happens(rng, 0.25),
        latitude=float(rng.uniform(0.72, 0.9)),
    )


def draw_framing(habits: Habits, rng: np.random.Generator) -> Framing:
    """A random placement of the limb under the tube."""
    leaves = rng.uniform(0.2, 1.0, 4) * habits.collimation
    wild = happens(rng, 0.12)
    return Framing(
        spin=float(rng.normal(0.0, 14.0 if wild else 3.5)),
        tilt=(float(rng.normal(0.0, 3.0)), float(rng.normal(0.0, 4.0))),
        zoom=float(rng.uniform(0.96, 1.16)),
        offset=(float(rng.normal(0.0, 0.02)), float(rng.normal(0.0, 0.02))),
        leaves=(float(leaves[0]), float(leaves[1]), float(leaves[2]), float(leaves[3])),
        leaf_angle=float(rng.normal(0.0, 1.2)),
        corner=(float(rng.choice([-1.0, 1.0])), float(rng.uniform(-0.9, 0.9))),
        letter_angle=float(rng.normal(0.0, 6.0)) + float(rng.choice([0.0, 90.0, -90.0], p=[0.9, 0.05, 0.05])),
        letter_mirrored=happens(rng, 0.08),
        has_letter=habits.letter > 0 and happens(rng, 0.92),
        dressing=float(rng.uniform(0.3, 1.4)) if happens(rng, 0.1) else 0.0,
    )


def beam(shape: tuple[int, int], pitch: float, framing: Framing) -> Map:
    """Share (0..1) of the beam at each pixel that the collimator lets through."""
    height, width = shape
    if not any(framing.leaves):
        return np.ones(shape, dtype=np.float32)
    y = ((np.arange(height, dtype=np.float32) - height / 2) * np.float32(pitch))[:, None]
    x = ((np.arange(width, dtype=np.float32) - width / 2) * np.float32(pitch))[None, :]
    cos, sin = np.float32(np.cos(np.deg2rad(framing.leaf_angle))), np.float32(np.sin(np.deg2rad(framing.leaf_angle)))
    across, down = x * cos + y * sin, y * cos - x * sin
    left, right, top, bottom = framing.leaves
    wide, high = width * pitch, height * pitch
    inside = np.minimum(across + np.float32(wide * (0.5 - left)), np.float32(wide * (0.5 - right)) - across)
    inside = np.minimum(
        inside, np.minimum(down + np.float32(high * (0.5 - top)), np.float32(high * (0.5 - bottom)) - down)
    )
    return np.clip(inside / np.float32(2 * _PENUMBRA_MM) + np.float32(0.5), 0.0, 1.0)


def add_letter(primary: Map, habits: Habits, framing: Framing, laterality: str) -> None:
    """Lay the lead letter on the cassette, inside the beam: changes `primary` in place."""
    if not framing.has_letter:
        return
    height, width = primary.shape
    stamp = _stamp(laterality, max(habits.letter * height, 7.0), framing, boxed=habits.boxed)
    rows, columns = stamp.shape
    left, right, top, bottom = framing.leaves
    low = np.array([left * width + 2, top * height + 2])
    high = np.array([width * (1 - right) - columns - 2, height * (1 - bottom) - rows - 2])
    share = np.array([(framing.corner[0] * 0.96 + 1) / 2, (framing.corner[1] + 1) / 2])
    column, row = np.maximum(low + share * (high - low), 0).astype(int)
    area = primary[row : row + rows, column : column + columns]
    area *= 1.0 - (1.0 - np.float32(_LEAD)) * stamp[: area.shape[0], : area.shape[1]]


def _stamp(laterality: str, height: float, framing: Framing, *, boxed: bool) -> Map:
    """The letter as coverage 0..1."""
    scale = 4
    size = int(height * 1.9) * scale
    image = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(image)
    tall = height * scale
    corner = ((size - 0.64 * tall) / 2, (size - tall) / 2)
    for stroke in _LETTER[laterality]:
        points = [(corner[0] + x * tall, corner[1] + y * tall) for x, y in stroke]
        draw.line(points, fill=255, width=max(int(0.15 * tall), scale), joint="curve")
    if boxed:
        edge = 0.12 * size
        draw.rectangle((edge, edge, size - edge, size - edge), outline=255, width=max(int(0.07 * tall), scale))
    if framing.letter_mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(framing.letter_angle).reduce(scale)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def dressing(shape: tuple[int, int], pitch: float, framing: Framing, rng: np.random.Generator) -> Map | None:
    """Extra soft tissue equivalent (mm) of a bandage across part of the limb, or None."""
    if not framing.dressing:
        return None
    height, width = shape
    y = (np.arange(height, dtype=np.float32) * np.float32(pitch))[:, None]
    x = (np.arange(width, dtype=np.float32) * np.float32(pitch))[None, :]
    start, stop = np.sort(rng.uniform(-0.1, 1.1, 2)) * height * pitch
    slant = float(rng.uniform(-0.3, 0.3))
    band = np.clip((y + slant * x - start) / 3.0, 0, 1) * np.clip((stop - y - slant * x) / 3.0, 0, 1)
    weave = 0.5 + 0.2 * np.sin(2.2 * (y + 0.4 * x)) + 0.2 * np.sin(2.2 * (x - 0.4 * y))
    patches = gaussian_filter(rng.standard_normal((height // 8 + 1, width // 8 + 1)), 4.0 / (8 * pitch))
    patches = np.kron(patches, np.ones((8, 8)))[:height, :width]
    return np.asarray(framing.dressing * band * (weave + 0.8 * np.clip(patches, -1, 1) + 0.4), dtype=np.float32)


def widened(habits: Habits, framing: Framing) -> Framing:
    """The framing with a field large enough that the leaves leave the limb free."""
    return replace(framing, zoom=framing.zoom * (1.0 + 1.2 * habits.collimation))
