"""Zero-shot bundles at work: MedSigLIP's text prompts, or a question to MedGemma. Nothing of them was trained here.

Both score an image by what the bundle says of its stated region: other sentences, another question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from triage_agent.domain.errors import BundleError
from triage_agent.domain.study import ImageScore
from triage_agent.models.calibration import apply_platt
from triage_agent.models.checkpoint import read_file
from triage_agent.models.registry import build_encoder
from triage_agent.models.scorer import BundleScorer, checked_image, embedding_on, finite
from triage_agent.models.spec import Question, TextPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.models.bundle import Bundle

PROMPTS = "prompts"  # the tensor in head.safetensors: [1 + regions, 2, D], abnormal and normal, the default first


class ZeroShotScorer(BundleScorer, ABC):
    """Scores display images with a zero-shot bundle; implements `domain.ports.ImageScorer`.

    A batch is of one region, since the bundle says something else of each.
    """

    def __init__(
        self,
        bundle: Bundle,
        regions: Sequence[str],
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        error_rate: float | None = None,
    ) -> None:
        """Choose the device; `regions` are those of which the bundle says something of their own.

        The other arguments and errors as `Scorer`.
        """
        super().__init__(bundle, device, threads, batch, error_rate)
        self._regions = frozenset(regions)

    def score(self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()) -> list[ImageScore]:
        """What the bundle says of each image; arguments and errors as `Scorer.score`."""
        stated = list(anatomies) or [None] * len(images)
        logits = self.logits(images, stated)
        if not len(logits):
            return []
        return [ImageScore(probability=float(p)) for p in apply_platt(logits, self._bundle.spec.calibration, stated)]

    def logits(
        self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()
    ) -> NDArray[np.float64]:
        """Uncalibrated logits [N]; arguments and errors as `score`."""
        stated = list(anatomies) or [None] * len(images)
        checked = [checked_image(image, position) for position, image in enumerate(images)]
        groups: dict[str | None, list[int]] = {}
        for position, (_, anatomy) in enumerate(zip(checked, stated, strict=True)):
            groups.setdefault(anatomy if anatomy in self._regions else None, []).append(position)
        logits = np.zeros(len(checked))
        with self._lock, torch.inference_mode():
            for region, positions in groups.items():
                for start in range(0, len(positions), self._batch):
                    part = positions[start : start + self._batch]
                    filled = self._filled([self._preprocess(checked[position]) for position in part])
                    logits[part] = self._forward(filled, region)[: len(part)].to("cpu", torch.float64).numpy()
        return finite(logits)

    @abstractmethod
    def _preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """A display image as the model takes it, float32 [C, S, S]."""

    @abstractmethod
    def _forward(self, batch: Tensor, region: str | None) -> Tensor:
        """Logits [B] of images of one region; None is every region that the bundle says nothing of."""


class PromptScorer(ZeroShotScorer):
    """Compares an image's embedding with those of sentences: logit = scale * (cos to abnormal - cos to normal).

    That is the log-odds of a softmax over the two cosines with temperature 1 / scale (CLIP, Radford et al. 2021). The
    sentences were embedded when the bundle was made; no text tower is read here.
    """

    def __init__(
        self,
        bundle: Bundle,
        prompts: TextPrompts,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        encoder_source: str | None = None,
        error_rate: float | None = None,
    ) -> None:
        """Build the vision tower and move it to its device; arguments and errors as `Scorer`."""
        super().__init__(bundle, tuple(prompts.regions), device, threads, batch, error_rate)
        encoder = build_encoder(bundle.spec.encoder, bundle.folder, encoder_source)
        rows = read_file(bundle.head_path).get(PROMPTS)
        expected = (1 + len(prompts.regions), 2, encoder.embedding_dim)
        if rows is None or rows.shape != expected:
            raise BundleError(
                f"the embedded prompts of {bundle.folder} are not {' x '.join(map(str, expected))} numbers",
                remedy="make the bundle again",
            )
        self._encoder = encoder.for_inference(self._device)
        self._embed = embedding_on(self._encoder, self._device)
        self.sampled_side = encoder.sampled_side
        lines = functional.normalize(rows.float(), dim=-1)
        directions = prompts.scale * (lines[:, 0] - lines[:, 1]).to(self._device)
        self._directions = dict(zip((None, *sorted(prompts.regions)), directions, strict=True))

    def _preprocess(self, display: NDArray[np.float32]) -> Tensor:
        return self._encoder.preprocess(display)

    def _forward(self, batch: Tensor, region: str | None) -> Tensor:
        embedding: Tensor = functional.normalize(self._embed(batch), dim=-1)
        logits: Tensor = embedding @ self._directions[region]
        return logits


def zero_shot_scorer(
    bundle: Bundle,
    device: str = "auto",
    threads: int | None = None,
    batch: int = 8,
    encoder_source: str | None = None,
    error_rate: float | None = None,
) -> ZeroShotScorer:
    """The scorer for a zero-shot bundle; arguments and errors as `Scorer`."""
    zero_shot = bundle.spec.zero_shot
    if isinstance(zero_shot, TextPrompts):
        return PromptScorer(bundle, zero_shot, device, threads, batch, encoder_source, error_rate)
    if isinstance(zero_shot, Question):
        from triage_agent.models.question import QuestionScorer  # noqa: PLC0415 - it is one of these scorers

        return QuestionScorer(bundle, zero_shot, device, threads, batch, encoder_source, error_rate)
    raise BundleError(f"{bundle.folder} is no zero-shot bundle", remedy="load it with load_scorer")
