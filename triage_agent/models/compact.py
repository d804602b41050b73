"""The compact encoder: a small convolutional network, trained from scratch.

It stands behind the same port as MedGemma's and SigLIP's vision towers, and is small enough to ship and to run on
a CPU. `triage-agent train --encoder compact` makes its weights.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.models.encoder import DEFAULT_GRID, GRID, Encoder, grid_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

DEFAULTS: dict[str, Any] = {
    "image_size": 128,
    "widths": [16, 32, 64, 128, 192],
    "depths": [1, 1, 2, 2, 1],
    "pooling": "mean",
    "unshuffle": 1,
    "window": None,
    "unfold": False,
    "towers": 1,
    "mirror": True,
    "mean": 0.5,
    "std": 0.25,
}


_SHAPE = ("widths", "depths", "pooling", "unshuffle", "window", "unfold")  # what a tower may have of its own


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


class Tower(nn.Module):
    """One network: stages of 3x3 convolutions, the first at full resolution, halved by max pooling, then a global mean.

    Thin bright edges (cortex, osteophytes) are a pixel or two wide at this size: a stem that strides over them, as most
    image networks have, learnt more slowly on the same data. `unshuffle` folds squares of pixels into channels instead,
    which loses nothing and makes large images affordable (Shi et al. 2016).

    A joint is nearly its own mirror image, and both its sides can be worn in the same way. Where `unfold` is set, the
    network sees the left half and the mirrored right half one after the other, with the same weights, so that margins
    always lie on the same side; means and maxima are taken over both (siamese halves, Tiulpin et al. 2018).

    Args:
        config: `widths`, `depths`, `pooling`, `grid`, `unshuffle`, `unfold`; `size`: the side that inputs are resized
            to, None takes them as they come; and `window`: what part of the input is looked at, stretched over the
            whole side, as left, top, right, bottom in shares of it; None for all.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        widths, depths = [int(width) for width in config["widths"]], [int(depth) for depth in config["depths"]]
        folded = int(config["unshuffle"])
        self.size = config["size"]
        self.window = tuple(map(float, config["window"])) if config["window"] else None
        self.unfold = bool(config["unfold"])
        self.fold = nn.PixelUnshuffle(folded)
        self.max_pooled = config["pooling"] == "mean-max"
        self.grid = int(config[GRID]) if config["pooling"] == GRID else None
        self.embedding_dim = widths[-1] * (2 if self.max_pooled else 1)
        self.stages = nn.ModuleList(
            _stage(inputs, outputs, depth, halve=place > 0)
            for place, (inputs, outputs, depth) in enumerate(
                zip([folded**2, *widths[:-1]], widths, depths, strict=True)
            )
        )

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim], or [B, grid * grid, embedding_dim]."""
        features = self.features(batch)
        if self.grid is not None:
            return grid_tokens(features, self.grid)
        pooled: Tensor = features.mean((2, 3))
        if self.max_pooled:
            pooled = torch.cat([pooled, features.amax((2, 3))], dim=1)
        return pooled

    def features(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to the last stage's [B, width, h, w]; unfolded halves lie side by side."""
        side = int(self.size or batch.shape[-1])
        if self.window is not None:
            left, top, right, bottom = (round(share * batch.shape[-1]) for share in self.window)
            batch = batch[:, :, top:bottom, left:right]
        if batch.shape[-2:] != (side, side):
            batch = functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)
        if self.unfold:
            batch = torch.cat([batch[..., : side // 2], batch.flip(3)[..., : side // 2]])
        features = self.fold(batch).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            features = stage(features)
        return torch.cat(features.chunk(2), dim=3) if self.unfold else features


class CompactEncoder(Encoder):
    """Radiograph to embedding, in about half a million parameters a tower.

    Its configuration (`DEFAULTS` fills what is left out): `image_size`, `widths` and `depths` (channels and
    convolutions a stage), `pooling` ("mean", "mean-max" for both side by side, or "grid" for the last feature map
    averaged to `grid` x `grid` tokens), `unshuffle` (see `Tower`), `towers` (how many networks of this shape stand side
    by side, or a list of what each has otherwise, its `size` among it), `window` and `unfold` (see `Tower`), `mirror`
    (in evaluation the embedding is the mean of the image's and its mirror image's; an unfolded tower has seen both
    already), `mean` and `std` of the input.
    """

    kind: ClassVar[str] = "compact"
    resizable: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **(config or {})}
        if self.config["pooling"] == GRID:
            self.config.setdefault(GRID, DEFAULT_GRID)
        self.image_size = int(self.config["image_size"])
        self.towers = nn.ModuleList(Tower(one) for one in tower_configs(self.config))
        self.embedding_dim = sum(int(tower.embedding_dim) for tower in self._towers())

    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1], bone bright, to a normalised [1, size, size] tensor."""
        mean, std = float(self.config["mean"]), float(self.config["std"])
        return (fit_square(display, self.image_size) - mean) / std

    def blocks(self) -> list[nn.Module]:
        """The stages of all towers, the last ones last."""
        return [block for level in self.levels() for block in level]

    def levels(self) -> list[list[nn.Module]]:
        """As `Encoder.levels`: a tower with fewer stages has none in the first levels."""
        from_the_end = zip_longest(*(reversed(tower.stages) for tower in self._towers()))
        return [[block for block in level if block is not None] for level in reversed(list(from_the_end))]

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 1, size, size] to [B, embedding_dim], or [B, grid * grid, embedding_dim]."""
        return torch.cat([self._embed(tower, batch) for tower in self._towers()], dim=-1)

    def _embed(self, tower: Tower, images: Tensor) -> Tensor:
        embedding: Tensor = tower(images)
        if self.training or tower.unfold or not self.config["mirror"]:
            return embedding
        mirrored: Tensor = tower(images.flip(3))
        if tower.grid is not None:  # each token with that of the same place
            mirrored = mirrored.reshape(len(images), tower.grid, tower.grid, -1).flip(2).reshape_as(mirrored)
        return (embedding + mirrored) / 2

    def _towers(self) -> list[Tower]:
        return [tower for tower in self.towers if isinstance(tower, Tower)]


def tower_configs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each tower of a configuration is built from."""
    base = {"size": None} | {name: config[name] for name in _SHAPE}
    if config["pooling"] == GRID:
        base[GRID] = config.get(GRID, DEFAULT_GRID)
    towers = config["towers"]
    return [dict(base) for _ in range(towers)] if isinstance(towers, int) else [{**base, **tower} for tower in towers]


def joined(members: Sequence[CompactEncoder]) -> CompactEncoder:
    """One encoder whose towers are those of the members, in order; each goes on seeing its member's input size.

    With a linear head whose weights are the members' side by side, each times its share, and whose bias is the sum of
    theirs, each times its share, its logit is the weighted sum of the members' logits.
    """
    towers = [
        {**tower, "size": tower["size"] or member.image_size}
        for member in members
        for tower in tower_configs(member.config)
    ]
    size = max(member.image_size for member in members)
    whole = CompactEncoder({**members[0].config, "towers": towers, "image_size": size})
    copies = [tower for member in members for tower in member.towers]
    for tower, copied in zip(whole.towers, copies, strict=True):
        tower.load_state_dict(copied.state_dict())
    return whole


def with_grid(encoder: CompactEncoder, grid: int | None) -> CompactEncoder:
    """The same weights, giving a grid of tokens in place of one vector."""
    asked = {} if grid is None else {GRID: grid}
    changed = CompactEncoder({**encoder.config, "pooling": GRID, **asked})
    changed.load_state_dict(encoder.state_dict())
    return changed


def member_of(whole: CompactEncoder, number: int, image_size: int) -> CompactEncoder:
    """An encoder with a copy of one of the towers of `whole` (counted around), for another input size."""
    place = number % len(whole.towers)
    tower = tower_configs(whole.config)[place]
    del tower["size"]
    member = CompactEncoder({**whole.config, **tower, "towers": 1, "image_size": image_size})
    member.towers[0].load_state_dict(whole.towers[place].state_dict())
    return member


def _stage(inputs: int, outputs: int, depth: int, *, halve: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if halve else []
    for step in range(depth):
        convolution = nn.Conv2d(outputs if step else inputs, outputs, 3, 1, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
