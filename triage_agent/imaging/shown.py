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
        return self._looked_up(self.stored[where])

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
        """Those of each of some rows with each of some columns, [rows, columns]."""
        places = rows[:, None] * self.shape[1] + columns
        return self._looked_up(self.stored.take(places))

    def whole(self) -> NDArray[np.float32]:
        """All of them, float32 [H, W] in one piece."""
        return self._looked_up(np.ascontiguousarray(self.stored))

    def _looked_up(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        if self.shades is None:
            return stored
        flat, values = stored.reshape(-1), np.empty(stored.shape, np.float32)
        found = values.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            np.take(self.shades, flat[block], out=found[block], mode="clip")  # every one is there: none is clipped
        return values
