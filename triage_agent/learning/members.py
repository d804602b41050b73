"""Training networks: one, or several independent members side by side whose logits are averaged.

Members are processes of their own, each with its share of the cores: small networks use several cores poorly, and the
mean of a few is better than one that was trained for as long.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, cast

import torch

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.crops import lesions_of
from triage_agent.learning.finish import Trained
from triage_agent.learning.fit import Epoch, Fitter, Samples, passes_of
from triage_agent.learning.lora import PREFIX, attach, merge
from triage_agent.learning.memory import checkpointed
from triage_agent.learning.network import Network, targets_of
from triage_agent.learning.options import ALL
from triage_agent.learning.pace import left_in_words
from triage_agent.learning.pixels import load_pixels
from triage_agent.learning.ranks import ALONE
from triage_agent.learning.starting import starting_encoder
from triage_agent.models.bundle import EncoderSpec, HeadSpec
from triage_agent.models.compact import CompactEncoder, joined
from triage_agent.models.registry import tuned_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue
    from pathlib import Path

    from torch import Tensor

    from triage_agent.learning.options import Material, TrainOptions
    from triage_agent.learning.ranks import Ranks
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.encoder import Encoder

POLL_SECONDS = 1.0
_told: list[Callable[[str], None]] = []  # in a member's process: whom it tells how far it is


def train_network(
    options: TrainOptions,
    recipe: Recipe,
    material: Material,
    work: Path,
    progress: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> Trained:
    """Train the encoder (its last blocks, or adapters in them) and a head.

    Raises:
        DataError: images that cannot be read.
        BundleError: the encoder cannot be had.
        ConfigurationError: a checkpoint in `work` that is not this run's, or several members in several `ranks`.
    """
    if recipe.members == 1:
        return fit_member(options, recipe, material, work, 0, progress, ranks)
    if ranks.size > 1:
        raise ConfigurationError(
            f"{recipe.members} members are processes of their own", remedy="set members = 1 in --recipe, or one process"
        )
    _side_by_side(options, recipe, material, work, progress)
    finished = replace(options, resume=True)
    return _joined([fit_member(finished, recipe, material, work, number, _quiet) for number in range(recipe.members)])


def fit_member(
    options: TrainOptions,
    recipe: Recipe,
    material: Material,
    work: Path,
    number: int,
    progress: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> Trained:
    """Train one member, or take it from its checkpoint where that is finished."""
    seed = options.seed + number
    torch.manual_seed(seed)
    encoder, base = starting_encoder(options, recipe, number)
    targets = targets_of(material.images, graded=recipe.grade_weight > 0)
    head = head_spec(encoder, recipe)
    depth = None if options.depth == ALL else options.depth
    adapters = attach(encoder, options.lora, depth or 0) if options.lora else None
    only = PREFIX if options.lora else ""
    network = Network(encoder, head, levels=targets.shape[1] - 1, unfreeze=depth, only=only)
    network.to(device_of(options.device, ranks))
    lesions = lesions_of(material.images, torch.cat([material.learn, material.extra]))
    pixels = load_pixels(material.images, encoder)
    fitter = Fitter(
        network,
        Samples(pixels, targets, material.learn, material.extra, material.reference, lesions),
        recipe,
        passes=passes_of(recipe, encoder.image_size, resizable=encoder.resizable, lesions=len(lesions.abnormal) > 0),
        seed=seed,
        checkpoint=work / f"member-{number}.pt",
        identity=_identity(options, recipe, material, base, number),
        ranks=ranks,
    )
    prefix = f"member {number + 1} of {recipe.members}, " if recipe.members > 1 else ""
    recompute = recipe.checkpointing
    if recompute is None:
        recompute = fitter.device.type == "cuda"
    learning = encoder.blocks() if depth is None else network.tuned
    with checkpointed(learning if recompute else ()):
        history = fitter.run(
            resume=options.resume, progress=lambda epoch, left: progress(prefix + describe(epoch, left))
        )
    network.to("cpu").eval()
    if adapters is not None:
        merge(adapters)
    return Trained(encoder, tuned_spec(encoder, base), head, dict(network.head.state_dict()), [history])


def describe(epoch: Epoch, seconds_left: float) -> str:
    """One line for the person who waits."""
    shown = f"crops of {epoch.crop} px from {epoch.size}" if epoch.crop else f"{epoch.size} px"
    size = f" at {shown}" if epoch.size else ""
    return (
        f"epoch {epoch.number} of {epoch.of}{size}: loss {epoch.loss:.4f}, "
        f"AUROC on held-back patients {epoch.held_back_auroc:.4f}"
        f"{f', {left_in_words(seconds_left)}' if epoch.number < epoch.of else ''}"
    )


def head_spec(encoder: Encoder, recipe: Recipe) -> HeadSpec:
    """The head that a recipe asks for, on this encoder's embedding."""
    return HeadSpec(
        kind=recipe.head_kind,
        input_dim=encoder.embedding_dim,
        attention_heads=recipe.attention_heads if recipe.head_kind == "attention" else 1,
        hidden=recipe.widths,
        dropout=recipe.dropout,
    )


def device_of(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means here; each of several processes has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", ranks.local) if name == "cuda" and ranks.size > 1 else torch.device(name)


def _side_by_side(
    options: TrainOptions, recipe: Recipe, material: Material, work: Path, progress: Callable[[str], None]
) -> None:
    """Train every member in a process of its own; what they leave is their checkpoints."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(recipe.members, cores)
    context = get_context("forkserver")  # a fork of this process would have its threads' locks, and its GPU
    context.set_forkserver_preload([__name__])  # torch is imported once, and not by each of them
    lines: SimpleQueue[str] = context.SimpleQueue()
    begin = partial(_begin, lines, cores // workers)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin) as pool:
        running = [
            pool.submit(_member_process, options, recipe, material, work, number) for number in range(recipe.members)
        ]
        ended = False
        while not ended:
            ended = not wait(running, timeout=POLL_SECONDS).not_done
            while not lines.empty():
                progress(lines.get())
        for future in running:
            future.result()


def _begin(lines: SimpleQueue[str], threads: int) -> None:
    torch.set_num_threads(threads)
    _told[:] = [lines.put]


def _member_process(options: TrainOptions, recipe: Recipe, material: Material, work: Path, number: int) -> None:
    fit_member(options, recipe, material, work, number, _told[0])


def _joined(members: list[Trained]) -> Trained:
    """One network whose logit is the mean of the members'."""
    encoder = joined([cast("CompactEncoder", member.encoder) for member in members]).eval()
    weight = torch.cat([member.head_state["layers.0.weight"] for member in members], dim=1) / len(members)
    bias = torch.stack([member.head_state["layers.0.bias"] for member in members]).mean(0)
    first = members[0]
    state: dict[str, Tensor] = {"layers.0.weight": weight, "layers.0.bias": bias}
    spec = first.head_spec.model_copy(update={"input_dim": encoder.embedding_dim})
    histories = [history for member in members for history in member.histories]
    return Trained(encoder, tuned_spec(encoder, first.encoder_spec), spec, state, histories)


def _identity(options: TrainOptions, recipe: Recipe, material: Material, base: EncoderSpec, number: int) -> str:
    """What must be the same for a checkpoint to be this run's."""
    digest = hashlib.sha256(recipe.model_dump_json().encode())
    run = [options.seed, options.depth, options.lora, base.kind, base.source, base.digest, number]
    digest.update(json.dumps(run).encode())
    for image in material.images:
        digest.update(f"{image.study}/{image.path.name}|{image.label}|{image.grade}|{image.box}\n".encode())
    return digest.hexdigest()


def _quiet(line: str) -> None:
    """What a finished member has to say has been said."""
