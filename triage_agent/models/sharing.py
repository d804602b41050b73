"""A scorer on a device that several bundles share, and what happens when its memory is full."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog
import torch

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.models.turns import turns_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.domain.ports import ImageScorer
    from triage_agent.domain.study import ImageScore

log = structlog.get_logger(__name__)

# What libraries say that have errors of their own for it: CUDA itself, cuBLAS, cuDNN.
_FULL = ("out of memory", "STATUS_ALLOC_FAILED")


class SharedScorer:
    """A bundle's scorer on a device that it may share; implements `domain.ports.ImageScorer`.

    On a GPU bundles take turns, call by call, and one that `yields` lets the others go first: what two of them need at
    once may be more memory than there is. On the CPU they run side by side, since threads and memory are shared anyway.
    """

    def __init__(self, scorer: ImageScorer, device: str, *, yields: bool) -> None:
        """`device` is where the scorer runs: "cpu", "cuda:0"."""
        self._scorer = scorer
        self.device = device
        self.sampled_side: int | None = getattr(scorer, "sampled_side", None)  # as the encoder says, where it is ours
        self._turns = turns_on(device)
        self._first = not yields

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""
        return self._scorer.identity

    def score(
        self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()
    ) -> Sequence[ImageScore]:
        """As the scorer says; where the device's memory is full, once more after what is cached there was freed.

        Raises:
            ModelUnavailableError: it is still full: no image's fault, since every one takes the same memory.
        """
        with self._turn():
            for _ in range(2):
                try:
                    return self._scorer.score(images, anatomies)
                except RuntimeError as error:
                    if not _is_full(error):
                        raise
                # Not until here has the error gone, and with it the tensors of the frames that it went through.
                log.warning("device_memory_full", bundle=self.identity.label)
                torch.cuda.empty_cache()
        raise ModelUnavailableError(
            "the device has not enough free memory", remedy="end what else uses it, or lower [model] batch"
        )

    def _turn(self) -> AbstractContextManager[None]:
        return self._turns.take(first=self._first, party=self) if self._turns else nullcontext()


def _is_full(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _FULL)
