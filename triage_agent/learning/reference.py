"""Fitting what training images look like: the region head and the outlier score; see `models.reference`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from triage_agent.models.reference import distances, region_probabilities
from triage_agent.models.spec import OutlierSpec, RegionSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage

DIRECTIONS = 64
IMAGES_A_REGION = 400  # enough for a mean and a line; embedding all of a large data set would cost hours
SLACK = 1.25  # the limit as a share of the largest held-back distance: a study that it stops has no report
SURE = 0.9
_LEAST_SCALE = 1e-6
_LEAST_SHARE = 0.1  # of the median spread of an embedding's numbers
_RIDGE = 0.01  # of scikit-learn's C: embeddings of different regions lie far apart
RULE = f"{SLACK} times the largest distance of a held-back image"


@dataclass(frozen=True, slots=True)
class FittedReference:
    """What `reference.safetensors` holds, and what the bundle says about it."""

    state: dict[str, Tensor]
    outlier: OutlierSpec
    region: RegionSpec | None


def sample(images: Sequence[LabeledImage], learn: Tensor, seed: int) -> list[int]:
    """Indices of at most `IMAGES_A_REGION` images of each region to fit on, drawn from those that training learnt."""
    order = np.random.default_rng(seed).permutation(learn.numpy())
    taken: dict[str, list[int]] = {}
    for index in order.tolist():
        chosen = taken.setdefault(images[index].anatomy, [])
        if len(chosen) < IMAGES_A_REGION:
            chosen.append(index)
    return sorted(index for chosen in taken.values() for index in chosen)


def fit_reference(
    embeddings: Tensor, regions: Sequence[str], held_embeddings: Tensor, held_regions: Sequence[str]
) -> FittedReference:
    """Fit on training images, set the limit and measure the region head on held-back ones.

    Args:
        embeddings: [N, D] of training images.
        regions: the region of each.
        held_embeddings: [M, D] of images of other patients.
        held_regions: the region of each.
    """
    state = fit_gaussians(embeddings, regions)
    names = tuple(sorted(set(regions)))
    region = None
    if len(names) > 1:
        state |= fit_regions(embeddings / state["scale"], regions)
        region = _judge_regions(state, names, held_embeddings, held_regions)
    farthest = float(distances(_double(state), held_embeddings).max())
    outlier = OutlierSpec(limit=round(SLACK * farthest, 4), held_back=round(farthest, 4), rule=RULE)
    return FittedReference({name: tensor.float() for name, tensor in state.items()}, outlier, region)


def fit_gaussians(embeddings: Tensor, regions: Sequence[str]) -> dict[str, Tensor]:
    """The mean of each region and their common covariance, by probabilistic PCA of scaled embeddings [N, D]."""
    spread = embeddings.double().std(0)
    # A number that hardly ever varied in training must not make an outlier of an image in which it does, a little.
    scale = spread.clamp(min=max(_LEAST_SCALE, _LEAST_SHARE * float(spread.median())))
    scaled = embeddings.double() / scale
    names = sorted(set(regions))
    place = torch.tensor([names.index(region) for region in regions])
    means = torch.stack([scaled[place == number].mean(0) for number in range(len(names))])
    centred = scaled - means[place]
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    variances = singular.square() / len(centred)
    kept = min(DIRECTIONS, len(variances) // 2)
    others = max(1, scaled.shape[1] - kept)
    rest = ((centred.square().sum() / len(centred)) - variances[:kept].sum()).clamp(min=_LEAST_SCALE) / others
    return {
        "scale": scale,
        "means": means,
        "directions": directions[:kept].contiguous(),
        "variances": variances[:kept].clamp(min=float(rest)),
        "rest": rest,
    }


def fit_regions(scaled: Tensor, regions: Sequence[str]) -> dict[str, Tensor]:
    """A multinomial logistic regression from scaled embeddings [N, D] to regions in alphabetical order."""
    model = LogisticRegression(C=_RIDGE, max_iter=500, class_weight="balanced")
    model.fit(scaled.numpy(), list(regions))
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if len(weight) == 1:  # of two regions scikit-learn keeps one line
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return {"weight": weight.double(), "bias": bias.double()}


def _judge_regions(
    state: dict[str, Tensor], names: tuple[str, ...], embeddings: Tensor, regions: Sequence[str]
) -> RegionSpec:
    best = region_probabilities(_double(state), embeddings).max(1)
    sure = best.values >= SURE
    right = torch.tensor([names[place] == region for place, region in zip(best.indices, regions, strict=True)])
    return RegionSpec(
        anatomies=names,
        sure=SURE,
        accuracy=float(right[sure].double().mean()) if sure.any() else 0.0,
        told=float(sure.double().mean()),
    )


def _double(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in state.items()}
