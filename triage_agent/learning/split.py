"""Which patients are learnt from, and which are held back to judge, calibrate and set thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from triage_agent.learning.mura import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage


def split_patients(images: Sequence[LabeledImage], held_back: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to learn from and indices held back; no patient is in both.

    Patients are drawn root by root and region by region (that which a patient is first listed with), so that each is
    held back in proportion, and so that a root's split is the same whatever other roots it is read with.

    Raises:
        DataError: there are too few patients, or one side lacks a class.
    """
    home: dict[str, tuple[str, str]] = {}
    for image in images:
        home.setdefault(image.patient, (image.patient.rpartition("/")[0], image.anatomy))
    held: set[str] = set()
    for group in sorted(set(home.values())):
        patients = sorted(patient for patient, place in home.items() if place == group)
        count = round(len(patients) * held_back)
        held.update(np.random.default_rng(seed).permutation(patients)[:count].tolist())
    mask = torch.tensor([image.patient in held for image in images])
    learn, judge = torch.where(~mask)[0], torch.where(mask)[0]
    for name, side in (("learn from", learn), ("hold back", judge)):
        labels = {images[int(index)].label for index in side}
        if labels != {0, 1}:
            raise DataError(
                f"of {len(home)} patients, those to {name} do not have both normal and abnormal images",
                remedy="give more patients",
            )
    return learn, judge
