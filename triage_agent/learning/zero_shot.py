"""Bundles for a site without training data: MedSigLIP's text prompts, or a question to MedGemma. Nothing is trained.

With a few hundred labelled studies such a bundle is calibrated; without them it says that it is not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.learning.evaluate import evaluate
from triage_agent.learning.finish import judge
from triage_agent.learning.mura import DataError, names_of_roots, read_roots
from triage_agent.learning.pixels import read_window, windows
from triage_agent.learning.thresholds import Targets, calibrate
from triage_agent.learning.zero_shot_card import zero_shot_card
from triage_agent.models.bundle import BundleSpec, EncoderSpec, HeadSpec, Thresholds, write_bundle
from triage_agent.models.calibration import apply_platt
from triage_agent.models.checkpoint import file_digests, is_hub_id, locate, text_name
from triage_agent.models.prompts import read_prompts
from triage_agent.models.registry import REGISTRY, detect_kind, encoder_from_source
from triage_agent.models.scorer import load_scorer
from triage_agent.models.spec import Question, TextPrompts
from triage_agent.models.tokenizer import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.models.prompts import Prompts
    from triage_agent.models.scorer import Scorer
    from triage_agent.models.zero_shot import ZeroShotScorer

STUDIES = 400
UNVALIDATED = "Zero-shot and uncalibrated: not validated on any data. Not for clinical use."
_CALIBRATED = (
    "Zero-shot, calibrated on {studies} studies of {roots}. Not for clinical use until validated where it is used."
)
_FIXED = "fixed; not chosen on any data"
_MEDGEMMA = "medgemma"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotOptions:
    """What `bundle zero-shot` is asked for.

    Attributes:
        encoder: MedSigLIP's, SigLIP's or MedGemma-it's folder or hub id (`owner/name` or `owner/name@revision`).
        out: the bundle's folder.
        prompts: a TOML file in place of the built-in sentences and questions.
        anatomies: the regions of the bundle; all that the file has where none are named.
        data: MURA-layout roots to calibrate and measure on; none leaves the bundle uncalibrated.
        studies: of the `train` split, at most so many are drawn to calibrate on.
        seed: fixes which.
        device: "auto", "cpu", "cuda".
        name, version: the bundle's.
        licence: the weights' terms, where the encoder does not bring its own.
        created: the bundle's date; now if None.
    """

    encoder: str
    out: Path
    prompts: Path | None = None
    anatomies: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()
    studies: int = STUDIES
    seed: int = 0
    device: str = "auto"
    name: str = ""
    version: str = "1"
    licence: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the two kinds of bundle differ in."""

    encoder: EncoderSpec
    head: HeadSpec
    zero_shot: TextPrompts | Question
    tensors: dict[str, Tensor]


def make_zero_shot(options: ZeroShotOptions, progress: Callable[[str], None]) -> Path:
    """Write a zero-shot bundle; returns its folder.

    Raises:
        BundleError: the checkpoint is not there or lacks a part.
        ConfigurationError: the prompts cannot be used.
        DataError: the data cannot be read, or has one class only.
    """
    prompts = read_prompts(options.prompts)
    regions = prompts.chosen(options.anatomies)
    name, revision = _source(options.encoder)
    progress(f"reading {name}")
    kind = detect_kind(locate(name, revision, None), name)
    make = _question if kind == _MEDGEMMA else _prompted
    parts = make(options.encoder, prompts, regions)
    spec = BundleSpec(
        name=options.name or f"{kind}-zero-shot",
        version=options.version,
        created=options.created or datetime.now(UTC).replace(microsecond=0),
        encoder=parts.encoder,
        head=parts.head,
        zero_shot=parts.zero_shot,
        thresholds=Thresholds(abnormal_rule=_FIXED, alert_rule=_FIXED),
        anatomies=regions,
        licence=REGISTRY[kind].licence or options.licence,
        notice=_notice(kind, UNVALIDATED),
    )
    if options.data:
        spec = _calibrated(options, spec, parts.tensors, progress)
    card = zero_shot_card(spec, options.encoder, options.prompts, options.out)
    return write_bundle(options.out, spec, parts.tensors, None, card)


def _prompted(source: str, prompts: Prompts, regions: Sequence[str]) -> _Parts:
    """MedSigLIP, or another SigLIP with both towers: the sentences are embedded here, once."""
    from triage_agent.models.text import TextTower  # noqa: PLC0415 - brings transformers' text models
    from triage_agent.models.zero_shot import PROMPTS  # noqa: PLC0415 - as above

    encoder, spec = encoder_from_source(source)
    if spec.pooling != "head":
        raise BundleError(f"the vision tower of {source} has no head", remedy="give google/medsiglip-448 or its folder")
    name, revision = _source(source)
    tower = TextTower.from_checkpoint(locate(name, spec.revision or revision, text_name, FILES))
    sets = {region: prompts.sentences(region) for region in regions}
    default = prompts.sentences(None)
    rows = torch.stack([tower.embed(one) for one in (default, *sets.values())])
    if rows.shape[-1] != encoder.embedding_dim:
        raise BundleError(
            f"texts have {rows.shape[-1]} numbers, images {encoder.embedding_dim}", remedy="give one whole checkpoint"
        )
    zero_shot = TextPrompts(
        default=default,
        regions=sets,
        scale=tower.scale,
        text_digest=tower.digest,
        tokenizer=tower.tokenizer_digest,
    )
    return _Parts(spec, HeadSpec(kind="prompts", input_dim=encoder.embedding_dim), zero_shot, {PROMPTS: rows})


def _question(source: str, prompts: Prompts, regions: Sequence[str]) -> _Parts:
    """MedGemma: the question becomes token ids here, once; the files of its weights are digested."""
    from triage_agent.models.chat import Chat  # noqa: PLC0415 - brings transformers' Gemma
    from triage_agent.models.question import DEFAULT, NO, YES, image_size  # noqa: PLC0415 - as above

    name, revision = _source(source)
    folder = locate(name, revision, str, FILES)
    chat = Chat.from_checkpoint(folder)
    (yes, yes_tokens), (no, no_tokens) = chat.answer("yes"), chat.answer("no")
    questions = {region: prompts.question(region) for region in regions}
    default = prompts.question(None)
    tensors = {DEFAULT: chat.prompt(default), YES: yes, NO: no}
    tensors |= {region: chat.prompt(question) for region, question in questions.items()}
    hub = is_hub_id(name)
    spec = EncoderSpec(
        kind=_MEDGEMMA,
        source=name if hub else str(folder),
        revision=folder.name if hub else None,
        image_size=image_size(folder),
        pooling="none",
    )
    zero_shot = Question(default=default, regions=questions, yes=yes_tokens, no=no_tokens, files=file_digests(folder))
    return _Parts(spec, HeadSpec(kind="question", input_dim=chat.width), zero_shot, tensors)


def _calibrated(
    options: ZeroShotOptions, spec: BundleSpec, tensors: dict[str, Tensor], progress: Callable[[str], None]
) -> BundleSpec:
    """The description with calibration, thresholds and figures measured on the site's data."""
    images = _drawn(options, spec.anatomies)
    with TemporaryDirectory() as work:
        draft = Path(work) / "draft"
        scorer = load_scorer(write_bundle(draft, spec, tensors, None, "draft"), options.device)
        progress(f"calibrating on {len(images)} images")
        logits = _logits(scorer, images)
        del scorer  # a second copy of a language model may not fit beside it
        found = calibrate(images, logits, Targets())
        drawn = _described(options, images)
        notice = _CALIBRATED.format(studies=drawn["studies"], roots=", ".join(drawn["roots"]))
        spec = spec.model_copy(
            update={
                "calibration": found.calibration,
                "thresholds": found.thresholds,
                "conformal": found.conformal,
                "training_data": {"trained": False, "calibration": drawn},
                "notice": _notice(spec.encoder.kind, notice),
            }
        )
        probabilities = apply_platt(logits, found.calibration, [image.anatomy for image in images])
        judged = asdict(judge(images, probabilities, found.thresholds))
        valid = _valid(options, write_bundle(draft, spec, tensors, None, "draft"), progress)
    return spec.model_copy(update={"metrics": {"calibration": judged, "valid": valid}})


def _drawn(options: ZeroShotOptions, regions: Sequence[str]) -> list[LabeledImage]:
    """Images of the bundle's regions, whole patients, until `studies` are reached.

    Raises:
        DataError: there are none, or they are of one class.
    """
    images = [image for image in read_roots(options.data, "train") if image.anatomy in regions]
    patients = sorted({image.patient for image in images})
    studies: dict[str, set[str]] = {patient: set() for patient in patients}
    for image in images:
        studies[image.patient].add(image.study)
    chosen: set[str] = set()
    count = 0
    for patient in np.random.default_rng(options.seed).permutation(patients).tolist():
        if count >= options.studies:
            break
        chosen.add(patient)
        count += len(studies[patient])
    drawn = [image for image in images if image.patient in chosen]
    if {image.label for image in drawn} != {0, 1}:
        raise DataError(
            f"{len(drawn)} images of the bundle's regions do not hold both normal and abnormal ones",
            remedy="give more studies, or other --anatomy",
        )
    return drawn


def _logits(scorer: Scorer | ZeroShotScorer, images: Sequence[LabeledImage]) -> NDArray[np.float64]:
    found = []
    for _, window in windows(images):
        displays = read_window(window, lambda display: display)
        found.append(scorer.logits(displays, [image.anatomy for image in window]))
    return np.concatenate(found)


def _described(options: ZeroShotOptions, images: Sequence[LabeledImage]) -> dict[str, Any]:
    return {
        "roots": names_of_roots(options.data),
        "split": "train",
        "images": len(images),
        "abnormal": sum(image.label for image in images),
        "studies": len({image.study for image in images}),
        "patients": len({image.patient for image in images}),
        "anatomies": sorted({image.anatomy for image in images}),
        "seed": options.seed,
    }


def _valid(options: ZeroShotOptions, draft: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Figures on the `valid` split of every root that has one, by the root's name."""
    reports: dict[str, Any] = {}
    for name, root in zip(names_of_roots(options.data), options.data, strict=True):
        if (root / "valid_image_paths.csv").is_file():
            progress(f"measuring on the valid split of {name}")
            report = evaluate(root, draft, device=options.device, seed=options.seed).to_json()
            reports[name] = {key: report[key] for key in ("overall", "anatomies", "n", "images")}
    return reports


def _source(encoder: str) -> tuple[str, str | None]:
    """A folder or hub id, and the revision that stands behind its @."""
    if Path(encoder).expanduser().is_dir():
        return encoder, None
    name, _, revision = encoder.partition("@")
    return name, revision or None


def _notice(kind: str, state: str) -> str:
    return " ".join(part for part in (REGISTRY[kind].notice, state) if part)
