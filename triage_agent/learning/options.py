"""What `train` is asked for, and the images that it then has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage

COMPACT = "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What `train` is asked for.

    Attributes:
        data: MURA-layout roots; the first is the reference that calibration and thresholds are set on.
        encoder: "compact", or a MedGemma, MedSigLIP or SigLIP checkpoint's folder or hub id.
        unfreeze: how many of its last blocks learn too; the compact encoder learns as a whole.
        out: the bundle's folder.
        resume: go on from an interrupted run's checkpoint beside `out`.
        recipe: a TOML file over the built-in recipe.
        seed: fixes the split and everything that is drawn.
        device: "auto", "cpu", "cuda".
        cache: where embeddings are kept between runs; the user's cache folder if None.
        name, version: the bundle's.
        notes: Markdown for the model card: where the data comes from, what is known to be weak.
        licence: the weights' terms, where the encoder does not bring its own.
        created: the bundle's date; now if None.
    """

    data: tuple[Path, ...]
    encoder: str = COMPACT
    unfreeze: int = 0
    out: Path
    resume: bool = False
    recipe: Path | None = None
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None
    name: str = ""
    version: str = "1"
    notes: str = ""
    licence: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """The images of `train`, and who does what."""

    images: list[LabeledImage]
    learn: Tensor
    judge: Tensor
    reference: Tensor  # the judging images of the first root
