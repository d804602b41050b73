"""MedSigLIP-448's vision tower (Sellergren et al. 2025): SigLIP so400m, 448 pixels, 1152 wide, 27 layers."""

from __future__ import annotations

from typing import ClassVar

from triage_agent.models.siglip import SiglipEncoder


class MedSiglipEncoder(SiglipEncoder):
    """The tower with its attention pooling head; the text tower is not needed to embed images, and not read."""

    kind: ClassVar[str] = "medsiglip"
    default_pooling: ClassVar[str | None] = "head"
