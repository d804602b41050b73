"""From trained weights to a bundle: calibration, thresholds, figures on `valid`, and the model card."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from triage_agent.learning.card import model_card
from triage_agent.learning.evaluate import EvaluationReport, few_threads, in_windows, summarise
from triage_agent.learning.lineage import SPLITS, STARTED, splits_of
from triage_agent.learning.metrics import auroc
from triage_agent.learning.mura import names_of_roots, read_roots
from triage_agent.learning.reference import FittedReference, fit_reference, sample
from triage_agent.learning.thresholds import by_study, calibrate
from triage_agent.models.bundle import Bundle, BundleSpec, Thresholds, load_bundle, write_bundle
from triage_agent.models.calibration import apply_platt
from triage_agent.models.registry import REGISTRY
from triage_agent.models.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydantic import JsonValue
    from torch import Tensor

    from triage_agent.learning.fit import Epoch
    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.options import Material, TrainOptions
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.bundle import EncoderSpec, HeadSpec
    from triage_agent.models.encoder import Encoder

SEVERE = 3  # the grade from which the sensitivity at the alert threshold is stated
IN_BUNDLE = "bundle"
NOT_CLINICAL = "Embedded demonstration model, not for clinical use."
NOT_VALIDATED = "Not for clinical use until it has been validated where it is used."


@dataclass(frozen=True, slots=True)
class Trained:
    """What a way of training leaves behind."""

    encoder: Encoder
    encoder_spec: EncoderSpec
    head_spec: HeadSpec
    head_state: dict[str, Tensor]
    histories: list[list[Epoch]] = field(default_factory=list)  # one a member
    facts: dict[str, JsonValue] = field(default_factory=dict)  # more to say under the bundle's training_data

    @property
    def encoder_state(self) -> dict[str, Tensor] | None:
        """The encoder's weights where the bundle must carry them."""
        return dict(self.encoder.state_dict()) if self.encoder_spec.source == IN_BUNDLE else None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What the held-back studies of the reference data say about a bundle that was calibrated on them.

    A study reaches the alert threshold with any of its images; severe ones are counted by image.
    """

    images: int
    studies: int
    auroc: float
    sensitivity_at_abnormal: float
    specificity_at_abnormal: float
    sensitivity_at_alert: float
    specificity_at_alert: float
    severe_sensitivity_at_alert: float | None


def finish(
    options: TrainOptions,
    recipe: Recipe,
    material: Material,
    trained: Trained,
    work: Path,
    progress: Callable[[str], None],
) -> Path:
    """Calibrate on the held-back reference images, measure `valid` root by root, write the bundle; returns `out`.

    Everything is scored through the same `Scorer` that serves, from a draft of the bundle.
    """
    spec = _describe(options, recipe, material, trained)
    draft = load_bundle(write_bundle(work / "draft", spec, trained.head_state, trained.encoder_state, "draft"))
    scorer = Scorer(draft, options.device)
    held = [material.images[int(index)] for index in material.reference]
    progress(f"calibrating on {len(held)} held-back images")
    logits, embeddings = _examine(scorer, held)
    found = calibrate(held, logits, recipe.targets)
    regions = [image.anatomy for image in held]
    judged = judge(held, apply_platt(logits, found.calibration, regions), found.thresholds)
    reference = _reference(options, material, scorer, embeddings, progress)
    spec = spec.model_copy(
        update={
            "calibration": found.calibration,
            "thresholds": found.thresholds,
            "conformal": found.conformal,
            "outlier": reference.outlier,
            "region": reference.region,
        }
    )
    reports = _measure(options, scorer, Bundle(draft.folder, spec), progress)
    metrics: dict[str, Any] = {
        "held_back": asdict(judged),
        "valid": {name: _without_bundle(report) for name, report in reports.items()},
    }
    spec = spec.model_copy(update={"metrics": metrics})
    card = model_card(spec, options, recipe, judged, reports, trained.histories)
    return write_bundle(options.out, spec, trained.head_state, trained.encoder_state, card, reference.state)


def _examine(scorer: Scorer, images: Sequence[LabeledImage]) -> tuple[NDArray[np.float64], Tensor]:
    """Logits [N] and embeddings [N, D] of images, a window at a time."""
    logits, embeddings = [], []

    def look(displays: list[NDArray[np.float32]]) -> list[float]:
        one, other = scorer.examine(displays)
        logits.append(one)
        embeddings.append(other.float())
        return [float(logit) for logit in one]

    with few_threads(scorer.encoder_kind):
        in_windows(images, look, _silent)
    return np.concatenate(logits), torch.cat(embeddings)


def _reference(
    options: TrainOptions,
    material: Material,
    scorer: Scorer,
    held_embeddings: Tensor,
    progress: Callable[[str], None],
) -> FittedReference:
    """What the training images look like; every held-back image counts, also those that nothing is calibrated on."""
    learnt = torch.cat([material.learn, material.extra])
    chosen = [material.images[index] for index in sample(material.images, learnt, options.seed)]
    progress(f"fitting the region head and the outlier limit on {len(chosen)} images")
    held = [material.images[index] for index in material.reference.tolist()]
    spare = [material.images[index] for index in material.spare.tolist()]
    if spare:
        held_embeddings = torch.cat([held_embeddings, _examine(scorer, spare)[1]])
    return fit_reference(
        _examine(scorer, chosen)[1],
        [image.anatomy for image in chosen],
        held_embeddings,
        [image.anatomy for image in [*held, *spare]],
    )


def judge(images: Sequence[LabeledImage], probabilities: NDArray[np.float64], thresholds: Thresholds) -> HeldBack:
    """Sensitivity and specificity of both thresholds on the studies that they were set on."""
    studies = by_study(images, probabilities)
    severe = np.array([image.grade is not None and image.grade >= SEVERE for image in images])
    positive = studies.labels == 1
    abnormal, alert = studies.mean >= thresholds.abnormal, studies.highest >= thresholds.alert
    return HeldBack(
        images=len(images),
        studies=len(positive),
        auroc=auroc(studies.labels, studies.mean),
        sensitivity_at_abnormal=float(abnormal[positive].mean()),
        specificity_at_abnormal=float(1 - abnormal[~positive].mean()),
        sensitivity_at_alert=float(alert[positive].mean()),
        specificity_at_alert=float(1 - alert[~positive].mean()),
        severe_sensitivity_at_alert=float((probabilities[severe] >= thresholds.alert).mean()) if severe.any() else None,
    )


def _measure(
    options: TrainOptions,
    scorer: Scorer,
    bundle: Bundle,
    progress: Callable[[str], None],
) -> dict[str, EvaluationReport]:
    """Figures on the `valid` split of every root that has one, by the root's name."""
    reports: dict[str, EvaluationReport] = {}
    for name, root in zip(names_of_roots(options.data), options.data, strict=True):
        if not (root / "valid_image_paths.csv").is_file():
            continue
        images = read_roots([root], "valid")
        progress(f"measuring on {len(images)} valid images of {name}")
        logits, _ = _examine(scorer, images)
        regions = [image.anatomy for image in images]
        probabilities = apply_platt(logits, bundle.spec.calibration, regions).tolist()
        reports[name] = summarise(images, probabilities, bundle, data={"roots": [name], "split": "valid"})
    return reports


def _describe(options: TrainOptions, recipe: Recipe, material: Material, trained: Trained) -> BundleSpec:
    kind = REGISTRY[trained.encoder_spec.kind]
    name = options.name or options.out.resolve().name
    return BundleSpec(
        name=name,
        version=options.version,
        created=options.created or datetime.now(UTC).replace(microsecond=0),
        encoder=trained.encoder_spec,
        head=trained.head_spec,
        anatomies=tuple(sorted({image.anatomy for image in material.images})),
        training_data=training_data(options, recipe, material)
        | {"epochs": [len(one) for one in trained.histories]}
        | trained.facts,
        licence=kind.licence or options.licence,
        notice=" ".join(
            part for part in (kind.notice, NOT_CLINICAL if "embedded" in name.lower() else NOT_VALIDATED) if part
        ),
        clinical_use=False,
    )


def training_data(options: TrainOptions, recipe: Recipe, material: Material) -> dict[str, Any]:
    """What a bundle says about how it came to be; known before training starts."""
    digest = hashlib.sha256()
    for image in material.images:
        digest.update(f"{image.study}/{image.path.name}|{image.label}|{image.grade}\n".encode())
    regions: dict[str, dict[str, int]] = {}
    for image in material.images:
        counts = regions.setdefault(image.anatomy, {"images": 0, "abnormal": 0})
        counts["images"] += 1
        counts["abnormal"] += image.label
    return {
        "roots": names_of_roots(options.data),
        "images": len(material.images),
        "patients": len({image.patient for image in material.images}),
        "regions": regions,
        "held_back_images": len(material.reference) + len(material.spare),
        "reference_images": len(material.reference),
        "list_digest": digest.hexdigest(),
        SPLITS: splits_of(material),
        STARTED: _started_from(options),
        "seed": options.seed,
        "unfreeze": options.depth,
        "lora": options.lora,
        "recipe": recipe.model_dump(mode="json"),
    }


def _started_from(options: TrainOptions) -> list[dict[str, Any]]:
    """The bundles that training went on from: who they are, and what they had been trained on."""
    folders = options.join or ((options.start,) if options.start is not None else ())
    return [
        {"name": bundle.spec.name, "digest": bundle.digest, "training_data": bundle.spec.training_data}
        for bundle in map(load_bundle, folders)
    ]


def _without_bundle(report: EvaluationReport) -> dict[str, Any]:
    """A report that can stand inside the bundle it is about: no digest of that bundle."""
    return {key: value for key, value in report.figures().items() if key not in {"bundle", "data"}}


def _silent(done: int, of: int) -> None:
    """These passes are short."""
