"""Crops around known lesions: what a network learns from first, where the data says where the lesions are.

A lesion covers a hundredth of an image. A network that is told only "abnormal" needs a very long time to find out what
is meant; one that first sees lesions and normal places side by side, at full resolution, knows after minutes, and
keeps it when it goes on with whole images. A convolutional network takes inputs of both sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from triage_agent.learning.augment import GREYS, affine_grids, tone_curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.learning.augment import Augmentation
    from triage_agent.learning.mura import LabeledImage

_TRIES = 12  # to find a place in an abnormal image that its lesion does not reach
_WANDER = 0.8  # of the room that a lesion has in its crop
_LEAST_ROOM = 0.125  # of a crop's side
_INNER = (0.1, 0.9)  # where a crop's centre may lie when it is drawn at random


@dataclass(frozen=True, slots=True)
class Lesions:
    """Which images can be cropped, and where.

    Attributes:
        boxes: [N, 4] as x0, y0, x1, y1 in shares of the padded square's side; zeros where there is none.
        abnormal: indices of images with a box.
        normal: indices of normal images of data sets that have boxes.
        region: [N], a number for each anatomy.
    """

    boxes: Tensor
    abnormal: Tensor
    normal: Tensor
    region: Tensor

    def __len__(self) -> int:
        return len(self.abnormal) + len(self.normal)

    def centres(self, regions: Tensor) -> Tensor:
        """Where some lesion of the same anatomy lies, drawn for each: normal places must look like likely ones."""
        homes = self.region[self.abnormal]
        drawn = []
        for region in regions.tolist():
            same = self.abnormal[homes == region]
            box = self.boxes[same[torch.randint(len(same), (1,))]] if len(same) else torch.full((1, 4), 0.5)
            drawn.append((box[0, :2] + box[0, 2:]) / 2)
        return torch.stack(drawn)


def lesions_of(images: Sequence[LabeledImage], indices: Tensor) -> Lesions:
    """The lesions of the images at `indices`; empty where no data set has boxes."""
    names = sorted({image.anatomy for image in images})
    boxes = torch.zeros(len(images), 4)
    abnormal, normal = [], []
    for index in indices.tolist():
        image = images[index]
        if image.box is not None:
            boxes[index] = torch.tensor(image.box)
            abnormal.append(index)
        elif image.boxed and not image.label:
            normal.append(index)
    region = torch.tensor([names.index(image.anatomy) for image in images])
    return Lesions(boxes, torch.tensor(abnormal, dtype=torch.long), torch.tensor(normal, dtype=torch.long), region)


def draw_crops(lesions: Lesions, count: int, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Half of them on lesions, a quarter on normal images, a quarter beside the lesions of abnormal ones.

    Args:
        lesions: what there is.
        count: how many crops.
        share: a crop's side as a share of the image's.

    Returns:
        Indices [count], centres [count, 2] in shares of the side, and labels [count].
    """
    on, beside = count // 2, count // 4
    hit = _drawn(lesions.abnormal, on)
    other = torch.cat([_drawn(lesions.normal, count - on - beside), _drawn(lesions.abnormal, beside)])
    boxes = lesions.boxes[hit]
    room = ((share - (boxes[:, 2:] - boxes[:, :2])) / 2 * _WANDER).clamp(min=share * _LEAST_ROOM)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + (torch.rand(on, 2) * 2 - 1) * room
    away = _away(lesions.centres(lesions.region[other]), lesions.boxes[other], share)
    labels = torch.cat([torch.ones(on), torch.zeros(count - on)])
    return torch.cat([hit, other]), torch.cat([centres, away]), labels


def cut(images: Tensor, centres: Tensor, side: int, policy: Augmentation, mean: float, std: float) -> Tensor:
    """Cut, change and normalise crops: uint8 [B, 1, S, S] to float32 [B, 1, side, side]."""
    count, size = images.shape[0], images.shape[-1]
    grids = affine_grids(count, side, policy) * (side / size) + (centres * 2 - 1)[:, None, None, :]
    crops = functional.grid_sample(images.float(), grids, padding_mode="zeros", align_corners=False)
    curves = (tone_curves(count, policy) - mean) / std
    levels = crops.round().long().clamp(0, GREYS - 1).view(count, -1)
    toned = torch.gather(curves, 1, levels).view(count, 1, side, side)
    return toned + torch.randn_like(toned) * policy.noise * torch.rand(count, 1, 1, 1)


def _drawn(indices: Tensor, count: int) -> Tensor:
    return indices[torch.randint(len(indices), (count,))] if len(indices) else indices.new_zeros(0)


def _away(centres: Tensor, boxes: Tensor, share: float) -> Tensor:
    """The centres, drawn again where the crop would touch its image's own lesion."""
    for _ in range(_TRIES):
        low, high = centres - share / 2, centres + share / 2
        touches = ((low < boxes[:, 2:]) & (high > boxes[:, :2])).all(1) & (boxes[:, 2] > 0)
        if not touches.any():
            break
        again = torch.rand_like(centres) * (_INNER[1] - _INNER[0]) + _INNER[0]
        centres = torch.where(touches[:, None], again, centres)
    return centres
