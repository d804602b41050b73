"""The studies that a bundle was most sure of and wrong about, and small pictures of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from triage_agent.learning.mura import read_display

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.learning.metrics import StudyScore
    from triage_agent.learning.mura import LabeledImage

MISSES = 6  # of each kind
SIDE = 160  # pixels of a thumbnail
_QUALITY = 80


def worst_misses(scores: Sequence[StudyScore], threshold: float) -> dict[str, list[StudyScore]]:
    """The studies that were called wrongly with the most confidence, at most six of each kind, the worst first."""
    missed = [score for score in scores if score.label == 1 and score.probability < threshold]
    raised = [score for score in scores if score.label == 0 and score.probability >= threshold]
    return {
        "false_negatives": sorted(missed, key=lambda score: (score.probability, score.study))[:MISSES],
        "false_positives": sorted(raised, key=lambda score: (-score.probability, score.study))[:MISSES],
    }


def worst_pictures(
    images: Sequence[LabeledImage], probabilities: Sequence[float], scores: Sequence[StudyScore], threshold: float
) -> list[bytes]:
    """A small JPEG of each of `worst_misses`, in their order: of the study's image that was furthest off.

    Raises:
        DataError: an image cannot be read any more.
    """
    misses = worst_misses(scores, threshold)
    return [
        _thumbnail(_furthest(images, probabilities, score.study, highest=kind == "false_positives"))
        for kind, missed in misses.items()
        for score in missed
    ]


def _furthest(
    images: Sequence[LabeledImage], probabilities: Sequence[float], study: str, *, highest: bool
) -> LabeledImage:
    own = [(probability, place) for place, probability in enumerate(probabilities) if images[place].study == study]
    return images[(max(own) if highest else min(own))[1]]


def _thumbnail(image: LabeledImage) -> bytes:
    """Grey pixels alone: nothing of the file's own header is copied."""
    picture = Image.fromarray(np.round(read_display(image.path) * 255).astype(np.uint8))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=_QUALITY)
    return buffer.getvalue()
