"""The classifier on top of an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from triage_agent.domain.errors import BundleError
from triage_agent.models.mixture import RegionMixture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triage_agent.models.spec import HeadSpec


class Head(nn.Module):
    """Embedding [B, input_dim] to one logit an image, [B].

    Linear -> ReLU -> Dropout for each hidden width, then Linear to 1 (the data-efficient head of Google's MedSigLIP
    notebook is hidden 512, 256); without hidden widths a logistic regression.
    """

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = spec.input_dim
        for hidden in spec.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(spec.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map [B, input_dim] to logits [B]."""
        logits: Tensor = self.layers(embedding).squeeze(-1)
        return logits


def build_head(spec: HeadSpec, state: Mapping[str, Tensor] | None = None) -> Head:
    """A head with fresh weights, or with those of `state` (any float type; kept as float32).

    Raises:
        BundleError: `spec` contradicts itself, or `state` does not fit it.
    """
    if (spec.kind == "mlp") != bool(spec.hidden):
        raise BundleError(f"a {spec.kind} head with hidden widths {list(spec.hidden)}", remedy="mend the head's spec")
    if (spec.kind == "mixture") != bool(spec.regions):
        raise BundleError(f"a {spec.kind} head with regions {list(spec.regions)}", remedy="mend the head's spec")
    # A mixture is called like any head; it is only ever made by joining bundles, never trained as one.
    head = cast("Head", RegionMixture(spec)) if spec.kind == "mixture" else Head(spec)
    if state is not None:
        try:
            head.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"the head's weights do not fit its spec: {reason}", remedy="train it again") from error
    return head
