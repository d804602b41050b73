"""Evidence: where in an image its score comes from. Shown only where a site turns it on (promise 6)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

EVIDENCE_NOTICE = "evidence map, not a lesion outline; preliminary; machine-made"
"""What every picture and annotation of evidence says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvidenceMap:
    """One image's map.

    Attributes:
        sop_instance_uid: the image.
        frame: which of its frames was looked at, from 1; None of an image that has only one.
        heat: float32 [H, W] in [0, 1], the largest value 1 or all 0; it covers the whole stored image, whose pixels may
            be of another shape (see `imaging.display`, which makes them square and neither cuts nor turns).
        picture: uint8 [H, W, 3], the image with the map over it.
        method: how the map was made, in a word.
    """

    sop_instance_uid: str
    frame: int | None
    heat: NDArray[np.float32]
    picture: NDArray[np.uint8]
    method: str


class ImageExplainer(Protocol):
    """Tells where in an image its score comes from."""

    @property
    def digest(self) -> str:
        """Of the bundle whose scores it explains."""

    @property
    def method(self) -> str:
        """How, in a word."""

    def explain(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map over an image: float32 [H, W] in [0, 1] of float32 [H, W] in [0, 1], bone bright.

        Raises:
            TriageError: there is none.
        """
