"""What `train` is asked for, and the images that it then has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from datetime import datetime

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.recipe import HeadKind

COMPACT = "compact"
BUNDLE_FILE = "bundle.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What `train` is asked for.

    Attributes:
        data: MURA-layout roots; the first is the reference that calibration and thresholds are set on.
        encoder: "compact" (fresh weights), the folder of a compact bundle (its weights, which all go on learning), or a
            MedGemma, MedSigLIP or SigLIP checkpoint's folder or hub id.
        unfreeze: how many of its last blocks learn too; the compact encoder learns as a whole.
        lora: rank of adapters that learn in the attention of these blocks (of all, if `unfreeze` is 0) in place of
            their weights; 0 for none.
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
    unfreeze: int = 0
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
    def start(self) -> Path | None:
        """The compact bundle to go on from, if that is what `encoder` names."""
        folder = Path(self.encoder)
        return folder if self.encoder != COMPACT and (folder / BUNDLE_FILE).is_file() else None

    @property
    def compact(self) -> bool:
        """Whether the compact encoder is trained, as a whole."""
        return self.encoder == COMPACT or self.start is not None


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


def pooled(material: Material) -> Material:
    """The material with the held-back images of every data set as reference: for a model that answers for all alike."""
    reference = torch.cat([material.reference, material.spare])
    return replace(material, reference=reference, spare=material.spare.new_zeros(0))
