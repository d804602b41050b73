"""`triage-agent train`: MURA-layout data in, a bundle with its calibration, thresholds, figures and card out."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.autoencode import reconstruct
from triage_agent.learning.finish import Trained, finish, training_data
from triage_agent.learning.frozen import embed, fit_head
from triage_agent.learning.idle import idle_lines
from triage_agent.learning.join import join
from triage_agent.learning.lineage import check_started, unknown_before
from triage_agent.learning.members import describe, device_of, head_spec, train_network
from triage_agent.learning.mura import read_roots
from triage_agent.learning.network import targets_of
from triage_agent.learning.options import Material, TrainOptions, judged_on
from triage_agent.learning.pace import Pace, left_in_words
from triage_agent.learning.ranks import together
from triage_agent.learning.recipe import recipe_for
from triage_agent.learning.split import split_patients
from triage_agent.learning.starting import check_asked, recipe_kind, starting_encoder
from triage_agent.models.bundle import load_bundle
from triage_agent.models.doubts import doubts
from triage_agent.models.registry import tuned_spec
from triage_agent.models.spec import IN_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from triage_agent.learning.ranks import Ranks
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.autoencoder import AutoencoderEncoder


def train(options: TrainOptions, progress: Callable[[str], None]) -> Path:
    """Train or join, calibrate, measure on `valid` where the data has one, and write the bundle; returns its folder.

    Where torchrun started several processes they train together; only the first of them speaks and writes the bundle.

    Raises:
        DataError: the data cannot be read as it should.
        BundleError: the encoder cannot be had, or `out` is something else.
        ConfigurationError: the recipe, a checkpoint that is not this run's, or a bundle to go on from that learnt from
            patients that this run holds back.
    """
    recipe = recipe_of(options)
    work = options.out.with_name(f".{options.out.name}.work")
    with together() as ranks:
        heard = progress if ranks.first else _unheard
        for line in idle_lines(options):
            heard(line)
        material = gather(options, recipe)
        held_back = len(material.reference) + len(material.spare)
        heard(f"{len(material.images)} images, {held_back} of them held back")
        _check_start(options, recipe, material, heard)
        if options.join:
            # Shares are fitted on every region, also where the first data set alone calibrates.
            material = judged_on(material, "all" if recipe.calibrate_on == "all" else "fill")
            trained = join(options, material, heard)
        elif options.depth == 0:
            trained = _train_head(options, recipe, material, work, heard, ranks)
        else:
            trained = train_network(options, recipe, material, work, heard, ranks)
    if not ranks.first:
        return options.out
    if not options.join:
        material = judged_on(material, recipe.calibrate_on)
    out = finish(options, recipe, material, trained, work, progress)
    for doubt in doubts(load_bundle(out).spec):
        progress(f"WARNING: {doubt}")
    shutil.rmtree(work, ignore_errors=True)
    return out


def recipe_of(options: TrainOptions) -> Recipe:
    """The numbers that `options` train with.

    Raises:
        BundleError: the bundle to go on from cannot be loaded.
        ConfigurationError: the recipe, or what makes no sense with it.
    """
    kind = recipe_kind(options)
    recipe = recipe_for(
        kind,
        options.depth,
        started=options.start is not None,
        lora=options.lora,
        head=options.head,
        path=options.recipe,
    )
    if not options.join:
        check_asked(options, recipe, kind)
    return recipe


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


def _check_start(options: TrainOptions, recipe: Recipe, material: Material, progress: Callable[[str], None]) -> None:
    data = training_data(options, recipe, material)
    check_started(data)
    if unknown := unknown_before(data):
        progress(f"{', '.join(unknown)}: whether it learnt from patients that are held back here cannot be known")


def _train_head(
    options: TrainOptions,
    recipe: Recipe,
    material: Material,
    work: Path,
    progress: Callable[[str], None],
    ranks: Ranks,
) -> Trained:
    torch.manual_seed(options.seed)
    encoder, base = starting_encoder(options, recipe)
    facts: dict[str, JsonValue] = {}
    cache = options.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triage-agent"
    if options.reconstructs:
        if ranks.size > 1:
            raise ConfigurationError("reconstruction is learnt by one process", remedy="start it without torchrun")
        facts["reconstruction"] = reconstruct(
            cast("AutoencoderEncoder", encoder), options, recipe, material, work, progress
        )
        cache = work  # nobody else will ever have this encoder
    if base.source == IN_BUNDLE:
        base = tuned_spec(encoder, base)
    device = device_of(options.device, ranks)
    encoder = encoder.for_inference(device)
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
    return Trained(encoder, base, spec, dict(head.state_dict()), [history], facts)


def _unheard(line: str) -> None:
    """What the first process says is enough."""
