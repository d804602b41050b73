"""Woven textures: trabeculae in bone, unevenness of muscle."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from triage_agent.simulation.phantom.camera import Map

_TILE = 512  # entries a side; tiles repeat, and each bone starts elsewhere on them
_PITCH_MM = 0.25
_SEED = 20_240_607
# (share, grain along the bone, grain across it) in tile entries: fine struts, coarse struts, patches of density
_GRAINS = ((0.8, 3.0, 0.8), (0.4, 7.0, 1.6), (0.4, 24.0, 20.0))


@cache
def _tile() -> Map:
    """A repeating tile of zero mean and unit deviation, streaked along its first axis."""
    noise = np.random.default_rng(_SEED)
    total = np.zeros((_TILE, _TILE))
    for share, along, across in _GRAINS:
        layer = gaussian_filter(noise.standard_normal((_TILE, _TILE)), (along, across), mode="wrap")
        total += share * layer / layer.std()
    return np.asarray(total / total.std(), dtype=np.float32)


def weave(along: Map, across: Map, number: int) -> Map:
    """Texture (zero mean, unit deviation) at positions in mm; `number` chooses where on the tile a bone starts."""
    scale = np.float32(1.0 / _PITCH_MM)
    rows = (along * scale + np.float32(137.0 * number)).astype(np.intp) & (_TILE - 1)
    columns = (across * scale + np.float32(61.0 * number)).astype(np.intp) & (_TILE - 1)
    rows *= _TILE
    rows += columns
    return np.asarray(_tile().ravel()[rows])
