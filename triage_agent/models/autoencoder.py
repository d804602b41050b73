"""The encoder half of a convolutional autoencoder: the paper's second baseline.

It learns to describe radiographs in few numbers, without labels (Hinton and Salakhutdinov 2006; Masci et al. 2011);
`learning.autoencode` has the decoder that it learns with. A classifier is then trained on its code.
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

DEFAULTS: dict[str, Any] = {"image_size": 128, "widths": [32, 64, 128, 128], "code": 16, "mean": 0.5, "std": 0.25}


class AutoencoderEncoder(Encoder):
    """Radiograph to code: a small map of `code` channels, flattened.

    Its configuration (`DEFAULTS` fills what is left out): `image_size`, `widths` (channels of the strided 3x3
    convolutions; each halves the sides, rounded up), `code` (channels of the code), `mean` and `std` of the input.

    Attributes:
        sides: of the maps from the input's to the code's, in pixels.
    """

    kind: ClassVar[str] = "autoencoder"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **(config or {})}
        self.image_size = int(self.config["image_size"])
        widths, code = [int(width) for width in self.config["widths"]], int(self.config["code"])
        if not widths or min([*widths, code, self.image_size]) < 1:
            raise BundleError(f"no autoencoder has the configuration {self.config}", remedy="see `models.autoencoder`")
        self.sides = [self.image_size]
        for _ in widths:
            self.sides.append((self.sides[-1] + 1) // 2)
        self.stages = nn.ModuleList(
            _stage(inputs, outputs) for inputs, outputs in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.to_code = nn.Conv2d(widths[-1], code, 1)
        self.embedding_dim = code * self.sides[-1] ** 2

    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1], bone bright, to a normalised [1, size, size] tensor."""
        mean, std = float(self.config["mean"]), float(self.config["std"])
        return (fit_square(display, self.image_size) - mean) / std

    def blocks(self) -> list[nn.Module]:
        """The strided stages."""
        return list(self.stages)

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim]."""
        return self.code(batch).float().flatten(1)

    def code(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to the code as a map, [B, code, side, side]."""
        features = batch.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            features = stage(features)
        mapped: Tensor = self.to_code(features)
        return mapped


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
