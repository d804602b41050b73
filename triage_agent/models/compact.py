"""The compact encoder: a small residual network with squeeze-and-excitation, trained from scratch.

It stands behind the same port as MedGemma's and SigLIP's vision towers, and is small enough to ship and to run on
a CPU. `triage-agent train --encoder compact` makes its weights.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.models.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

DEFAULTS: dict[str, Any] = {
    "image_size": 224,
    "stem": 16,
    "widths": [32, 64, 128, 256],
    "depths": [1, 2, 2, 1],
    "drop_path": 0.1,
    "pooling": "mean",
    "towers": 1,
    "mirror": True,
    "mean": 0.5,
    "std": 0.25,
}


def fit_square(display: NDArray[np.float32], size: int) -> Tensor:
    """Zero-pad a display image to a centred square and resize it, anti-aliased.

    Args:
        display: float32 [H, W] in [0, 1], bone bright.
        size: side of the result in pixels.

    Returns:
        float32 [1, size, size] in [0, 1].
    """
    image = torch.from_numpy(display).to(torch.float32)
    height, width = image.shape
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = functional.pad(image, (left, side - width - left, top, side - height - top))[None, None]
    if side != size:
        square = functional.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
    return square[0].clamp(0.0, 1.0)


class SqueezeExcite(nn.Module):
    """Channel gates from the global mean (Hu et al. 2018); [B, C, H, W] in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 4)
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Scale each channel by its gate in (0, 1)."""
        gate = functional.silu(self.reduce(features.mean((2, 3))))
        gated: Tensor = features * torch.sigmoid(self.expand(gate))[:, :, None, None]
        return gated


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a gate, a shortcut, and stochastic depth; halves the side where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.gate = SqueezeExcite(outputs)
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        change = functional.relu(self.norm1(self.conv1(features)))
        change = self.gate(self.norm2(self.conv2(change)))
        if self.training and self.drop_path > 0:
            keep = torch.rand(change.shape[0], 1, 1, 1, device=change.device) >= self.drop_path
            change = change * keep.to(change.dtype) / (1 - self.drop_path)
        return functional.relu(self.shortcut(features) + change)


class Tower(nn.Module):
    """One network: a stem that quarters the side, residual stages that halve it, and global pooling."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        stem, widths = int(config["stem"]), [int(width) for width in config["widths"]]
        self.max_pooled = config["pooling"] == "mean-max"
        self.embedding_dim = widths[-1] * (2 if self.max_pooled else 1)
        self.stem = nn.Sequential(*_stem_layer(1, stem), *_stem_layer(stem, widths[0]))
        self.stages = nn.ModuleList(_residual_blocks(widths, list(config["depths"]), float(config["drop_path"])))

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim]."""
        features = self.stem(batch)
        for block in self.stages:
            features = block(features)
        pooled: Tensor = features.mean((2, 3))
        if self.max_pooled:
            pooled = torch.cat([pooled, features.amax((2, 3))], dim=1)
        return pooled


class CompactEncoder(Encoder):
    """Radiograph to embedding, in 1 to 3 million parameters.

    Its configuration (`DEFAULTS` fills what is left out): `image_size`, `stem`, `widths` and `depths` a stage,
    `drop_path`, `pooling` ("mean", or "mean-max" for both side by side), `towers` (networks of the same shape side by
    side, each with its own weights), `mirror` (in evaluation the embedding is the mean of the image's and its mirror
    image's), `mean` and `std` of the input.
    """

    kind: ClassVar[str] = "compact"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **(config or {})}
        self.image_size = int(self.config["image_size"])
        self.towers = nn.ModuleList(Tower(self.config) for _ in range(int(self.config["towers"])))
        self.embedding_dim = sum(int(tower.embedding_dim) for tower in self._towers())

    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1], bone bright, to a normalised [1, size, size] tensor."""
        mean, std = float(self.config["mean"]), float(self.config["std"])
        return (fit_square(display, self.image_size) - mean) / std

    def blocks(self) -> list[nn.Module]:
        """The residual blocks, the last ones last: what `--unfreeze K` counts from the end."""
        return [block for level in zip(*(tower.stages for tower in self._towers()), strict=True) for block in level]

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim]."""
        images = batch.contiguous(memory_format=torch.channels_last)
        if self.training or not self.config["mirror"]:
            return self._embed(images)
        return (self._embed(images) + self._embed(images.flip(3))) / 2

    def _embed(self, images: Tensor) -> Tensor:
        return torch.cat([tower(images) for tower in self.towers], dim=1)

    def _towers(self) -> list[Tower]:
        return [tower for tower in self.towers if isinstance(tower, Tower)]


def joined(members: list[CompactEncoder]) -> CompactEncoder:
    """One encoder whose towers are those of the members, in order; their shapes must be the same.

    With a linear head whose weights are the members' side by side, each divided by their number, and whose bias is
    their mean, its logit is the mean of the members' logits.
    """
    whole = CompactEncoder({**members[0].config, "towers": sum(len(member.towers) for member in members)})
    whole.towers = nn.ModuleList(tower for member in members for tower in member.towers)
    return whole


def _stem_layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _residual_blocks(widths: list[int], depths: list[int], drop_path: float) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    total = sum(depths)
    for stage, (inputs, outputs) in enumerate(pairwise([widths[0], *widths])):
        for step in range(depths[stage]):
            first = step == 0
            blocks.append(
                ResidualBlock(
                    inputs if first else outputs,
                    outputs,
                    stride=2 if first and stage > 0 else 1,
                    drop_path=drop_path * len(blocks) / max(1, total - 1),
                )
            )
    return blocks
