"""A bundle's maps for who shows evidence: on a model of its own, when those that score leave the device."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from triage_agent.models.bundle import load_bundle
from triage_agent.models.explain import load_explainer
from triage_agent.models.turns import turns_on

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.models.explain import Explainer

_METHOD = "gradient"  # every trained bundle has it, and it depends on what the head says


class BundleExplainer:
    """Implements `domain.evidence.ImageExplainer`."""

    def __init__(self, explainer: Explainer, digest: str) -> None:
        self._explainer = explainer
        self._digest = digest
        device = str(next(explainer.encoder.parameters()).device)
        self._turns = turns_on(device)

    @property
    def digest(self) -> str:
        """Of the bundle whose scores it explains."""
        return self._digest

    @property
    def method(self) -> str:
        """How, in a word."""
        return _METHOD

    def explain(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `domain.evidence.ImageExplainer`."""
        with self._turns.take(first=False) if self._turns else nullcontext():
            return self._explainer.map(image, _METHOD)


def start_explainer(ref: str, device: str, encoder_source: str | None) -> BundleExplainer:
    """The explainer of a bundle.

    Raises:
        BundleError: it cannot be loaded, or is a zero-shot bundle, which has no map.
    """
    bundle = load_bundle(ref)
    return BundleExplainer(load_explainer(bundle, device, encoder_source), bundle.identity.digest)
