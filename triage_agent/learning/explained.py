"""How far a map may be believed: what is left of it in a randomised model, and whether it finds lesions that are known.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a map that stays the same when the weights are replaced shows
the image, not the model. Zhang et al. 2018, "Top-down Neural Attention": the pointing game.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from triage_agent.learning.mura import read_display
from triage_agent.models.explain import SEES_NO_HEAD, Explainer, feature_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from triage_agent.learning.mura import LabeledImage

DESTROYED = 0.5  # a mean rank correlation at or below it: the map of the randomised model is another one
HEAD, ALL = "head", "head and encoder"
_SAMPLES = 32  # points a side at which two maps are compared: finer than any map's own cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """The pointing game over images whose abnormality has a known box.

    Attributes:
        n: images.
        accuracy: share whose map is highest inside their own box.
        chance: mean share of the image that the box covers: what a point at random would reach.
        elsewhere: share of hits where each point is held against the other images' boxes: what knowing only where
            lesions usually lie would reach. 0 where there is one image.
    """

    n: int
    accuracy: float
    chance: float
    elsewhere: float


def sanity(
    explainer: Explainer, displays: Sequence[NDArray[np.float32]], *, seed: int = 0, draws: int = 2
) -> dict[str, dict[str, float]]:
    """Mean Spearman correlation of each method's maps with those of models that are randomised from the top down.

    First the head is drawn again, then the encoder's last blocks too, twice as many each time, at last everything. A
    method passes where the values are at or below `DESTROYED`. Attention rollout does not depend on the head, so its
    value at "head" is 1 by construction and says nothing about it: that it cannot explain a decision is a property.
    A map that is the same everywhere, of which there can be one in a dead network, counts as 0.

    Args:
        explainer: left as it is; copies are randomised.
        displays: float32 [H, W] in [0, 1] each.
        seed: of the drawing.
        draws: how many randomised models are averaged at each stage.

    Returns:
        {method: {stage: correlation in [-1, 1]}}.

    Raises:
        ValueError: there are no images.
    """
    if not displays:
        raise ValueError("a sanity check needs images")
    whole = {method: [explainer.map(display, method) for display in displays] for method in explainer.methods}
    found: dict[str, dict[str, float]] = {method: {} for method in explainer.methods}
    for stage, blocks in _cascade(explainer).items():
        values: dict[str, list[float]] = {method: [] for method in explainer.methods}
        for draw in range(draws):
            other = randomised(explainer, blocks, seed=seed + draw)
            for method, maps in whole.items():
                pairs = zip(displays, maps, strict=True)
                values[method] += [_agreement(before, other.map(display, method)) for display, before in pairs]
        for method, each in values.items():
            found[method][stage] = float(np.mean(each))
    return found


def passes(method: str, stages: dict[str, float]) -> bool:
    """Whether randomising destroys the method's maps at every stage that it can depend on."""
    return all(value <= DESTROYED for stage, value in stages.items() if stage != HEAD or method not in SEES_NO_HEAD)


def randomised(explainer: Explainer, blocks: int | None, *, seed: int) -> Explainer:
    """A copy whose head and last `blocks` blocks (None: whole encoder) are drawn again, as large as they were.

    Weights are drawn from a normal distribution of their own standard deviation, biases and norms are shuffled.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder, head = deepcopy(explainer.encoder), deepcopy(explainer.head)
    parts: list[nn.Module] = [head]
    parts += [encoder] if blocks is None else encoder.blocks()[len(encoder.blocks()) - blocks :]
    for part in parts:
        _draw_again(part, generator)
    return Explainer(encoder, head, explainer.bundle)


def pointing_game(explainer: Explainer, images: Sequence[LabeledImage], method: str = "gradient") -> Pointing:
    """Whether maps are highest inside the boxes of the images that have one.

    Raises:
        ValueError: no image has a box.
        DataError: an image cannot be read.
    """
    boxed = [(image, image.box) for image in images if image.box is not None]
    if not boxed:
        raise ValueError("no image has a box")
    points, shares = [], []
    for image, (x0, y0, x1, y1) in boxed:
        display = read_display(image.path)
        height, width = display.shape
        points.append(_peak(explainer.map(display, method)))
        shares.append((x1 - x0) * (y1 - y0) * max(height, width) ** 2 / (height * width))
    at, boxes = np.array(points)[:, None], np.array([box for _, box in boxed])[None]
    inside = ((boxes[..., :2] <= at) & (at <= boxes[..., 2:])).all(-1)
    count = len(boxed)
    others = (inside.sum() - np.trace(inside)) / max(1, count * (count - 1))
    return Pointing(
        n=count, accuracy=float(np.diag(inside).mean()), chance=float(np.mean(shares)), elsewhere=float(others)
    )


def _cascade(explainer: Explainer) -> dict[str, int | None]:
    """Stages of randomisation by name: how many last blocks go with the head, None for all of the encoder."""
    stages: dict[str, int | None] = {HEAD: 0}
    count = len(feature_stages(explainer.encoder))  # networks side by side lose a block each
    while count < len(explainer.encoder.blocks()):
        stages[f"head and last {count} block{'s' if count > 1 else ''}"] = count
        count *= 2
    return {**stages, ALL: None}


@torch.no_grad()
def _draw_again(part: nn.Module, generator: torch.Generator) -> None:
    for parameter in part.parameters():
        if parameter.ndim > 1:
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn * float(parameter.float().std(unbiased=False)))
        else:
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter[order.to(parameter.device)])


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Spearman's correlation of two maps of one image; 0 where one of them is the same everywhere."""
    rows, columns = (max(1, side // _SAMPLES) for side in one.shape)
    first, second = (heat[::rows, ::columns].ravel() for heat in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _peak(heat: NDArray[np.float32]) -> tuple[float, float]:
    """Where a map is highest: x and y in shares of the side of the image's zero-padded square, as boxes are."""
    height, width = heat.shape
    side = max(height, width)
    row, column = divmod(int(heat.argmax()), width)
    return (column + 0.5 + (side - width) // 2) / side, (row + 0.5 + (side - height) // 2) / side
