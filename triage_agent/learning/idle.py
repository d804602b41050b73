"""What of a recipe's file does nothing in a run, told at its start: nobody shall believe to have changed something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triage_agent.learning.recipe import read_recipe
from triage_agent.learning.starting import recipe_kind

if TYPE_CHECKING:
    from triage_agent.learning.options import TrainOptions

# A head on frozen embeddings learns at one rate from embeddings that are computed once; see `frozen.fit_head`.
_IDLE_FOR_A_HEAD = frozenset(
    {
        "augmentation", "average", "bfloat16", "checkpointing", "clip", "encoder", "encoder_learning_rate",
        "extra_share", "grade_weight", "layer_decay", "stages", "stop_after", "warmup_epochs",
    }
)  # fmt: skip


def idle_lines(options: TrainOptions) -> list[str]:
    """A line for the tables of other encoders, and one for keys that the way of training has no use for.

    Raises:
        BundleError, ConfigurationError: the encoder or the recipe cannot be read.
    """
    if options.recipe is None or options.join:
        return []
    kind = recipe_kind(options)
    content = read_recipe(options.recipe)
    lines = []
    if others := sorted(content.tables.keys() - {kind}):
        names = ", ".join(f"[{name}]" for name in others)
        lines.append(f"{names} in the recipe: not for a {kind or 'checkpoint'} encoder, without effect here")
    stated = content.common.keys() | content.tables.get(kind or "", {}).keys()
    if options.depth == 0 and not options.reconstructs and (idle := sorted(stated & _IDLE_FOR_A_HEAD)):
        lines.append(f"{', '.join(idle)} in the recipe: without effect on a head alone (--unfreeze 0)")
    return lines
