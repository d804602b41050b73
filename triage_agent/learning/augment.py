"""Changes to a training image that a radiographer or an X-ray machine might have made, batched on tensors.

Everything draws from torch's global generator, so that a seed (or a checkpoint's saved state) fixes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

GREYS = 256


class Augmentation(BaseModel):
    """How far each change may go; zero turns it off.

    Attributes:
        rotation: degrees to either side.
        zoom, stretch: log of the scale, and of the ratio of width to height.
        shift: share of the side.
        mirror: whether left and right may change places.
        gamma, contrast, brightness: tone; log of the exponent, log of the slope, and an offset in [0, 1] units.
        noise: largest standard deviation, in normalised units.
        erase: chance of one blank rectangle of a tenth to three tenths of the side.
        mix: mixup's Beta parameter (Zhang et al. 2018).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = 6.0
    zoom: float = 0.08
    stretch: float = 0.05
    shift: float = 0.04
    mirror: bool = True
    gamma: float = 0.2
    contrast: float = 0.18
    brightness: float = 0.06
    noise: float = 0.05
    erase: float = 0.0
    mix: float = 0.0


def _between(low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def tone_curves(count: int, policy: Augmentation) -> Tensor:
    """A random tone curve an image: [count, 256], from grey level to grey value in about [0, 1]."""
    ramp = torch.arange(GREYS) / (GREYS - 1)
    curves = ramp[None].pow(torch.exp(_between(-policy.gamma, policy.gamma, count, 1)))
    slope = torch.exp(_between(-policy.contrast, policy.contrast, count, 1))
    return (curves - 0.5) * slope + 0.5 + _between(-policy.brightness, policy.brightness, count, 1)


def affine_grids(count: int, size: int, policy: Augmentation) -> Tensor:
    """A random small affine map an image, as a sampling grid [count, size, size, 2]."""
    angle = torch.deg2rad(_between(-policy.rotation, policy.rotation, count))
    scale = torch.exp(_between(-policy.zoom, policy.zoom, count))
    across = scale * torch.exp(_between(-policy.stretch, policy.stretch, count))
    if policy.mirror:
        across = torch.where(torch.rand(count) < 0.5, -across, across)  # noqa: PLR2004 - an even chance
    cosine, sine = angle.cos(), angle.sin()
    top = torch.stack([cosine * across, -sine * scale, _between(-2 * policy.shift, 2 * policy.shift, count)], 1)
    bottom = torch.stack([sine * across, cosine * scale, _between(-2 * policy.shift, 2 * policy.shift, count)], 1)
    return functional.affine_grid(torch.stack([top, bottom], 1), [count, 1, size, size], align_corners=False)


def augment(images: Tensor, policy: Augmentation, mean: float, std: float) -> Tensor:
    """Change and normalise a batch: uint8 [B, 1, S, S] to float32 [B, 1, S, S]."""
    count, size = images.shape[0], images.shape[-1]
    curves = (tone_curves(count, policy) - mean) / std
    toned = torch.gather(curves, 1, images.reshape(count, -1).long()).view(count, 1, size, size)
    moved = functional.grid_sample(
        toned, affine_grids(count, size, policy), mode="bilinear", padding_mode="border", align_corners=False
    )
    if policy.noise > 0:
        moved = moved + torch.randn_like(moved) * _between(0.0, policy.noise, count, 1, 1, 1)
    if policy.erase > 0:
        _erase(moved, policy.erase)
    return moved


def _erase(images: Tensor, chance: float) -> None:
    """Blank one random rectangle in some images, in place (random erasing, Zhong et al. 2020)."""
    size = images.shape[-1]
    for image in images:
        draw, tall, wide, down, right, grey = torch.rand(6).tolist()
        if draw >= chance:
            continue
        height, width = math.ceil(size * (0.1 + 0.2 * tall)), math.ceil(size * (0.1 + 0.2 * wide))
        top, left = int((size - height) * down), int((size - width) * right)
        image[:, top : top + height, left : left + width] = 2 * grey - 1


def mix_up(images: Tensor, targets: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Blend each image and its targets with another of the batch, by one draw from Beta(strength, strength).

    A target that is unknown (negative) in either stays unknown.
    """
    if strength <= 0:
        return images, targets
    share = float(torch.distributions.Beta(strength, strength).sample())
    other = torch.randperm(images.shape[0])
    blended = share * targets + (1 - share) * targets[other]
    unknown = (targets < 0) | (targets[other] < 0)
    return share * images + (1 - share) * images[other], torch.where(unknown, -1.0, blended)
