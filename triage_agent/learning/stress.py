"""Robustness and shortcut probes of one bundle on a sample of the studies, in one pass over the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triage_agent.learning.probes import Probes
from triage_agent.learning.robustness import corruption_variants, robustness
from triage_agent.learning.variants import Measured, sample_studies, score_variants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.variants import Display


@dataclass(frozen=True)
class Stress:
    """What is going to be scored.

    Attributes:
        images: the sample.
        seed: of the sample, of what corruptions draw, and of the bootstrap.
        corrupted: whether robustness is measured.
        probes: the shortcut probes, if they are made.
    """

    images: Sequence[LabeledImage]
    seed: int
    corrupted: bool
    probes: Probes | None

    @classmethod
    def planned(
        cls, images: Sequence[LabeledImage], studies: int, seed: int, *, corrupted: bool, probed: bool
    ) -> Stress:
        """A sample of at most so many studies.

        Raises:
            DataError: the studies are of one class only.
        """
        return cls(sample_studies(images, studies, seed), seed, corrupted, Probes() if probed else None)

    @property
    def passes(self) -> int:
        """How many images will be scored."""
        return len(self.images) * (1 + len(self._variants()))

    def report(
        self, scorer: ImageScorer, threshold: float, resamples: int, advance: Callable[[int], None]
    ) -> dict[str, Any]:
        """`sample`, and `robustness` and `probes` as far as they are asked for, in the public form."""
        scores = score_variants(scorer, self.images, self._variants(), advance)
        measured = Measured(self.images, scores, self.seed, resamples)
        labels = {image.study: image.label for image in self.images}
        sample = {
            "studies": len(labels),
            "abnormal": sum(labels.values()),
            "images": len(self.images),
            "seed": self.seed,
        }
        found: dict[str, Any] = {"sample": sample}
        if self.corrupted:
            found["robustness"] = robustness(measured, threshold)
        if self.probes is not None:
            found["probes"] = self.probes.report(measured)
        return found

    def _variants(self) -> dict[str, Callable[[LabeledImage, Display], Display]]:
        corruptions = corruption_variants(self.seed) if self.corrupted else {}
        return corruptions | (self.probes.variants() if self.probes is not None else {})
