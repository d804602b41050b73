"""DenseNet: the convolutional network that MURA's authors and the paper compare with, trained from scratch.

Huang et al. 2017, "Densely Connected Convolutional Networks". The default is DenseNet-169. Radiographs are grey and the
weights start fresh, so the stem takes one channel: three copies of it would cost time and say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from triage_agent.domain.errors import BundleError
from triage_agent.models.compact import fit_square
from triage_agent.models.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

DEFAULTS: dict[str, Any] = {
    "image_size": 320,
    "layers": [6, 12, 32, 32],
    "growth": 32,
    "stem": 64,
    "bottleneck": 4,
    "compression": 0.5,
    "mean": 0.5,
    "std": 0.25,
}


class DenseLayer(nn.Module):
    """Normalise, squeeze by 1x1, convolve 3x3; the result joins what came in: [B, C, H, W] to [B, C + growth, H, W]."""

    def __init__(self, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        middle = bottleneck * growth
        self.new = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, growth, 3, padding=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Append what this layer finds."""
        return torch.cat([features, self.new(features)], dim=1)


class DenseNetEncoder(Encoder):
    """Radiograph to the mean of the last dense block's features.

    Its configuration (`DEFAULTS` fills what is left out): `image_size`, `layers` (how many in each dense block),
    `growth` (channels that a layer adds), `stem` (channels of the first convolution), `bottleneck` (a layer squeezes to
    so many times `growth`), `compression` (share of the channels that stay between two blocks), `mean` and `std` of the
    input.

    Raises:
        BundleError: there is no block, or a number is not positive.
    """

    kind: ClassVar[str] = "densenet"
    resizable: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **(config or {})}
        layers = [int(count) for count in self.config["layers"]]
        growth, width = int(self.config["growth"]), int(self.config["stem"])
        bottleneck, compression = int(self.config["bottleneck"]), float(self.config["compression"])
        if not layers or min([*layers, growth, width, bottleneck]) < 1 or not 0 < compression <= 1:
            raise BundleError(f"no DenseNet has the configuration {self.config}", remedy="see `models.densenet`")
        self.image_size = int(self.config["image_size"])
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages: list[nn.Module] = []
        for place, count in enumerate(layers):
            body = [DenseLayer(width + step * growth, growth, bottleneck) for step in range(count)]
            width += count * growth
            last = place == len(layers) - 1
            narrowed = width if last else max(1, int(width * compression))
            stages.append(nn.Sequential(*body, *(_finish(width) if last else _transition(width, narrowed))))
            width = narrowed
        self.stages = nn.ModuleList(stages)
        self.embedding_dim = width
        self._start()

    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1], bone bright, to a normalised [1, size, size] tensor."""
        mean, std = float(self.config["mean"]), float(self.config["std"])
        return (fit_square(display, self.image_size) - mean) / std

    def blocks(self) -> list[nn.Module]:
        """The dense blocks, each with the transition after it; the stem belongs to none."""
        return list(self.stages)

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim]."""
        features = self.stem(batch.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            features = stage(features)
        pooled: Tensor = features.float().mean((2, 3))
        return pooled

    def _start(self) -> None:
        """He et al. 2015: what the DenseNet paper starts from."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


def _transition(inputs: int, outputs: int) -> list[nn.Module]:
    # Rounded up, so that a small image does not vanish between the blocks.
    halve = nn.AvgPool2d(2, ceil_mode=True)
    return [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), halve]


def _finish(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.ReLU()]
