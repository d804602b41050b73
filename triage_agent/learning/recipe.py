"""Every number that training needs: the built-in recipes, and a TOML file that changes some of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.augment import Augmentation
from triage_agent.learning.thresholds import Targets
from triage_agent.models.conformal import ALPHAS, DEFAULT_ALPHA
from triage_agent.models.registry import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from triage_agent.learning.options import Depth


_SEE = "see `triage_agent.learning.recipe`"
HeadKind = Literal["mlp", "linear", "attention"]
WIDTHS = (512, 256)  # of the head in Google's data-efficient MedSigLIP notebook


class Stage(BaseModel):
    """A number of epochs at one input size; small sizes first learn faster (progressive resizing).

    Where `crop` is not 0, they are epochs of crops of that side, cut from images of `size` where the data says that
    lesions are and are not; see `crops`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(gt=0)
    epochs: int = Field(gt=0)
    crop: int = Field(default=0, ge=0)


class Recipe(BaseModel):
    """How a network is trained.

    Attributes:
        encoder: the configuration of an encoder that starts from fresh weights; others bring their own.
        stages: input sizes and epochs of encoders that take several sizes; the last size is the encoder's own. An
            autoencoder's are those of its reconstruction.
        epochs: epochs where there are no stages, and of a head on frozen embeddings.
        batch_size: images a step.
        learning_rate, encoder_learning_rate: peaks for what is new (head) and for what was trained before.
        layer_decay: the rate of each unfrozen block as a share of that of the block after it (Howard and Ruder 2018).
        weight_decay: AdamW's, on matrices and kernels only.
        warmup_epochs: linear rise before the cosine to zero.
        average: decay of the exponential moving average of the weights; the average is what is kept.
        clip: largest gradient norm.
        label_smoothing: share of each target moved to one half.
        grade_weight: weight of each auxiliary "grade at least k" loss beside the label's 1.
        members: how many networks are trained side by side and averaged (compact encoder and linear head only).
        hidden, dropout: the head.
        head: "linear", "mlp" (of `hidden` widths), or "attention" (a learned query pools a grid of tokens, then as
            `hidden` says); "mlp" where there are hidden widths, else "linear", if None.
        attention_heads: of the attention head.
        grid: tokens a side that the attention head pools; as many as the encoder gives by itself if None.
        extra_share: most images of the further data sets an epoch draws, as a share of the first one's.
        held_back: share of the patients of `train` kept for early stopping, calibration and thresholds.
        patience: epochs without a better AUROC on the held-back patients before stopping; 0 never stops early.
        calibrate_on: whose held-back images calibration and thresholds are set on: the first data set's, all,
            or of the others only the regions that the first lacks ("fill").
        alert_specificity: share of the normal held-back images that must stay below the alert threshold.
        sensitivity, specificity: what the abnormal threshold must reach there; with neither, Youden's index sets it.
        error_rate: of the conformal findings, where a site chooses none.
        balance: weigh abnormal images so that both classes count alike.
        stop_after: end after so many epochs, wherever the schedule is, to go on in another run; 0 runs to the end.
        bfloat16: run the forward pass in bfloat16; weights, gradients and the loss stay float32.
        checkpointing: keep only the inputs of unfrozen blocks and compute the rest again in the backward pass, which
            takes less memory and more time; on CUDA, of blocks without batch norm, if None.
        augmentation: how images are changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: dict[str, JsonValue] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0)
    encoder_learning_rate: float = Field(default=1e-5, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    average: float = Field(default=0.99, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    grade_weight: float = Field(default=0.0, ge=0)
    members: int = Field(default=1, ge=1)
    hidden: tuple[int, ...] = WIDTHS
    head: HeadKind | None = None
    attention_heads: int = Field(default=8, ge=1)
    grid: int | None = Field(default=None, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    extra_share: float = Field(default=1.0, ge=0)
    held_back: float = Field(default=0.1, gt=0, lt=1)
    patience: int = Field(default=0, ge=0)
    stop_after: int = Field(default=0, ge=0)
    calibrate_on: Literal["first", "all", "fill"] = "first"
    alert_specificity: float = Field(default=0.95, gt=0, lt=1)
    sensitivity: float | None = Field(default=None, gt=0, lt=1)
    specificity: float | None = Field(default=None, gt=0, lt=1)
    error_rate: float = Field(default=DEFAULT_ALPHA, ge=ALPHAS[0], le=ALPHAS[-1])
    balance: bool = True
    bfloat16: bool = True
    checkpointing: bool | None = None
    augmentation: Augmentation = Augmentation()

    @property
    def targets(self) -> Targets:
        """What the thresholds and findings are asked for."""
        return Targets(
            sensitivity=self.sensitivity,
            specificity=self.specificity,
            alert_specificity=self.alert_specificity,
            error_rate=self.error_rate,
        )

    @model_validator(mode="after")
    def _asks_for_one_threshold(self) -> Self:
        if self.sensitivity is not None and self.specificity is not None:
            raise ValueError("give a sensitivity or a specificity: one threshold cannot be set by both")
        return self

    @model_validator(mode="after")
    def _ends_with_whole_images(self) -> Self:
        if self.stages and self.stages[-1].crop:
            raise ValueError("the last stage must be of whole images")
        return self

    @model_validator(mode="after")
    def _members_can_be_averaged(self) -> Self:
        if self.members > 1 and self.head_kind != "linear":
            raise ValueError("members are averaged in a linear head: hidden must be empty")
        return self

    @model_validator(mode="after")
    def _mlp_has_widths(self) -> Self:
        if self.head == "mlp" and not self.hidden:
            raise ValueError("an mlp head needs hidden widths")
        return self

    @property
    def head_kind(self) -> HeadKind:
        """The head that is trained."""
        return self.head or ("mlp" if self.hidden else "linear")

    @property
    def widths(self) -> tuple[int, ...]:
        """The hidden widths that are used: a linear head has none, whatever `hidden` says."""
        return () if self.head == "linear" else self.hidden

    @property
    def pooling(self) -> str | None:
        """What the encoder is asked for: tokens where a head pools them, else what suits it."""
        return "grid" if self.head_kind == "attention" else None


COMPACT = Recipe(
    encoder={"unshuffle": 2, "widths": [24, 48, 96, 128, 192], "pooling": "mean-max"},
    stages=(Stage(size=256, crop=80, epochs=4), Stage(size=192, epochs=6), Stage(size=256, epochs=8)),
    learning_rate=2e-3,
    encoder_learning_rate=2e-3,
    weight_decay=0.05,
    average=0.995,
    clip=2.0,
    label_smoothing=0.02,
    grade_weight=0.5,
    members=2,
    hidden=(),
    dropout=0.25,
    balance=False,
    extra_share=1.0,
    calibrate_on="fill",
    augmentation=Augmentation(
        rotation=10.0,
        zoom=0.1,
        stretch=0.06,
        shift=0.05,
        gamma=0.25,
        contrast=0.2,
        brightness=0.08,
        noise=0.03,
        erase=0.1,
    ),
)
CONTINUED = COMPACT.model_copy(update={"stages": (Stage(size=192, epochs=3), Stage(size=256, epochs=6))})
# One network of a trained compact bundle, of which only the last blocks learn; at the size that it has.
CONTINUED_PARTLY = CONTINUED.model_copy(update={"stages": (), "epochs": 9, "members": 1})
DENSENET = Recipe(
    stages=(Stage(size=224, epochs=10), Stage(size=320, epochs=10)),
    learning_rate=1e-3,
    encoder_learning_rate=1e-3,
    weight_decay=0.05,
    average=0.995,
    hidden=(),
    dropout=0.2,
    augmentation=COMPACT.augmentation,
)
# `stages` are of the reconstruction, `epochs` of the head on the code. Noise would only have to be reconstructed.
AUTOENCODER = Recipe(
    stages=(Stage(size=128, epochs=20),),
    epochs=25,
    encoder_learning_rate=1e-3,
    average=0.9,
    patience=8,
    augmentation=Augmentation(noise=0.0),
)
FROZEN = Recipe(epochs=25, learning_rate=1e-4, dropout=0.1, average=0.9, patience=8, bfloat16=False)
FINE_TUNED = Recipe(
    epochs=8, learning_rate=1e-4, encoder_learning_rate=2e-5, layer_decay=0.75, grade_weight=0.5, patience=3
)
LORA = FINE_TUNED.model_copy(update={"encoder_learning_rate": 2e-4, "layer_decay": 1.0})  # adapters start at nothing
_FRESH = {"compact": COMPACT, "densenet": DENSENET, "autoencoder": AUTOENCODER}


def recipe_for(
    kind: str | None,
    depth: Depth,
    *,
    started: bool = False,
    lora: int = 0,
    head: HeadKind | None = None,
    path: Path | None = None,
) -> Recipe:
    """The built-in recipe of a way to train, with the values of a TOML file put over it.

    A table of the file that is named like a kind of encoder holds for that kind only: `[densenet] batch_size = 16`.

    Args:
        kind: the encoder's; None for somebody's checkpoint where the file has no table for such.
        depth: how much of the encoder learns from labels; 0 trains a head on frozen embeddings.
        started: it goes on from a bundle.
        lora: the rank of adapters that learn in place of the encoder's weights, if any.
        head: the kind that is asked for, whatever the file says; see `Recipe.head`.
        path: the TOML file, if any.

    The frozen head follows Google's data-efficient MedSigLIP notebook (Adam 1e-4, 25 epochs, batch 32, 512 and 256).

    Raises:
        ConfigurationError: the file is not TOML, or has a key or a value that no recipe has.
    """
    base = LORA if lora else _built_in(kind, depth, started=started)
    if path is None and head is None:
        return base
    try:
        content = read_recipe(path)
        changes = content.common | content.tables.get(kind or "", {})
        merged = base.model_dump() | _with_head(base, head) | changes | ({"head": head} if head else {})
        if "augmentation" in changes:
            merged["augmentation"] = base.augmentation.model_dump() | changes["augmentation"]
        return Recipe.model_validate(merged)
    except (TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())
        where = f"recipe {path}" if path is not None else f"a {head} head"
        raise ConfigurationError(f"{where}: {reason}", remedy=_SEE) from error


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """What a recipe's file says: for every encoder, and in tables for one kind each."""

    common: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_recipe(path: Path | None) -> RecipeFile:
    """The file's content, not checked yet; empty where there is none.

    Raises:
        ConfigurationError: it cannot be read, is not TOML, or has a key named like a kind that is no table.
    """
    if path is None:
        return RecipeFile()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"recipe {path}: {' '.join(str(error).split())}", remedy=_SEE) from error
    tables = {name: value for name, value in content.items() if name in REGISTRY}
    if wrong := [name for name, value in tables.items() if not isinstance(value, dict)]:
        raise ConfigurationError(f"recipe {path}: {wrong[0]} is a kind of encoder, not a key", remedy=_SEE)
    return RecipeFile({name: value for name, value in content.items() if name not in REGISTRY}, tables)


def _built_in(kind: str | None, depth: Depth, *, started: bool) -> Recipe:
    if kind in _FRESH and not started:
        return _FRESH[kind]
    if depth == 0:
        return FROZEN
    if kind == "compact":
        return CONTINUED if depth == "all" else CONTINUED_PARTLY
    return DENSENET if kind == "densenet" else FINE_TUNED


def _with_head(base: Recipe, head: HeadKind | None) -> dict[str, object]:
    """What a recipe needs besides for a head of another kind than its own."""
    if head in {None, "linear"}:
        return {}
    return {"members": 1, "hidden": base.hidden or (WIDTHS if head == "mlp" else ())}
