"""MedGemma's vision tower (Sellergren et al. 2025): SigLIP so400m, 896 pixels, 1152 wide, 27 layers."""

from __future__ import annotations

from typing import ClassVar

from triage_agent.models.siglip import SiglipEncoder


class MedGemmaEncoder(SiglipEncoder):
    """The tower of medgemma-4b-pt, 4b-it or 1.5-4b-it; it has no pooling head, so its tokens are averaged."""

    kind: ClassVar[str] = "medgemma"
    default_pooling: ClassVar[str | None] = "mean"
