"""A radiograph's display values, looked up where somebody looks: most of them nobody ever does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 16  # pixels looked up at once: numpy makes 64-bit copies of the indices, which then stay in the cache


@dataclass(frozen=True, slots=True)
class Shown:
    """An image whose display values are a function of its stored values alone.

    Attributes:
        stored: [H, W], unsigned integers that index `shades`; or the display values themselves, float32.
        shades: the display value, float32 in [0, 1], of each; None where `stored` has them.
    """

    stored: NDArray[Any]
    shades: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.stored.shape
        return height, width

    def part(self, where: Any) -> NDArray[np.float32]:
        """The display values of what numpy selects by `where`."""
        chosen: NDArray[Any] = self.stored[where]
        return chosen if self.shades is None else np.take(self.shades, chosen)

    def whole(self) -> NDArray[np.float32]:
        """All of them, float32 [H, W]."""
        if self.shades is None:
            return np.ascontiguousarray(self.stored)
        flat = np.ascontiguousarray(self.stored).reshape(-1)
        values = np.empty(len(flat), np.float32)
        for start in range(0, len(flat), _BLOCK):
            values[start : start + _BLOCK] = np.take(self.shades, flat[start : start + _BLOCK])
        return values.reshape(self.shape)
