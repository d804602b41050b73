"""What the training images looked like, region by region: which region a new image shows, and whether it is like any.

The distance is Mahalanobis's to the nearest region's mean, with one covariance for all regions (Lee et al. 2018). The
covariance is that of probabilistic PCA (Tipping and Bishop 1999): a few hundred images determine some directions of
an embedding and not a thousand; what lies outside of these directions counts with one common variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from triage_agent.domain.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triage_agent.models.spec import OutlierSpec, RegionSpec


class Reference:
    """The region head and the outlier score, as tensors.

    The state holds `scale` [D] (of each number of an embedding), `means` [R, D], `directions` [K, D] (orthonormal),
    `variances` [K] and `rest` [] (of every other direction), all of scaled embeddings, and, where there are two regions
    or more, `weight` [R, D] and `bias` [R] of the region head.

    Raises:
        BundleError: the state does not fit the embedding, or lacks something.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        input_dim: int,
        outlier: OutlierSpec | None,
        region: RegionSpec | None,
    ) -> None:
        needed = {"scale", "means", "directions", "variances", "rest"} | ({"weight", "bias"} if region else set())
        if needed - set(state) or state["scale"].shape != (input_dim,):
            raise BundleError("the reference does not fit the encoder's embedding", remedy="train the bundle again")
        self._state = {name: tensor.to(torch.float64) for name, tensor in state.items()}
        self._outlier, self._region = outlier, region

    def strangeness(self, embeddings: Tensor) -> Tensor:
        """Distance as a share of the limit, [N], of embeddings [N, D]; zeros for a bundle without a limit."""
        if self._outlier is None:
            return torch.zeros(len(embeddings), dtype=torch.float64)
        return distances(self._state, embeddings) / self._outlier.limit

    def regions(self, embeddings: Tensor) -> list[str | None]:
        """The region that each of [N, D] shows, None where the head is not sure."""
        if self._region is None:
            return [None] * len(embeddings)
        best = region_probabilities(self._state, embeddings).max(1)
        names = self._region.anatomies
        return [
            names[place] if share >= self._region.sure else None
            for share, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def distances(state: Mapping[str, Tensor], embeddings: Tensor) -> Tensor:
    """Mahalanobis distance [N] of embeddings [N, D] to the nearest region's mean, per square root of D.

    It is about 1 for images like the training images, whatever the length of the embedding.
    """
    scaled = embeddings.to(torch.float64) / state["scale"]
    away = scaled[:, None, :] - state["means"][None]
    along = away @ state["directions"].T
    beside = (away.square().sum(2) - along.square().sum(2)).clamp(min=0)
    squared = (along.square() / state["variances"]).sum(2) + beside / state["rest"]
    return (squared.min(1).values / scaled.shape[1]).sqrt()


def region_probabilities(state: Mapping[str, Tensor], embeddings: Tensor) -> Tensor:
    """Softmax [N, R] of the region head on embeddings [N, D]."""
    scaled = embeddings.to(torch.float64) / state["scale"]
    return (scaled @ state["weight"].T + state["bias"]).softmax(1)
