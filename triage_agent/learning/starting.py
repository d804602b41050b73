"""What training starts from: fresh weights, a bundle that we trained, or somebody's checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triage_agent.domain.errors import BundleError, ConfigurationError
from triage_agent.learning.options import ALL
from triage_agent.learning.recipe import read_recipe
from triage_agent.models.bundle import load_bundle
from triage_agent.models.compact import CompactEncoder, member_of, with_grid
from triage_agent.models.head import ATTENTION
from triage_agent.models.registry import REGISTRY, build_encoder, encoder_from_source, kind_of_source
from triage_agent.models.spec import IN_BUNDLE

if TYPE_CHECKING:
    from triage_agent.learning.options import TrainOptions
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.encoder import Encoder
    from triage_agent.models.spec import EncoderSpec


def kind_of(options: TrainOptions) -> str | None:
    """The kind of an encoder that starts from fresh weights or from a bundle; None for somebody's checkpoint.

    Raises:
        BundleError: the bundle to go on from cannot be loaded.
    """
    if options.fresh:
        return options.encoder
    return load_bundle(options.start).spec.encoder.kind if options.start is not None else None


def recipe_kind(options: TrainOptions) -> str | None:
    """The kind whose table in the recipe's file holds; a checkpoint is looked at only where the file has one for it.

    Raises:
        BundleError: the bundle or the checkpoint cannot be had.
        ConfigurationError: the recipe cannot be read.
    """
    kind = kind_of(options)
    if kind is not None or all(REGISTRY[one].learns_from != "checkpoint" for one in read_recipe(options.recipe).tables):
        return kind
    return kind_of_source(options.encoder)


def check_asked(options: TrainOptions, recipe: Recipe, kind: str | None) -> None:
    """Refuse what makes no sense before anything is read.

    Raises:
        ConfigurationError: fresh weights that would stay frozen, or members that cannot be put side by side.
    """
    usual = 0 if options.reconstructs else ALL
    if options.fresh and options.depth != usual:
        raise ConfigurationError(
            f"{options.encoder} starts from fresh weights, of which {options.depth} blocks cannot be unfrozen",
            remedy=f"leave out --unfreeze ({usual} is meant), or give a trained bundle's folder as --encoder",
        )
    if recipe.members > 1 and (kind != CompactEncoder.kind or options.depth != ALL):
        raise ConfigurationError(
            f"{recipe.members} members are for compact networks that learn as a whole", remedy="set members = 1"
        )


def starting_encoder(options: TrainOptions, recipe: Recipe, number: int = 0) -> tuple[Encoder, EncoderSpec]:
    """A member's encoder before training, and the description of where it comes from.

    Raises:
        BundleError: it cannot be had, or the bundle does not carry its encoder's weights.
        ConfigurationError: it has fewer blocks than are to be unfrozen, or a width that attention heads cannot share.
    """
    encoder, spec = _start(options, recipe, number)
    blocks, depth = len(encoder.levels()), options.depth
    if depth != ALL and depth > blocks:
        raise ConfigurationError(
            f"{depth} blocks to unfreeze, the {encoder.kind} encoder has {blocks}",
            remedy=f"give at most {blocks}, or all",
        )
    if recipe.head_kind == ATTENTION and encoder.embedding_dim % recipe.attention_heads:
        raise ConfigurationError(
            f"{recipe.attention_heads} attention heads cannot share the {encoder.kind} encoder's "
            f"{encoder.embedding_dim} numbers",
            remedy=f"set attention_heads to a number that divides {encoder.embedding_dim} in --recipe",
        )
    return encoder, spec


def _start(options: TrainOptions, recipe: Recipe, number: int) -> tuple[Encoder, EncoderSpec]:
    size = recipe.stages[-1].size if recipe.stages else None
    if options.start is not None:
        bundle = load_bundle(options.start)
        spec = bundle.spec.encoder
        if spec.source != IN_BUNDLE:
            raise BundleError(
                f"the bundle {options.start} does not carry its encoder", remedy=f"give --encoder {spec.source}"
            )
        encoder = build_encoder(spec, bundle.folder)
        if isinstance(encoder, CompactEncoder) and options.depth == ALL:
            encoder = member_of(encoder, number, size or encoder.image_size)
        elif size and encoder.resizable:
            encoder = _at(encoder, size)
        return _gridded(encoder, recipe), spec
    if options.fresh:
        sized = {"image_size": size} if size else {}
        encoder = REGISTRY[options.encoder].load()({**recipe.encoder, **sized})
        return _gridded(encoder, recipe), encoder_from_source(options.encoder)[1]
    return encoder_from_source(options.encoder, recipe.pooling, recipe.grid)


def _gridded(encoder: Encoder, recipe: Recipe) -> Encoder:
    """The compact encoder with a grid of tokens, where the recipe's head asks for one."""
    if not recipe.pooling:
        return encoder
    if not isinstance(encoder, CompactEncoder):
        raise ConfigurationError(
            f"a {encoder.kind} encoder has no {recipe.pooling} of tokens", remedy="leave out --head"
        )
    return with_grid(encoder, recipe.grid)


def _at(encoder: Encoder, size: int) -> Encoder:
    """The same weights for another input size."""
    return type(encoder).restore({**encoder.config, "image_size": size}, encoder.state_dict())
