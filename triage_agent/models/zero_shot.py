"""Zero-shot bundles at work: MedSigLIP's text prompts, or a question to MedGemma. Nothing of them was trained here.

Both score an image by what the bundle says of its stated region: other sentences, another question.
"""

from __future__ import annotations

import threading
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
from triage_agent.models.scorer import ScoringError, checked_image, choose_device
from triage_agent.models.spec import Question, TextPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.models.bundle import Bundle

PROMPTS = "prompts"  # the tensor in head.safetensors: [1 + regions, 2, D], abnormal and normal, the default first


class ZeroShotScorer(ABC):
    """Scores display images with a zero-shot bundle; implements `domain.ports.ImageScorer`.

    As with `Scorer`, an image gets the same probability whatever else is scored with it: on the CPU images go through
    the model one at a time, on a GPU in batches of one region that are always filled up to `batch`. May be called from
    several threads.
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
        """Choose the device; a subclass then puts its model there.

        Args:
            bundle: the model, its files checked.
            regions: those of which the bundle says something of their own.
            device: as in `Scorer`, like the next three.
            threads: for the CPU.
            batch: for a GPU.
            error_rate: of the findings.

        Raises:
            ConfigurationError: the bundle has no such error rate.
            BundleError: the device is not there.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._bundle = bundle
        self._device = choose_device(device)
        self._regions = frozenset(regions)
        self._identity = bundle.identity_at(error_rate)
        self._batch = batch if self._device.type == "cuda" else 1
        self._lock = threading.Lock()

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""
        return self._identity

    @property
    def device(self) -> str:
        """Where the model runs: "cpu", "cuda:0"."""
        return str(self._device)

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
                    logits[part] = self._filled([checked[position] for position in part], region)
        if not np.isfinite(logits).all():
            raise ScoringError("the model's output is not a finite number", remedy="verify the bundle and its encoder")
        return logits

    def _filled(self, images: Sequence[NDArray[np.float32]], region: str | None) -> NDArray[np.float64]:
        tensors = [self._preprocess(image) for image in images]
        filled = tensors + tensors[-1:] * (self._batch - len(tensors))
        logits = self._forward(torch.stack(filled).to(self._device), region)[: len(tensors)]
        values: NDArray[np.float64] = logits.to("cpu", torch.float64).numpy()
        return values

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
        lines = functional.normalize(rows.float(), dim=-1)
        directions = prompts.scale * (lines[:, 0] - lines[:, 1]).to(self._device)
        self._directions = dict(zip((None, *sorted(prompts.regions)), directions, strict=True))

    def _preprocess(self, display: NDArray[np.float32]) -> Tensor:
        return self._encoder.preprocess(display)

    def _forward(self, batch: Tensor, region: str | None) -> Tensor:
        embedding: Tensor = functional.normalize(self._encoder(batch), dim=-1)
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
