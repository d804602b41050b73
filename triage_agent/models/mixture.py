"""A head whose regions each have their own line: what is worth knowing of a knee says nothing about a hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from triage_agent.models.spec import HeadSpec


class RegionMixture(nn.Module):
    """Embedding [B, input_dim] to one logit an image, [B]: a mixture of linear experts (Jacobs et al. 1991).

    A softmax gate says which region the image shows, from the image alone; each region's expert gives its logit.
    """

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.gate = nn.Linear(spec.input_dim, len(spec.regions))
        self.experts = nn.Linear(spec.input_dim, len(spec.regions))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map [B, input_dim] to logits [B]."""
        logits: Tensor = (self.gate(embedding).softmax(1) * self.experts(embedding)).sum(1)
        return logits
