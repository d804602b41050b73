"""What `train` is asked for, and the images that it then has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from triage_agent.models.bundle import EMBEDDED
from triage_agent.models.registry import REGISTRY, starts_fresh

if TYPE_CHECKING:
    from datetime import datetime

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.recipe import HeadKind

COMPACT = "compact"
BUNDLE_FILE = "bundle.json"
ALL: Literal["all"] = "all"
Depth = int | Literal["all"]  # how many of an encoder's last blocks learn, or the whole of it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What `train` is asked for.

    Attributes:
        data: MURA-layout roots; the first is the reference that calibration and thresholds are set on.
        encoder: "compact", "densenet" or "autoencoder" (fresh weights), "embedded" or the folder of a bundle that
            carries its encoder's weights, or a MedGemma, MedSigLIP or SigLIP checkpoint's folder or hub id.
        unfreeze: how many of its last blocks (of each of its towers) learn too; 0 trains a head on frozen embeddings;
            None is what is usual for the encoder, see `depth`.
        lora: rank of adapters that learn in the attention of these blocks in place of their weights; 0 for none.
        head: "mlp", "linear" or "attention"; the recipe's if None.
        join: trained compact bundles to put side by side in place of training.
        out: the bundle's folder.
        resume: go on from an interrupted run's checkpoint beside `out`.
        recipe: a TOML file over the built-in recipe.
        seed: fixes the split and everything that is drawn.
        device: "auto", "cpu", "cuda".
        cache: where embeddings are kept between runs; the user's cache folder if None.
        name, version: the bundle's.
        notes: a Markdown file for the model card: where the data comes from, what is known to be weak.
        licence: the weights' terms, where the encoder does not bring its own.
        created: the bundle's date; now if None.
    """

    data: tuple[Path, ...]
    encoder: str = COMPACT
    unfreeze: Depth | None = None
    lora: int = 0
    head: HeadKind | None = None
    join: tuple[Path, ...] = ()
    out: Path
    resume: bool = False
    recipe: Path | None = None
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None
    name: str = ""
    version: str = "1"
    notes: Path | None = None
    licence: str = ""
    created: datetime | None = None

    @property
    def start(self) -> str | None:
        """The bundle to go on from, if that is what `encoder` names."""
        named = self.encoder == EMBEDDED or (Path(self.encoder) / BUNDLE_FILE).is_file()
        return self.encoder if named and not self.fresh else None

    @property
    def fresh(self) -> bool:
        """Whether the encoder starts from fresh weights."""
        return starts_fresh(self.encoder)

    @property
    def reconstructs(self) -> bool:
        """Whether the encoder learns by itself, before the head does."""
        return self.fresh and REGISTRY[self.encoder].learns_from == "reconstruction"

    @property
    def depth(self) -> Depth:
        """How much of the encoder learns from labels.

        Where `unfreeze` does not say, a network that we trained ourselves learns (on) as a whole, and a checkpoint of
        somebody else's or an autoencoder's code stays as it is; adapters go into all blocks.
        """
        if self.unfreeze is not None and not (self.lora and self.unfreeze == 0):
            return self.unfreeze
        whole = (self.fresh and not self.reconstructs) or self.start is not None or self.lora > 0
        return ALL if whole else 0


@dataclass(frozen=True, slots=True)
class Material:
    """The images of `train`, and what each is for, as indices.

    Attributes:
        images: all of them.
        learn: of the first root, to learn from.
        extra: of the other roots, to learn from.
        reference: of the first root, held back to choose the epoch, to calibrate and to set thresholds.
        spare: of the other roots, held back: their patients are as unseen as the reference's.
    """

    images: list[LabeledImage]
    learn: Tensor
    extra: Tensor
    reference: Tensor
    spare: Tensor


def judged_on(material: Material, whose: Literal["first", "all", "fill"]) -> Material:
    """The material with those held-back images as reference that calibration and thresholds are set on.

    Args:
        material: as gathered: the reference is of the first data set.
        whose: "first"; "all" data sets', for a model that answers for all alike; or "fill": of the others only the
            regions that the first lacks, so that simulated knees do not calibrate real ones.
    """
    if whose == "first":
        return material
    there = {material.images[index].anatomy for index in material.reference.tolist()}
    spare = material.spare.tolist()
    wanted = torch.tensor([whose == "all" or material.images[index].anatomy not in there for index in spare]).bool()
    reference = torch.cat([material.reference, material.spare[wanted]])
    return replace(material, reference=reference, spare=material.spare[~wanted])
