"""A bundle at work: display images in, calibrated probabilities out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch

from triage_agent.domain.errors import BundleError, TriageError, UnreadableImageError
from triage_agent.domain.study import ImageScore
from triage_agent.domain.urgency import urgency
from triage_agent.models.batching import Batcher
from triage_agent.models.bundle import Bundle, load_bundle
from triage_agent.models.calibration import apply_platt
from triage_agent.models.checkpoint import read_file
from triage_agent.models.encoder import Precision, pooled
from triage_agent.models.engine import CudaDevice, Found, one_by_one
from triage_agent.models.head import build_head
from triage_agent.models.reference import Reference
from triage_agent.models.registry import build_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.models.encoder import Encoder
    from triage_agent.models.zero_shot import ZeroShotScorer

LATENCY = 0.02  # seconds
_RANGE_SLACK = 1e-4
_IMAGE_DIMENSIONS = 2


class ScoringError(TriageError):
    """The model ran and gave no usable number."""


class BundleScorer:
    """A bundle on its device: what scorers of trained and of zero-shot bundles share.

    The same image always gets the same probability on the same machine, whatever else is scored with it. Matrix
    kernels are chosen by shape and round differently, so that shape is held fixed: on the CPU images go through the
    model one at a time, on a GPU in batches that always have the shape of `batch`. May be called from several threads.

    Attributes:
        sampled_side: as `Encoder.sampled_side`.
    """

    sampled_side: int | None = None

    def __init__(self, bundle: Bundle, device: str, threads: int | None, batch: int, error_rate: float | None) -> None:
        """Choose the device; a subclass then puts its model there. Arguments and errors as `Scorer`."""
        self._bundle = bundle
        self._device = choose_device(device)
        if threads is None and self._device.type == "cuda":
            threads = 1  # small things are left to the CPU, whose cores belong to the decoders
        if threads is not None:
            torch.set_num_threads(threads)
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

    def _filled(self, tensors: list[Tensor]) -> Tensor:
        """A batch on the device, [batch, C, S, S]: the last of [C, S, S] each is repeated until it is full."""
        return torch.stack(tensors + tensors[-1:] * (self._batch - len(tensors))).to(self._device)


class Scorer(BundleScorer):
    """Scores display images with a trained bundle; implements `domain.ports.ImageScorer`."""

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        encoder_source: str | None = None,
        error_rate: float | None = None,
        *,
        outlier_limit: float = 1.0,
        compiled: bool = False,
        latency: float = LATENCY,
        precision: Precision = "auto",
    ) -> None:
        """Build the model and move it to its device.

        Args:
            bundle: the model, its files checked.
            device: "auto" (CUDA where there is one), "cuda", "cuda:1" or "cpu".
            threads: for the CPU's arithmetic, in the whole process; None leaves them as they are, or is 1 beside a GPU.
            batch: images that go through a GPU together.
            encoder_source: where this site keeps the encoder's base weights, instead of where training found them.
            error_rate: the share of wrong findings that the site allows; see `Bundle.identity_at`.
            outlier_limit: how far from the training images an image may be, as a multiple of the bundle's own limit; 0
                for as far as it likes.
            compiled: compile the encoder for the device (`torch.compile`) with the first image, which takes minutes; a
                SigLIP tower on a GPU is as fast without (`models.fused`), and is left as it is.
            latency: seconds that an image may wait on an idle GPU for others of its batch, whoever asks for them.
            precision: as in `Encoder.for_inference`.

        Raises:
            ConfigurationError: the bundle has no such error rate.
            BundleError: the weights are not there, do not fit, or the device is not there.
        """
        super().__init__(bundle, device, threads, batch, error_rate)
        encoder = build_encoder(bundle.spec.encoder, bundle.folder, encoder_source)
        if encoder.embedding_dim != bundle.spec.head.input_dim:
            raise BundleError(
                f"the head takes {bundle.spec.head.input_dim} numbers, the encoder gives {encoder.embedding_dim}",
                remedy="train the bundle again",
            )
        self._encoder = encoder.for_inference(self._device, precision)
        self._embed = embedding_on(self._encoder, self._device, compiled=compiled)
        self.sampled_side = encoder.sampled_side
        self._latency = latency
        self._batcher: Batcher | None = None
        head = build_head(bundle.spec.head, read_file(bundle.head_path))
        self._head = head.to(self._device).eval().requires_grad_(requires_grad=False)
        self._reference = reference_of(bundle)
        self._outlier_limit = outlier_limit

    @property
    def encoder_kind(self) -> str:
        """A key of `registry.REGISTRY`."""
        return self._bundle.spec.encoder.kind

    def score(self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()) -> list[ImageScore]:
        """What the bundle says of each image.

        Args:
            images: float32 [H, W] each, values in [0, 1], bone bright; sizes may differ.
            anatomies: the region that each image's header states, None where it states none; empty where nobody knows.

        Raises:
            UnreadableImageError: an image is empty, not two-dimensional, or has values that are not finite in [0, 1].
            ScoringError: the model gave a number that is not finite.
        """
        logits, embeddings = self.examine(images)
        seen: list[str | None] = [None] * len(logits)
        strange = [0.0] * len(logits)
        if self._reference is not None:
            seen = self._reference.regions(embeddings)
            if self._outlier_limit:
                strange = (self._reference.strangeness(embeddings) / self._outlier_limit).tolist()
        stated = list(anatomies) or [None] * len(logits)
        regions = [said or shown for said, shown in zip(stated, seen, strict=True)]
        found = apply_platt(logits, self._bundle.spec.calibration, regions)
        return [
            ImageScore(probability=float(probability), seen_anatomy=region, strangeness=distance)
            for probability, region, distance in zip(found, seen, strange, strict=True)
        ]

    def logits(
        self,
        images: Sequence[NDArray[np.float32]],
        anatomies: Sequence[str | None] = (),  # noqa: ARG002 - a trained head is one for all regions
    ) -> NDArray[np.float64]:
        """Uncalibrated logits [N]; arguments and errors as `score`."""
        return self.examine(images)[0]

    def examine(self, images: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], Tensor]:
        """Uncalibrated logits [N] and embeddings [N, D], float64 on the CPU; arguments and errors as `score`."""
        checked = [checked_image(image, position) for position, image in enumerate(images)]
        if not checked:
            return np.zeros(0), torch.zeros(0, self._bundle.spec.head.input_dim)
        logits, embeddings = self._ask([self._encoder.preprocess(image) for image in checked])
        return finite(logits.numpy()), embeddings

    def _ask(self, images: list[Tensor]) -> Found:
        if self._device.type == "cuda":
            return self._gathered(images[0]).ask(images, urgency())
        with self._lock:
            return one_by_one(self._run, images)

    def _gathered(self, example: Tensor) -> Batcher:
        """What gathers batches for the GPU; made with the first image, since only then is its memory needed."""
        with self._lock:
            if self._batcher is None:
                device = CudaDevice(self._run, self._device, self._batch, example)
                self._batcher = Batcher(device, batch=self._batch, latency=self._latency)
            return self._batcher

    def _run(self, batch: Tensor) -> Found:
        embedding = self._embed(batch)
        logits: Tensor = self._head(embedding)
        return logits, pooled(embedding)


def reference_of(bundle: Bundle) -> Reference | None:
    """The bundle's region head and outlier score; None for one that has neither.

    Raises:
        BundleError: they do not fit.
    """
    spec = bundle.spec
    if spec.outlier is None and spec.region is None:
        return None
    state = read_file(bundle.reference_path)
    return Reference(state, input_dim=spec.head.input_dim, outlier=spec.outlier, region=spec.region)


def load_scorer(
    ref: str | Path | Bundle,
    device: str = "auto",
    threads: int | None = None,
    batch: int = 8,
    encoder_source: str | None = None,
    error_rate: float | None = None,
    *,
    outlier_limit: float = 1.0,
    compiled: bool = False,
    latency: float = LATENCY,
    precision: Precision = "auto",
) -> Scorer | ZeroShotScorer:
    """The scorer that a bundle needs, trained or zero-shot: the one place that chooses.

    Arguments and errors as `load_bundle` (a bundle's folder or "embedded"; or a bundle that is loaded) and `Scorer`;
    the last four are for trained bundles.
    """
    bundle = ref if isinstance(ref, Bundle) else load_bundle(ref)
    if bundle.spec.zero_shot is None:
        return Scorer(
            bundle,
            device,
            threads,
            batch,
            encoder_source,
            error_rate,
            outlier_limit=outlier_limit,
            compiled=compiled,
            latency=latency,
            precision=precision,
        )
    from triage_agent.models.zero_shot import zero_shot_scorer  # noqa: PLC0415 - it shares this module's checks

    return zero_shot_scorer(bundle, device, threads, batch, encoder_source, error_rate)


def embedding_on(encoder: Encoder, device: torch.device, *, compiled: bool = False) -> Callable[[Tensor], Tensor]:
    """What makes embeddings of batches on `device`, where `encoder` is already."""
    if device.type == "cuda":
        return encoder.accelerated(compiled=compiled)
    return torch.compile(encoder) if compiled else encoder


def choose_device(name: str) -> torch.device:
    """The device that a setting means: "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        BundleError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BundleError(f"there is no device {name!r}", remedy="set it to auto, cpu or cuda") from error
    if device.type != "cpu" and (device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count()):
        raise BundleError(f"device {name!r} is not available here", remedy="set it to auto, cpu or cuda")
    return device


def finite(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same logits.

    Raises:
        ScoringError: one of them is not finite.
    """
    if not np.isfinite(logits).all():
        raise ScoringError("the model's output is not a finite number", remedy="verify the bundle and its encoder")
    return logits


def checked_image(image: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    """A display image as float32 in one piece.

    Raises:
        UnreadableImageError: it is none; `position` says which of several.
    """
    if image.ndim != _IMAGE_DIMENSIONS or not image.size:
        raise UnreadableImageError(f"image {position} has shape {image.shape}, not height x width")
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -_RANGE_SLACK and highest <= 1 + _RANGE_SLACK):  # written so that NaN fails it
        raise UnreadableImageError(f"image {position} has values from {lowest} to {highest}, not within 0 and 1")
    return np.ascontiguousarray(image, dtype=np.float32)
