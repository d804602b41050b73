"""What an evaluation says besides its figures: by image, right and wrong calls, reliability, misses, each study."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.learning.metrics import ECE_BINS, StudyScore, blocks
from triage_agent.learning.misses import worst_misses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.learning.mura import LabeledImage

# What MURA calls its folders. A folder of another name might be a person's: it is not shown.
_PSEUDONYM = re.compile(r"(\d+-[^/]+/)?[^/]+/[^/]+/(?P<shown>patient\d+/study\d+_(positive|negative))")


def by_image(
    images: Sequence[LabeledImage],
    probabilities: Sequence[float],
    threshold: float,
    *,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """The figures of images where each counts for itself, overall and by region; patients are resampled as ever."""
    scores = [
        StudyScore(
            study=f"{image.study}/{image.path.name}",
            patient=image.patient,
            anatomy=image.anatomy,
            label=image.label,
            probability=probability,
        )
        for image, probability in zip(images, probabilities, strict=True)
    ]

    overall, anatomies = blocks(scores, threshold, resamples=resamples, seed=seed)
    return {
        "overall": overall.to_json(),
        "anatomies": {name: figures.to_json() for name, figures in anatomies.items()},
    }


def described_studies(scores: Sequence[StudyScore], threshold: float) -> dict[str, Any]:
    """`calls`, `reliability`, `misses` and `studies`, in the public form."""
    names = names_of(scores)
    return {
        "calls": calls(scores, threshold),
        "reliability": reliability(scores),
        "misses": {
            kind: [_study(score, names) for score in missed] for kind, missed in worst_misses(scores, threshold).items()
        },
        "studies": [_study(score, names) for score in scores],
    }


def calls(scores: Sequence[StudyScore], threshold: float) -> dict[str, int]:
    """How many studies were called rightly and wrongly at the bundle's threshold (the confusion matrix)."""
    labels = np.array([score.label for score in scores])
    called = np.array([score.probability >= threshold for score in scores])
    return {
        "true_positive": int(((labels == 1) & called).sum()),
        "false_negative": int(((labels == 1) & ~called).sum()),
        "false_positive": int(((labels == 0) & called).sum()),
        "true_negative": int(((labels == 0) & ~called).sum()),
    }


def reliability(scores: Sequence[StudyScore]) -> list[dict[str, Any]]:
    """Ten equal bins of probability: how many studies, what was said of them, and how many were abnormal."""
    labels = np.array([score.label for score in scores], dtype=np.float64)
    probabilities = np.array([score.probability for score in scores])
    bins = np.minimum((probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    found = []
    for index in range(ECE_BINS):
        inside = bins == index
        found.append(
            {
                "low": index / ECE_BINS,
                "high": (index + 1) / ECE_BINS,
                "n": int(inside.sum()),
                "said": float(probabilities[inside].mean()) if inside.any() else None,
                "abnormal": float(labels[inside].mean()) if inside.any() else None,
            }
        )
    return found


def names_of(studies: Sequence[StudyScore]) -> dict[str, str]:
    """What each study is called in public: its folders where they are MURA's pseudonyms, else its place in the list."""
    names = {}
    for number, score in enumerate(studies, start=1):
        match = _PSEUDONYM.fullmatch(score.study)
        names[score.study] = match["shown"] if match else f"study {number} of the list"
    return names


def _study(score: StudyScore, names: dict[str, str]) -> dict[str, Any]:
    return {
        "study": names[score.study],
        "anatomy": score.anatomy,
        "label": score.label,
        "probability": score.probability,
    }
