"""Low-rank adapters in the attention of a tower's last blocks, in place of their weights (Hu et al. 2021).

After training they are merged into the weights, so that a bundle and the scorer know nothing of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from triage_agent.domain.errors import ConfigurationError, MissingPackageError

if TYPE_CHECKING:
    from triage_agent.models.encoder import Encoder

PROJECTIONS = ("q_proj", "v_proj")  # those that Hu et al. adapt
PREFIX = "lora_"  # what peft calls the adapters' weights
_SCALE = 2  # alpha / rank


def attach(encoder: Encoder, rank: int, blocks: int) -> Any:
    """Put adapters of `rank` beside the projections of the last blocks (all of them if 0), in place.

    They change nothing until they are trained. Returns what `merge` needs.

    Raises:
        ConfigurationError: the encoder has no such projections.
        MissingPackageError: peft is not installed.
    """
    places = {id(module): name for name, module in encoder.named_modules()}
    targets = [
        f"{places[id(block)]}.{name}"
        for level in encoder.levels()[-blocks:]
        for block in level
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in PROJECTIONS
    ]
    if not targets:
        raise ConfigurationError(
            f"a {encoder.kind} encoder has no attention to adapt", remedy="leave --lora out, or give a SigLIP encoder"
        )
    try:
        from peft import LoraConfig, LoraModel  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "peft", extra="lora") from None
    config = LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules=targets, bias="none")
    return LoraModel(encoder, config, "default")


def merge(adapters: Any) -> None:
    """Add what the adapters learnt to the weights and take them out: the encoder's modules are again its own."""
    adapters.merge_and_unload()
