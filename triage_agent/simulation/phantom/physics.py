"""From path lengths to detector values: attenuation, scatter, quantum noise, blur, logarithm."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from triage_agent.simulation.phantom.camera import Map
from triage_agent.simulation.phantom.projection import Thickness


@dataclass(frozen=True)
class _Bin:
    """Linear attenuation coefficients (1/mm) at one energy: NIST XCOM values times density."""

    weight: float
    bone: float
    marrow: float
    muscle: float
    fat: float
    metal: float


_BINS = (
    _Bin(weight=0.5, bone=0.128, marrow=0.0255, muscle=0.0284, fat=0.0228, metal=1.6),  # 40 keV
    _Bin(weight=0.5, bone=0.0604, marrow=0.0203, muscle=0.0215, fat=0.0188, metal=0.55),  # 60 keV
)
_SCATTER_RANGE_MM = 22.0
_SCATTER_GRID_MM = 6.0
_LEAKAGE = 0.004  # what reaches the detector through the collimator's leaves
_DARKEST = 1e-5


@dataclass(frozen=True)
class Exposure:
    """How one image is made.

    Attributes:
        photons: Detected photons a square millimetre with nothing in the beam.
        scatter: Scatter-to-primary ratio behind the limb.
        blur: Standard deviation of the detector's point spread (mm).
        sharpening: Gain of the vendor's edge enhancement.
        sharpening_range: Its range (mm).
    """

    photons: float
    scatter: float
    blur: float
    sharpening: float
    sharpening_range: float


def transmission(paths: Thickness) -> Map:
    """Primary intensity behind the object, relative to the open beam."""
    soft = np.maximum(paths.soft - paths.bone - paths.air, 0.0)
    fat = np.minimum(paths.fat, soft)
    muscle = soft - fat
    marrow = np.maximum(paths.bone - paths.mineral, 0.0)
    total: Map = np.zeros(soft.shape, dtype=np.float32)
    has_metal = bool(paths.metal.any())
    for part in _BINS:
        depth = np.float32(part.bone) * paths.mineral + np.float32(part.marrow) * marrow
        depth += np.float32(part.muscle) * muscle
        depth += np.float32(part.fat) * fat
        if has_metal:
            depth += np.float32(part.metal) * paths.metal
        total += np.float32(part.weight) * np.exp(-depth)
    return total


def detect(primary: Map, beam: Map, pitch: float, exposure: Exposure, rng: np.random.Generator) -> Map:
    """Attenuation seen by the detector, -ln(I / I0) with scatter, noise and blur (H x W).

    Args:
        primary: Transmission of the object and everything on the cassette.
        beam: Share (0..1) of the beam that the collimator lets through.
        pitch: mm a pixel.
        exposure: How the image is made.
        rng: Where the noise comes from.
    """
    lit = primary * (beam + np.float32(_LEAKAGE) * (1.0 - beam))
    intensity = lit + _wide_blur(lit * beam, pitch, _SCATTER_RANGE_MM) * np.float32(exposure.scatter)
    photons = np.float32(exposure.photons * pitch * pitch)
    noise = rng.standard_normal(intensity.shape, dtype=np.float32)
    intensity += noise * np.sqrt(intensity / photons)
    sigma = exposure.blur / pitch
    intensity = gaussian_filter(intensity, sigma, truncate=3.0)
    seen = -np.log(np.maximum(intensity, np.float32(_DARKEST)))
    if exposure.sharpening:
        lit_area = beam > 0.5  # noqa: PLR2004 - more than half lit
        evened = np.where(lit_area, seen, seen[lit_area].mean())
        seen += np.float32(exposure.sharpening) * (evened - _wide_blur(evened, pitch, exposure.sharpening_range))
    return np.asarray(seen, dtype=np.float32)


def _wide_blur(image: Map, pitch: float, sigma_mm: float) -> Map:
    """A Gaussian low-pass on a coarse grid, brought back to full size."""
    factor = max(int(min(_SCATTER_GRID_MM, sigma_mm / 2) / pitch), 1)
    height, width = image.shape
    small = Image.fromarray(image).reduce(factor) if factor > 1 else Image.fromarray(image)
    blurred = gaussian_filter(np.asarray(small), sigma_mm / (pitch * factor), truncate=2.5, mode="nearest")
    if factor == 1:
        return np.asarray(blurred, dtype=np.float32)
    return np.asarray(Image.fromarray(blurred).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
