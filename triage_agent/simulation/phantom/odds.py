"""Chance."""

import numpy as np


def happens(rng: np.random.Generator, probability: float) -> bool:
    """Whether something of this probability (0..1) comes about."""
    return bool(rng.random() < probability)
