"""Training large towers in little memory."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@contextmanager
def checkpointed(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """In the body, blocks keep only their inputs and compute the rest again in the backward pass (Chen et al. 2016).

    Loss and gradients are those without it: dropout is drawn the same again. A block with batch norm is left as it is,
    since computing it twice would move its running statistics twice.
    """
    changed = [block for block in blocks if not any(isinstance(part, _BATCH_NORM) for part in block.modules())]
    for block in changed:
        block.__dict__["forward"] = partial(_recomputed, block.forward)
    try:
        yield
    finally:
        for block in changed:
            del block.__dict__["forward"]


_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def _recomputed(forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **options)
    return checkpoint(forward, *args, use_reentrant=False, **options)
