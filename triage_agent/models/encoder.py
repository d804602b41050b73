"""The encoder contract: a display image in, an embedding out: one vector, or a grid of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

GRID = "grid"  # the pooling that gives tokens, and the key of how many a side
DEFAULT_GRID = 8
TOKENS_NDIM = 3

Precision = Literal["auto", "float32"]


class Encoder(nn.Module, ABC):
    """Turns radiographs into embeddings; built from `config` alone, so that a bundle can rebuild it.

    A subclass is constructed as `Subclass(config)` and has a row in `registry.REGISTRY`.

    Attributes:
        kind: its key in `registry.REGISTRY`.
        resizable: whether `forward` also takes squares of other sizes, and gives embeddings of the same length.
        sampled_side: side of the square that `preprocess` only samples: zero-padded, bilinear, without anti-aliasing.
            Who decodes may do that and hand over `imaging.sample`'s square; None where every pixel is looked at.
        config: JSON values that rebuild the architecture; "pooling" among them where there is a choice.
        image_size: side of the square input in pixels.
        embedding_dim: length of the embedding, and of each token of a grid.
    """

    kind: ClassVar[str]
    resizable: ClassVar[bool] = False
    sampled_side: int | None = None
    config: dict[str, Any]
    image_size: int
    embedding_dim: int

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - what subclasses take
        super().__init__()

    @abstractmethod
    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1] with bone bright, to a float32 [C, image_size, image_size] tensor."""

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, C, image_size, image_size] to float32 [B, embedding_dim], or [B, tokens, embedding_dim].

        Tokens are given where `config["pooling"]` is "grid". `pooled` makes one vector of either.
        """

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The stages from first to last, of every tower where there are several."""

    def levels(self) -> list[list[nn.Module]]:
        """The blocks from first to last, those of the same place in their towers together.

        What `train --unfreeze K` counts from the end: of several towers, the last K blocks of each.
        """
        return [[block] for block in self.blocks()]

    def digest(self) -> str:
        """SHA-256 of the weights in use, hex; see `weights_digest`."""
        return weights_digest(self)

    @classmethod
    def restore(cls, config: Mapping[str, Any], state: Mapping[str, Tensor], where: object = "the bundle") -> Self:
        """An encoder with the weights of `state` (any float type; kept as float32).

        Raises:
            BundleError: `state` does not fill the architecture exactly; `where` it came from is named.
        """
        encoder = cls(config)
        expected = encoder.state_dict()
        check_names(where, state, expected)
        encoder.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
        return encoder

    @classmethod
    def from_checkpoint(cls, folder: Path, pooling: str | None = None, grid: int | None = None) -> Self:
        """An encoder from somebody else's checkpoint; kinds that are only ever ours have none.

        Args:
            folder: the checkpoint's.
            pooling: as in `config`; what suits the kind if None.
            grid: tokens a side where the pooling is "grid".

        Raises:
            BundleError: this kind has no checkpoints, or this is not one.
        """
        asked = f" ({pooling}{f' of {grid}' if grid else ''})" if pooling else ""
        raise BundleError(
            f"a {cls.kind} encoder lives in a bundle, not in {folder}{asked}",
            remedy="use the source 'bundle'",
        )

    def for_inference(self, device: torch.device, precision: Precision = "auto") -> Self:  # noqa: ARG002 - only some have several
        """Move to `device` in the precision it scores with there, gradients and training behaviour off.

        `precision`: "auto" for the one that suits kind and device, or "float32".
        """
        return self.to(device).eval().requires_grad_(requires_grad=False)

    def accelerated(self, *, compiled: bool = False) -> Callable[[Tensor], Tensor]:
        """What `forward` does, for inference on a GPU where the encoder is already; `compiled` takes minutes longer."""
        return torch.compile(self) if compiled else self


def pooled(embedding: Tensor) -> Tensor:
    """One vector an image: [B, D] as it is, the mean of the tokens of [B, T, D]."""
    return embedding.mean(dim=1) if embedding.ndim == TOKENS_NDIM else embedding


def grid_tokens(features: Tensor, grid: int) -> Tensor:
    """A feature map [B, D, H, W] averaged to grid x grid cells: [B, grid * grid, D], row by row from the top left."""
    return functional.adaptive_avg_pool2d(features, grid).flatten(2).transpose(1, 2)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes and values of a module's state, hex.

    Values are taken as float32, so that a checkpoint stored as bfloat16 or float16 has the same digest as the same
    numbers stored as float32, and the digest does not depend on the device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().to("cpu")
        values = values.to(torch.float32) if values.is_floating_point() else values
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}\n".encode())
        digest.update(values.contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()
