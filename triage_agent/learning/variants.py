"""Scoring images as they are, or changed in several ways, with only a window of them in memory at a time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triage_agent.learning.metrics import Estimate, StudyScore, estimate, patient_weights, study_scores, weighted_auroc
from triage_agent.learning.mura import DataError, LabeledImage
from triage_agent.learning.pixels import read_window, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.domain.study import ImageScore

Display: TypeAlias = NDArray[np.float32]

CLEAN = "clean"
LONGEST = 512  # pixels, MURA's size: what is changed is brought down to it first, so that a severity means the same


def scores_of(scorer: ImageScorer, images: Sequence[LabeledImage], displays: list[Display]) -> list[ImageScore]:
    """What the bundle says of each image, its region known: the one place where an evaluation asks it."""
    return list(scorer.score(displays, [image.anatomy for image in images]))


def score_images(
    scorer: ImageScorer, images: Sequence[LabeledImage], advance: Callable[[int], None]
) -> list[ImageScore]:
    """What the bundle says of each image as it is; `advance` is told how many more are done."""
    found: list[ImageScore] = []
    for _, window in windows(images):
        found.extend(scores_of(scorer, window, read_window(window, lambda display: display)))
        advance(len(window))
    return found


def score_variants(
    scorer: ImageScorer,
    images: Sequence[LabeledImage],
    variants: Mapping[str, Callable[[LabeledImage, Display], Display]],
    advance: Callable[[int], None],
) -> dict[str, list[float]]:
    """The probability of each image under each change, and unchanged (`CLEAN`), all at `LONGEST` pixels at most."""
    found: dict[str, list[float]] = {CLEAN: [], **{name: [] for name in variants}}
    for _, window in windows(images):
        displays = read_window(window, shrunk)
        found[CLEAN].extend(_probabilities(scorer, window, displays))
        advance(len(window))
        for name, change in variants.items():
            changed = [change(image, display) for image, display in zip(window, displays, strict=True)]
            found[name].extend(_probabilities(scorer, window, changed))
            advance(len(window))
    return found


def _probabilities(scorer: ImageScorer, images: Sequence[LabeledImage], displays: list[Display]) -> list[float]:
    return [score.probability for score in scores_of(scorer, images, displays)]


def shrunk(display: Display) -> Display:
    """The image with its longer side at most `LONGEST` pixels."""
    scale = LONGEST / max(display.shape)
    if scale >= 1:
        return display
    height, width = (max(1, round(side * scale)) for side in display.shape)
    smaller = Image.fromarray(display).resize((width, height), Image.Resampling.BOX)
    return np.clip(np.asarray(smaller, dtype=np.float32), 0, 1)


def drawn_for(image: LabeledImage, *what: int) -> np.random.Generator:
    """Random numbers that depend on the image's name and on `what` alone, not on the order of scoring."""
    return np.random.default_rng([zlib.crc32(f"{image.study}/{image.path.name}".encode()), *what])


def sample_studies(images: Sequence[LabeledImage], studies: int, seed: int) -> list[LabeledImage]:
    """The images of at most so many studies, half of them abnormal as far as there are any, in the order given.

    Raises:
        DataError: there is one class only.
    """
    labels = {image.study: image.label for image in images}
    normal, abnormal = (sorted(study for study, label in labels.items() if label == which) for which in (0, 1))
    if not normal or not abnormal:
        raise DataError("the split has studies of one class only", remedy="give both normal and abnormal studies")
    share = min(len(abnormal), max(studies // 2, studies - len(normal)))
    generator = np.random.default_rng(seed)
    drawn = {*generator.permutation(abnormal)[:share], *generator.permutation(normal)[: studies - share]}
    return [image for image in images if image.study in drawn]


@dataclass(frozen=True)
class Measured:
    """AUROC of studies under several changes, on the same bootstrap resamples of patients.

    Attributes:
        images: what was scored.
        probabilities: one an image, by the name of the change.
        seed, resamples: of the bootstrap.
    """

    images: Sequence[LabeledImage]
    probabilities: Mapping[str, Sequence[float]]
    seed: int
    resamples: int

    def studies(self, name: str) -> list[StudyScore]:
        """The studies under one change."""
        rows = ((image.study, image.patient, image.anatomy, image.label) for image in self.images)
        return study_scores(rows, self.probabilities[name])

    def areas(self, name: str) -> tuple[float, NDArray[np.float64]]:
        """The AUROC under one change, and in each resample."""
        probabilities = np.array([score.probability for score in self.studies(name)])
        once = np.ones((1, len(probabilities)))
        value = float(weighted_auroc(self._labels, probabilities, once)[0])
        return value, weighted_auroc(self._labels, probabilities, self._weights)

    def area(self, name: str) -> Estimate:
        """The AUROC under one change, with its interval."""
        return estimate(*self.areas(name))

    @cached_property
    def _labels(self) -> NDArray[np.float64]:
        return np.array([score.label for score in self.studies(CLEAN)], dtype=np.float64)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        patients = np.unique([score.patient for score in self.studies(CLEAN)], return_inverse=True)[1]
        return patient_weights(patients, self.resamples, self.seed)
