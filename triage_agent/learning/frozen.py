"""Head-only training: embed every image once, keep the embeddings on disk, train a small head on them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from triage_agent.learning.fit import Epoch
from triage_agent.learning.metrics import auroc
from triage_agent.learning.network import loss_of
from triage_agent.learning.pixels import WINDOW, read_window
from triage_agent.models.head import build_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.encoder import Encoder
    from triage_agent.models.head import Head
    from triage_agent.models.spec import HeadSpec

SHARD = WINDOW  # images an embedding file: what an interruption can cost
BATCH = 8


def embed(
    images: Sequence[LabeledImage], encoder: Encoder, folder: Path, progress: Callable[[int, int], None]
) -> Tensor:
    """Embeddings of all images, [N, embedding_dim] float32; shards already in `folder` are not computed again.

    A shard's name is a digest of the encoder's weights and configuration and of its images' paths, sizes and times.

    Raises:
        DataError: images that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_by = json.dumps([encoder.kind, encoder.digest(), encoder.config], sort_keys=True, default=str)
    device = next(encoder.parameters()).device
    parts: list[Tensor] = []
    for start in range(0, len(images), SHARD):
        shard = images[start : start + SHARD]
        path = folder / f"{_digest(made_by, shard)}.npy"
        if not path.is_file():
            _write(path, _embed_shard(shard, encoder, device).numpy())
        parts.append(torch.from_numpy(np.load(path)))
        progress(start + len(shard), len(images))
    return torch.cat(parts)


@torch.inference_mode()
def _embed_shard(shard: Sequence[LabeledImage], encoder: Encoder, device: torch.device) -> Tensor:
    encoder.eval()
    pixels = torch.stack(read_window(shard, encoder.preprocess))
    return torch.cat([encoder(batch.to(device)).float().cpu() for batch in torch.split(pixels, BATCH)])


def _digest(made_by: str, shard: Sequence[LabeledImage]) -> str:
    digest = hashlib.sha256(made_by.encode())
    for image in shard:
        status = image.path.stat()
        digest.update(f"|{image.path}|{status.st_size}|{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _write(path: Path, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    temporary = path.with_suffix(".part.npy")
    np.save(temporary, values)
    temporary.replace(path)


def fit_head(
    embeddings: Tensor,
    labels: Tensor,
    learn: Tensor,
    judge: Tensor,
    spec: HeadSpec,
    recipe: Recipe,
    *,
    seed: int,
    progress: Callable[[Epoch], None],
) -> tuple[Head, list[Epoch]]:
    """Train a head on embeddings [N, D] and labels [N]; returns that of the epoch best on `judge`, and all epochs."""
    torch.manual_seed(seed)
    head = build_head(spec)
    _standardise(head, embeddings[learn])
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    positive = float((1 - labels[learn]).sum() / labels[learn].sum().clamp(min=1)) if recipe.balance else 1.0
    history: list[Epoch] = []
    best, kept = -2.0, {name: tensor.clone() for name, tensor in head.state_dict().items()}
    for number in range(1, recipe.epochs + 1):
        loss = _head_epoch(head, optimiser, embeddings[learn], labels[learn], recipe, positive)
        area = auroc(labels[judge].double().numpy(), head_logits(head, embeddings[judge]).double().numpy())
        history.append(Epoch(number, recipe.epochs, 0, 0, loss, area))
        progress(history[-1])
        if np.nan_to_num(area, nan=-1.0) > best:
            best, waited = float(np.nan_to_num(area, nan=-1.0)), 0
            kept = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        else:
            waited += 1
            if 0 < recipe.patience <= waited:
                break
    head.load_state_dict(kept)
    return head, history


@torch.inference_mode()
def head_logits(head: Head, embeddings: Tensor) -> Tensor:
    """Logits [N] of embeddings [N, D], dropout off."""
    return head.eval()(embeddings)  # type: ignore[no-any-return]


@torch.no_grad()
def _standardise(head: Head, embeddings: Tensor) -> None:
    """Start the first layer as if embeddings had zero mean and unit variance: their scale differs by encoder."""
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    mean, std = embeddings.mean(0), embeddings.std(0).clamp(min=1e-4)
    first.weight.div_(std)
    first.bias.sub_(first.weight @ mean)


def _head_epoch(
    head: Head, optimiser: torch.optim.Optimizer, embeddings: Tensor, labels: Tensor, recipe: Recipe, positive: float
) -> float:
    head.train()
    total, steps = 0.0, 0
    for batch in torch.split(torch.randperm(len(labels)), recipe.batch_size):
        loss = loss_of(
            head(embeddings[batch])[:, None],
            labels[batch][:, None],
            smoothing=recipe.label_smoothing,
            grade_weight=0.0,
            positive_weight=positive,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, steps = total + float(loss.detach()), steps + 1
    return total / steps
