"""Head-only training: embed every image once, keep the embeddings on disk, train a small head on them."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from triage_agent.learning.fit import Epoch
from triage_agent.learning.metrics import auroc
from triage_agent.learning.network import loss_of
from triage_agent.learning.pace import Pace
from triage_agent.learning.pixels import WINDOW, read_window
from triage_agent.learning.ranks import ALONE
from triage_agent.models.encoder import TOKENS_NDIM
from triage_agent.models.head import build_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.ranks import Ranks
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.encoder import Encoder
    from triage_agent.models.head import Head
    from triage_agent.models.spec import HeadSpec

SHARD = WINDOW  # images an embedding file: what an interruption can cost
BATCH = 8
SCORING_BATCH = 1024
SAMPLE = 8192  # images that means and deviations are taken over at most


def embed(
    images: Sequence[LabeledImage],
    encoder: Encoder,
    folder: Path,
    progress: Callable[[int, int], None],
    ranks: Ranks = ALONE,
) -> Tensor:
    """Embeddings of all images; shards already in `folder` are not computed again.

    A shard's name is a digest of the encoder's weights and configuration and of its images' paths, sizes and times.
    Several processes take turns with the shards, and all return the whole.

    Returns:
        float32 [N, embedding_dim], or float16 [N, tokens, embedding_dim] of a grid, which is large.

    Raises:
        DataError: images that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_by = json.dumps(_maker(encoder), sort_keys=True, default=str)
    device = next(encoder.parameters()).device
    shards = [images[start : start + SHARD] for start in range(0, len(images), SHARD)]
    paths = [folder / f"{_digest(made_by, shard)}.npy" for shard in shards]
    done = 0
    for number, (shard, path) in enumerate(zip(shards, paths, strict=True)):
        done += len(shard)
        if number % ranks.size == ranks.rank:
            if not path.is_file():
                _write(path, _embed_shard(shard, encoder, device).numpy())
            progress(done, len(images))
    ranks.wait()
    return _loaded(paths, len(images))


def _maker(encoder: Encoder) -> list[Any]:
    """What decides an embedding: weights, configuration, precision (a GPU's is lower), and what preprocessing does.

    The last is told by its result on a fixed image, so that a change of its code is noticed.
    """
    ramp = np.add.outer(np.linspace(0, 0.7, 131), np.linspace(0, 0.3, 97)).astype(np.float32)
    seen = hashlib.sha256(encoder.preprocess(ramp).contiguous().numpy().tobytes()).hexdigest()
    return [encoder.kind, encoder.digest(), encoder.config, str(next(encoder.parameters()).dtype), seen]


def _loaded(paths: Sequence[Path], count: int) -> Tensor:
    """The shards one below the other, without ever holding them twice."""
    whole, start = torch.zeros(0), 0
    for path in paths:
        part = torch.from_numpy(np.load(path))
        if not start:
            whole = torch.empty((count, *part.shape[1:]), dtype=part.dtype)
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


@torch.inference_mode()
def _embed_shard(shard: Sequence[LabeledImage], encoder: Encoder, device: torch.device) -> Tensor:
    encoder.eval()
    tensors = read_window(shard, encoder.preprocess)
    batches = (torch.stack(tensors[start : start + BATCH]) for start in range(0, len(tensors), BATCH))
    embedded = torch.cat([encoder(batch.to(device)).float().cpu() for batch in batches])
    if embedded.ndim < TOKENS_NDIM:
        return embedded
    largest = torch.finfo(torch.float16).max
    return embedded.clamp(-largest, largest).half()


def _digest(made_by: str, shard: Sequence[LabeledImage]) -> str:
    digest = hashlib.sha256(made_by.encode())
    for image in shard:
        status = image.path.stat()
        digest.update(f"|{image.path}|{status.st_size}|{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _write(path: Path, values: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> None:
    with NamedTemporaryFile(dir=path.parent, suffix=".part.npy", delete=False) as file:  # another run may write it too
        np.save(file, values)
    Path(file.name).replace(path)


def fit_head(
    embeddings: Tensor,
    labels: Tensor,
    learn: Tensor,
    judge: Tensor,
    spec: HeadSpec,
    recipe: Recipe,
    *,
    seed: int,
    progress: Callable[[Epoch, float], None],
    device: torch.device | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Head, list[Epoch]]:
    """Train a head in float32 on embeddings and labels [N]; returns that of the epoch best on `judge`, and all epochs.

    Args:
        embeddings: [N, D], or tokens [N, T, D]; float16 or float32.
        labels: [N] of 0 and 1.
        learn: indices to learn from.
        judge: indices whose AUROC chooses the epoch.
        spec: the head.
        recipe: every number.
        seed: fixes everything that is drawn.
        progress: told of each epoch, and how many seconds are left at most.
        device: where the head trains; the CPU if None. It comes back on the CPU.
        clock: seconds that never go back.
    """
    torch.manual_seed(seed)
    head = build_head(spec)
    _standardise(head, embeddings[learn[:: max(1, len(learn) // SAMPLE)]].float())
    head.to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    positive = float((1 - labels[learn]).sum() / labels[learn].sum().clamp(min=1)) if recipe.balance else 1.0
    history: list[Epoch] = []
    best, kept, waited, pace = -2.0, _state_of(head), 0, Pace(clock)
    while len(history) < recipe.epochs and not 0 < recipe.patience <= waited:
        loss = _head_epoch(head, optimiser, embeddings, labels, learn, recipe, positive)
        area = auroc(labels[judge].double().numpy(), head_logits(head, embeddings, judge).double().numpy())
        history.append(Epoch(len(history) + 1, recipe.epochs, 0, 0, loss, area))
        pace.did(1)
        progress(history[-1], pace.left(recipe.epochs - len(history)))
        waited += 1
        if np.nan_to_num(area, nan=-1.0) > best:
            best, kept, waited = float(np.nan_to_num(area, nan=-1.0)), _state_of(head), 0
    head.load_state_dict(kept)
    return head.to("cpu"), history


def _state_of(head: Head) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}


@torch.inference_mode()
def head_logits(head: Head, embeddings: Tensor, indices: Tensor) -> Tensor:
    """Logits [n] of some of the embeddings [N, D] or [N, T, D], dropout off; on the CPU."""
    head.eval()
    device = next(head.parameters()).device
    batches = torch.split(indices, SCORING_BATCH)
    return torch.cat([head(embeddings[batch].to(device).float()).cpu() for batch in batches])


@torch.no_grad()
def _standardise(head: Head, embeddings: Tensor) -> None:
    """Start the first layer as if embeddings had zero mean and unit variance: their scale differs by encoder."""
    vectors = embeddings.reshape(-1, embeddings.shape[-1])
    if head.pool is not None:  # keys and values are made of tokens, the query is not
        width = vectors.shape[1]
        _absorb(head.pool.attention.in_proj_weight[width:], head.pool.attention.in_proj_bias[width:], vectors)
        return
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    _absorb(first.weight, first.bias, embeddings if embeddings.ndim < TOKENS_NDIM else embeddings.mean(1))


def _absorb(weight: Tensor, bias: Tensor, inputs: Tensor) -> None:
    """Change a linear map, in place, to the same one of standardised inputs."""
    weight.div_(inputs.std(0).clamp(min=1e-4))
    bias.sub_(weight @ inputs.mean(0))


def _head_epoch(
    head: Head,
    optimiser: torch.optim.Optimizer,
    embeddings: Tensor,
    labels: Tensor,
    learn: Tensor,
    recipe: Recipe,
    positive: float,
) -> float:
    head.train()
    device = next(head.parameters()).device
    total, steps = 0.0, 0
    for batch in torch.split(learn[torch.randperm(len(learn))], recipe.batch_size):
        loss = loss_of(
            head(embeddings[batch].to(device).float())[:, None],
            labels[batch][:, None].to(device),
            smoothing=recipe.label_smoothing,
            grade_weight=0.0,
            positive_weight=positive,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, steps = total + float(loss.detach()), steps + 1
    return total / steps
