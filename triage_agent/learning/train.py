"""`triage-agent train`: MURA-layout data in, a bundle with its calibration, thresholds, figures and card out."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from triage_agent.learning.finish import Trained, finish
from triage_agent.learning.frozen import embed, fit_head
from triage_agent.learning.join import join
from triage_agent.learning.members import describe, device_of, head_spec, train_network
from triage_agent.learning.mura import read_roots
from triage_agent.learning.network import targets_of
from triage_agent.learning.options import Material, TrainOptions, pooled
from triage_agent.learning.pace import Pace, left_in_words
from triage_agent.learning.ranks import together
from triage_agent.learning.recipe import recipe_for
from triage_agent.learning.split import split_patients
from triage_agent.models.registry import encoder_from_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from triage_agent.learning.ranks import Ranks
    from triage_agent.learning.recipe import Recipe


def train(options: TrainOptions, progress: Callable[[str], None]) -> Path:
    """Train or join, calibrate, measure on `valid` where the data has one, and write the bundle; returns its folder.

    Where torchrun started several processes they train together; only the first of them speaks and writes the bundle.

    Raises:
        DataError: the data cannot be read as it should.
        BundleError: the encoder cannot be had, or `out` is something else.
        ConfigurationError: the recipe, or a checkpoint that is not this run's.
    """
    recipe = recipe_for(
        compact=options.compact,
        started=options.start is not None,
        unfreeze=options.unfreeze,
        lora=options.lora,
        head=options.head,
        path=options.recipe,
    )
    work = options.out.with_name(f".{options.out.name}.work")
    with together() as ranks:
        heard = progress if ranks.first else _unheard
        material = gather(options, recipe)
        held_back = len(material.reference) + len(material.spare)
        heard(f"{len(material.images)} images, {held_back} of them held back")
        everywhere = pooled(material)
        if options.join:
            material = everywhere
            trained = join(options, material, heard)
        elif not options.compact and not options.unfreeze and not options.lora:
            trained = _train_head(options, recipe, material, heard, ranks)
        else:
            trained = train_network(options, recipe, material, work, heard, ranks)
    if not ranks.first:
        return options.out
    if recipe.calibrate_on == "all":
        material = everywhere
    out = finish(options, recipe, material, trained, work, progress)
    shutil.rmtree(work, ignore_errors=True)
    return out


def gather(options: TrainOptions, recipe: Recipe) -> Material:
    """Read and split the training images.

    Raises:
        DataError: as `read_roots` and `split_patients`.
    """
    images = read_roots(options.data, "train")
    learn, judge = split_patients(images, recipe.held_back, options.seed)
    first = torch.tensor([image.path.is_relative_to(options.data[0]) for image in images])
    return Material(
        images=images,
        learn=learn[first[learn]],
        extra=learn[~first[learn]],
        reference=judge[first[judge]],
        spare=judge[~first[judge]],
    )


def _train_head(
    options: TrainOptions, recipe: Recipe, material: Material, progress: Callable[[str], None], ranks: Ranks
) -> Trained:
    encoder, base = encoder_from_source(options.encoder, recipe.pooling, recipe.grid)
    device = device_of(options.device, ranks)
    encoder = encoder.for_inference(device)
    cache = options.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triage-agent"
    pace, told = Pace(time.monotonic), 0

    def embedded(done: int, of: int) -> None:
        nonlocal told
        pace.did(done - told)
        told = done
        progress(f"embedded {done} of {of} images{f', {left_in_words(pace.left(of - done))}' if done < of else ''}")

    embeddings = embed(material.images, encoder, cache / "embeddings", embedded, ranks)
    labels = targets_of(material.images, graded=False)[:, 0]
    spec = head_spec(encoder, recipe)
    head, history = fit_head(
        embeddings,
        labels,
        torch.cat([material.learn, material.extra]),
        material.reference,
        spec,
        recipe,
        seed=options.seed,
        progress=lambda epoch, left: progress(describe(epoch, left)),
        device=device,
    )
    return Trained(encoder, base, spec, dict(head.state_dict()), [history])


def _unheard(line: str) -> None:
    """What the first process says is enough."""
