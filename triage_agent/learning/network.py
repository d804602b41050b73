"""An encoder and its heads as one network to train, and the moving average of its weights."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.models.encoder import pooled
from triage_agent.models.head import build_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.models.encoder import Encoder
    from triage_agent.models.spec import HeadSpec

UNKNOWN = -1.0  # the target of a grade that an image does not have


class Network(nn.Module):
    """Encoder, head, and the auxiliary ordinal head that training throws away.

    Args:
        encoder: any encoder of the registry.
        head: what `models.head.build_head` makes.
        levels: how many "grade at least k" questions the auxiliary head answers; 0 for none.
        unfreeze: how many of the last blocks of each of the encoder's towers learn; None for all of it, 0 for every
            block.
        only: of the parameters of these blocks, the beginning of the names of those that learn; all of them if empty.
    """

    def __init__(self, encoder: Encoder, head: HeadSpec, *, levels: int, unfreeze: int | None, only: str = "") -> None:
        super().__init__()
        self.encoder = encoder
        self.head = build_head(head)
        self.dropout = nn.Dropout(head.dropout)
        self.grades = nn.Linear(head.input_dim, levels) if levels else None
        last = [] if unfreeze is None else encoder.levels()[-unfreeze:]
        self.tuned: list[nn.Module] = [encoder] if unfreeze is None else [block for level in last for block in level]
        encoder.requires_grad_(requires_grad=False)
        for module in self.tuned:
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(any(part.startswith(only) for part in name.split(".")))

    def forward(self, batch: Tensor) -> Tensor:
        """Map a normalised batch [B, C, S, S] to logits [B, 1 + levels]: abnormal, then grade >= 1, 2, ..."""
        embedding = self.dropout(self.encoder(batch))
        logits: Tensor = self.head(embedding)[:, None]
        if self.grades is not None:
            logits = torch.cat([logits, self.grades(pooled(embedding))], dim=1)
        return logits

    def train(self, mode: bool = True) -> Network:
        """As `nn.Module.train`, but what is frozen stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        for module in self.tuned:
            module.train(mode)
        return self

    def learning_state(self) -> dict[str, Tensor]:
        """Everything that training changes, by name: trainable weights, and running statistics of tuned modules."""
        learned: dict[str, Tensor] = {name: one for name, one in self.named_parameters() if one.requires_grad}
        places = {id(module): name for name, module in self.named_modules()}
        for module in self.tuned:
            prefix = places[id(module)]
            learned.update({f"{prefix}.{name}": buffer for name, buffer in module.named_buffers()})
        return {name: tensor.detach() for name, tensor in learned.items()}

    @torch.no_grad()
    def load_learning_state(self, state: dict[str, Tensor]) -> None:
        """Put `learning_state` back, in place."""
        own = self.learning_state()
        for name, tensor in state.items():
            own[name].copy_(tensor)


class MovingAverage:
    """Exponential moving average of a network's learning state, warmed up over its first steps."""

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.state = {name: tensor.clone() for name, tensor in network.learning_state().items()}

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Take in the network's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in network.learning_state().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 - decay)
            else:
                self.state[name].copy_(tensor)

    @contextmanager
    def applied(self, network: Network) -> Iterator[None]:
        """Run the body with the averaged weights in the network."""
        raw = {name: tensor.clone() for name, tensor in network.learning_state().items()}
        network.load_learning_state(self.state)
        try:
            yield
        finally:
            network.load_learning_state(raw)


def targets_of(images: Sequence[LabeledImage], *, graded: bool) -> Tensor:
    """What each image should answer: [N, 1 + levels] of 0, 1 and UNKNOWN, the label first, then grade >= 1, 2, ...

    Levels are as many as the highest grade among the images; 0 where none is graded or `graded` is off.
    """
    labels = torch.tensor([[float(image.label)] for image in images])
    levels = max((image.grade or 0 for image in images), default=0) if graded else 0
    rows = [
        [UNKNOWN if image.grade is None else float(image.grade >= level) for level in range(1, levels + 1)]
        for image in images
    ]
    return torch.cat([labels, torch.tensor(rows).view(len(images), levels)], dim=1)


def loss_of(
    logits: Tensor, targets: Tensor, *, smoothing: float, grade_weight: float, positive_weight: float
) -> Tensor:
    """Mean binary cross-entropy of the label, plus the weighted ones of the grades that are known; a scalar.

    Args:
        logits: [B, 1 + levels].
        targets: [B, 1 + levels] in [0, 1], or UNKNOWN.
        smoothing: share of each target moved to one half.
        grade_weight: weight of one grade beside the label's 1.
        positive_weight: weight of an abnormal label beside a normal one's 1.
    """
    known = (targets >= 0).to(logits.dtype)
    smooth = targets.clamp(min=0) * (1 - smoothing) + smoothing / 2
    weights = torch.full((targets.shape[1],), grade_weight, device=logits.device)
    weights[0] = 1.0
    balance = torch.ones_like(weights)
    balance[0] = positive_weight
    losses = functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=balance, reduction="none")
    return (losses * known * weights).sum(1).mean() / weights.sum()
