"""Which weights learn how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Parameter

    from triage_agent.learning.network import Network
    from triage_agent.learning.recipe import Recipe


def parameter_groups(network: Network, recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's parameter groups: the encoder at its own rate, and no decay on biases, norms and gates' offsets.

    Of a tower's unfrozen blocks the last has the encoder's rate and each one before it `layer_decay` of its
    successor's: early blocks hold what is common to all images (discriminative fine-tuning, Howard and Ruder 2018).
    """
    groups: list[dict[str, Any]] = []
    rate = recipe.encoder_learning_rate
    whole = network.encoder in network.tuned
    rest = {id(one): one for one in network.encoder.parameters()} if whole else {}
    tuned = {id(block) for block in network.tuned}
    for level in reversed(network.encoder.levels()):
        learning = [block for block in level if whole or id(block) in tuned]
        parameters = [parameter for block in learning for parameter in block.parameters()]
        groups += _split_by_decay(parameters, rate, recipe.weight_decay)
        rate *= recipe.layer_decay
        for parameter in parameters:
            rest.pop(id(parameter), None)
    groups += _split_by_decay(list(rest.values()), rate, recipe.weight_decay)  # of a whole encoder: its embeddings
    groups += _split_by_decay(list(network.head.parameters()), recipe.learning_rate, recipe.weight_decay)
    if network.grades is not None:
        groups += _split_by_decay(list(network.grades.parameters()), recipe.learning_rate, recipe.weight_decay)
    return [group for group in groups if group["params"]]


def _split_by_decay(parameters: list[Parameter], rate: float, decay: float) -> list[dict[str, Any]]:
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [one for one in learned if one.ndim > 1], "lr": rate, "weight_decay": decay},
        {"params": [one for one in learned if one.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]
