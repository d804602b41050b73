"""The patient: size, age, bone stock; and the shapes of bones with this patient's variation in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom.odds import happens

_ADULT, _OLD = 20, 88
_BONE_LOSS_STARTS = 45
_BONE_LOSS_A_YEAR = 0.007
_WOMEN_SMALLER = 0.92
_SLOTS = 64  # independent random numbers a bone may use for its shape


@dataclass(frozen=True, eq=False)
class Body:
    """One patient.

    Attributes:
        scale: Size of the skeleton; 1 is the mean man.
        mineral: Bone density; 1 is a healthy young adult.
        flesh: Thickness of soft tissue; 1 is the mean.
        cartilage: Width of joint spaces; 1 is the mean.
        shape_seed: Where the shapes of this patient's bones come from.
    """

    laterality: str
    sex: str
    age: int
    scale: float
    mineral: float
    flesh: float
    cartilage: float
    shape_seed: int

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Standard normal numbers that belong to one named bone of this patient, the same in every view."""
        return _numbers(self.shape_seed, name)

    def varied(self, name: str, rows: Sequence[Sequence[float]], *, long_as: str = "") -> list[list[float]]:
        """Profile rows of a reference bone, scaled to this patient and individually shaped.

        A bone that runs beside another is `long_as` that one. Rows are (along, x low, x high, z low, z high, shell,
        density), in mm.
        """
        noise = self.numbers(name)
        length = self.scale * (1.0 + 0.03 * (self.numbers(long_as)[0] if long_as else noise[0]))
        width = self.scale * (1.0 + 0.04 * noise[1])
        shell = self.scale * self.mineral**0.7 * (1.0 + 0.08 * noise[2])
        wobble = 1.0 + 0.018 * noise[8 : 8 + 4 * 12].reshape(12, 4)
        result = []
        for number, (along, x_low, x_high, z_low, z_high, compact, density) in enumerate(rows):
            local = wobble[number % 12]
            edges = np.array([x_low, x_high, z_low, z_high]) * local * width
            result.append([along * length, *edges, compact * shell, density * self.mineral])
        return result


@lru_cache(maxsize=256)  # every view of a study asks for the same bones
def _numbers(seed: int, name: str) -> NDArray[np.float64]:
    key = int.from_bytes(name.encode(), "little")
    return np.random.default_rng([seed, key]).standard_normal(_SLOTS)


def draw_body(rng: np.random.Generator) -> Body:
    """A random adult."""
    sex = "F" if happens(rng, 0.5) else "M"
    age = int(rng.integers(_ADULT, _OLD))
    loss = max(age - _BONE_LOSS_STARTS, 0) * _BONE_LOSS_A_YEAR * (1.2 if sex == "F" else 0.8)
    return Body(
        laterality="L" if happens(rng, 0.5) else "R",
        sex=sex,
        age=age,
        scale=float((_WOMEN_SMALLER if sex == "F" else 1.0) * np.clip(rng.normal(1.0, 0.05), 0.87, 1.14)),
        mineral=float(np.clip(rng.normal(1.0, 0.1) - loss, 0.5, 1.25)),
        flesh=float(np.clip(rng.lognormal(0.0, 0.13), 0.75, 1.5)),
        cartilage=float(np.clip(rng.normal(1.0, 0.1) - 0.002 * max(age - 50, 0), 0.75, 1.25)),
        shape_seed=int(rng.integers(2**31)),
    )
