"""The classifier on top of an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from triage_agent.domain.errors import BundleError
from triage_agent.models.encoder import TOKENS_NDIM, pooled
from triage_agent.models.mixture import RegionMixture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triage_agent.models.spec import HeadSpec

ATTENTION = "attention"


class AttentionPool(nn.Module):
    """Tokens [B, T, D] to one vector [B, D]: multi-head attention from one learned query, then layer norm.

    As the pooling head of SigLIP's tower (Zhai et al. 2023), without its residual MLP: a classifier follows.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [B, T, D] to [B, D]."""
        query = self.query.expand(tokens.shape[0], -1, -1)
        attended = self.attention(query, tokens, tokens, need_weights=False)[0]
        vector: Tensor = self.norm(attended[:, 0])
        return vector


class Head(nn.Module):
    """Embedding [B, input_dim] or tokens [B, T, input_dim] to one logit an image, [B].

    Linear -> ReLU -> Dropout for each hidden width, then Linear to 1 (the data-efficient head of Google's MedSigLIP
    notebook is hidden 512, 256); without hidden widths a logistic regression. Tokens are pooled first: by a learned
    query where the kind is "attention", else by their mean.
    """

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = spec.input_dim
        self.pool = AttentionPool(width, spec.attention_heads) if spec.kind == ATTENTION else None
        for hidden in spec.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(spec.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map [B, input_dim] or [B, T, input_dim] to logits [B]."""
        if self.pool is None:
            vector = pooled(embedding)
        else:
            vector = self.pool(embedding if embedding.ndim == TOKENS_NDIM else embedding[:, None])
        logits: Tensor = self.layers(vector).squeeze(-1)
        return logits


def build_head(spec: HeadSpec, state: Mapping[str, Tensor] | None = None) -> Head:
    """A head with fresh weights, or with those of `state` (any float type; kept as float32).

    Raises:
        BundleError: `spec` contradicts itself, or `state` does not fit it.
    """
    if spec.kind != ATTENTION and (spec.kind == "mlp") != bool(spec.hidden):
        raise BundleError(f"a {spec.kind} head with hidden widths {list(spec.hidden)}", remedy="mend the head's spec")
    if (spec.kind == "mixture") != bool(spec.regions):
        raise BundleError(f"a {spec.kind} head with regions {list(spec.regions)}", remedy="mend the head's spec")
    if spec.input_dim % spec.attention_heads:
        raise BundleError(
            f"{spec.attention_heads} attention heads cannot share {spec.input_dim} numbers",
            remedy="give a number of heads that divides them",
        )
    # A mixture is called like any head; it is only ever made by joining bundles, never trained as one.
    head = cast("Head", RegionMixture(spec)) if spec.kind == "mixture" else Head(spec)
    if state is not None:
        try:
            head.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"the head's weights do not fit its spec: {reason}", remedy="train it again") from error
    return head
