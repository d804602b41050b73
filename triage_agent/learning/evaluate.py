"""How good a bundle is on a MURA-layout data set, overall and region by region."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from triage_agent.learning.compare import Judge, comparison
from triage_agent.learning.coverage import coverage
from triage_agent.learning.details import by_image, described_studies
from triage_agent.learning.metrics import RESAMPLES, Block, StudyScore, blocks, study_scores
from triage_agent.learning.misses import worst_pictures
from triage_agent.learning.mura import LabeledImage, names_of_roots, read_roots
from triage_agent.learning.options import COMPACT
from triage_agent.learning.outliers import outliers
from triage_agent.learning.pixels import read_window, windows
from triage_agent.learning.subgroups import read_facts, subgroups
from triage_agent.learning.variants import score_images
from triage_agent.models.bundle import load_bundle
from triage_agent.models.scorer import load_scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.learning.report import Section
    from triage_agent.learning.stress import Stress
    from triage_agent.models.bundle import Bundle


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The figures of one bundle on one split.

    Attributes:
        bundle: name, version, digest and thresholds of what was evaluated.
        data: the roots and split that were read.
        images: how many images the studies had.
        overall: all studies.
        anatomies: by region, in alphabetical order.
        scores: the studies behind the figures.
        details: what only `evaluate` adds, in the public form, by its key in the document.
    """

    bundle: dict[str, Any]
    data: dict[str, Any]
    images: int
    overall: Block
    anatomies: dict[str, Block]
    scores: tuple[StudyScore, ...]
    details: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """The figures alone: `overall`, `anatomies`, `n` (studies), `images`, `bundle`, `data`."""
        return {
            "overall": self.overall.to_json(),
            "anatomies": {name: figures.to_json() for name, figures in self.anatomies.items()},
            "n": self.overall.n,
            "images": self.images,
            "bundle": self.bundle,
            "data": self.data,
        }

    def to_json(self) -> dict[str, Any]:
        """The public form, which is `report.json` and all that the page shows but the thumbnails."""
        return self.figures() | self.details


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an evaluation is asked for besides the figures of one bundle.

    Attributes:
        compare: another bundle, scored on the same studies.
        robustness: whether images are corrupted too.
        probes: whether the shortcut probes are made.
        sample: of how many studies robustness and probes are measured, at most.
        thumbnails: whether the page may show pixels of the worst misses.
        maps: of how many abnormal and normal images the page shows where the score comes from; see `models.explain`.
    """

    compare: str | Path | None = None
    robustness: bool = False
    probes: bool = False
    sample: int = 300
    thumbnails: bool = True
    maps: int = 0


def evaluate(
    data: Path | Sequence[Path],
    bundle: str | Path,
    *,
    split: str = "valid",
    out: Path | None = None,
    device: str = "auto",
    encoder_source: str | None = None,
    outlier_limit: float = 1.0,
    seed: int = 0,
    resamples: int = RESAMPLES,
    extras: Extras | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Score every image of a split, join images into studies by their mean, and measure.

    Args:
        data: one root folder or several.
        bundle: a bundle's folder, or "embedded".
        split: "train" or "valid".
        out: where to write `report.json` and `report.html`, if anywhere.
        device: "auto", "cpu", "cuda".
        encoder_source: where this site keeps the encoder's base weights, instead of where training found them.
        outlier_limit: the site's, as a multiple of the bundle's; 0 for none. What it refuses is counted.
        seed: of the bootstrap, the sample and all that is drawn.
        resamples: of the bootstrap.
        extras: comparison, robustness, probes; each costs what it scores, and is left out by default.
        progress: called with images done and images in all.

    Raises:
        DataError: the data cannot be read as it should.
        BundleError: a bundle cannot be loaded.
    """
    extras = extras or Extras()
    roots = [data] if isinstance(data, Path) else list(data)
    images, facts = read_roots(roots, split), read_facts(roots, split)
    loaded = load_bundle(bundle)
    other = load_bundle(extras.compare) if extras.compare is not None else None
    stress = _stress(images, extras, seed)
    passes = len(images) * (1 if other is None else 2) + (0 if stress is None else stress.passes)
    counter = _Counter(passes, progress or _silent)
    scorer = load_scorer(loaded, device, encoder_source=encoder_source)
    threshold = loaded.spec.thresholds.abnormal
    with few_threads(loaded.spec.encoder.kind):
        scores = score_images(scorer, images, counter.advance)
        probabilities = [score.probability for score in scores]
        stressed = {} if stress is None else stress.report(scorer, threshold, resamples, counter.advance)
    described = {"roots": names_of_roots(roots), "split": split}
    report = summarise(images, probabilities, loaded, data=described, seed=seed, resamples=resamples)
    groups = subgroups(images, probabilities, facts, threshold, seed=seed, resamples=resamples)
    single = by_image(images, probabilities, threshold, seed=seed, resamples=resamples)
    details = described_studies(report.scores, threshold) | {"by_image": single, "subgroups": groups} | stressed
    if loaded.spec.conformal is not None:
        details["conformal"] = coverage(report.scores, loaded.spec.conformal, threshold)
    if loaded.spec.outlier is not None:
        details["outliers"] = outliers(images, [score.strangeness for score in scores], outlier_limit)
    if other is not None:
        del scorer  # two large encoders need not fit into memory together
        source = encoder_source if other.spec.encoder.kind == loaded.spec.encoder.kind else None
        second = _scored(other, images, load_scorer(other, device, encoder_source=source), counter)
        details["comparison"] = _compared(report.scores, threshold, other, second, seed=seed, resamples=resamples)
    report = replace(report, details=details)
    if out is not None:
        pictures = worst_pictures(images, probabilities, report.scores, threshold) if extras.thumbnails else []
        maps = _maps(loaded, images, extras.maps, device, encoder_source) if extras.maps else []
        _write(report, pictures, maps, out)
    return report


def _stress(images: Sequence[LabeledImage], extras: Extras, seed: int) -> Stress | None:
    if not extras.robustness and not extras.probes:
        return None
    from triage_agent.learning.stress import Stress  # noqa: PLC0415 - scipy only where images are changed

    return Stress.planned(images, extras.sample, seed, corrupted=extras.robustness, probed=extras.probes)


def _scored(bundle: Bundle, images: Sequence[LabeledImage], scorer: ImageScorer, counter: _Counter) -> list[StudyScore]:
    with few_threads(bundle.spec.encoder.kind):
        scores = score_images(scorer, images, counter.advance)
        return study_scores(_rows(images), [score.probability for score in scores])


def _compared(
    first: Sequence[StudyScore],
    threshold: float,
    other: Bundle,
    second: Sequence[StudyScore],
    *,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    theirs = Judge(second, other.spec.thresholds.abnormal)
    found = comparison(Judge(first, threshold), theirs, seed=seed, resamples=resamples)
    probabilities = [score.probability for score in second]
    return {"bundle": _identity(other), **found, "probabilities": probabilities}


class _Counter:
    """Images done, over all passes."""

    def __init__(self, of: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._of, self._progress = 0, of, progress

    def advance(self, images: int) -> None:
        """So many more are done."""
        self._done += images
        self._progress(self._done, self._of)


@contextmanager
def few_threads(kind: str) -> Iterator[None]:
    """One thread for the compact encoder: its images are too small to share, and threads that wait cost more.

    Measured on two busy cores: 27 ms of processor time an image with one thread, 184 ms with two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if kind == COMPACT else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_windows(
    images: Sequence[LabeledImage],
    score: Callable[[list[NDArray[np.float32]]], Sequence[float]],
    progress: Callable[[int, int], None],
) -> list[float]:
    """One number an image from `score`, with only a window of display images in memory at a time."""
    found: list[float] = []
    for _, window in windows(images):
        found.extend(score(read_window(window, lambda display: display)))
        progress(len(found), len(images))
    return found


def summarise(
    images: Sequence[LabeledImage],
    probabilities: Sequence[float],
    bundle: Bundle,
    *,
    data: dict[str, Any],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> EvaluationReport:
    """Figures from one probability an image."""
    scores = study_scores(_rows(images), probabilities)
    threshold = bundle.spec.thresholds.abnormal
    overall, anatomies = blocks(scores, threshold, resamples=resamples, seed=seed)
    return EvaluationReport(
        bundle=_identity(bundle),
        data=data,
        images=len(images),
        overall=overall,
        anatomies=anatomies,
        scores=tuple(scores),
    )


def _rows(images: Sequence[LabeledImage]) -> Iterator[tuple[str, str, str, int]]:
    return ((image.study, image.patient, image.anatomy, image.label) for image in images)


def _identity(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.spec.name,
        "version": bundle.spec.version,
        "digest": bundle.digest,
        "threshold": bundle.spec.thresholds.abnormal,
        "alert": bundle.spec.thresholds.alert,
        "clinical_use": bundle.spec.clinical_use,
    }


def _silent(done: int, of: int) -> None:
    """Nobody is watching."""


def _maps(
    bundle: Bundle, images: Sequence[LabeledImage], count: int, device: str, encoder_source: str | None
) -> list[Section]:
    from triage_agent.learning.maps_page import maps_section  # noqa: PLC0415 - only where maps are asked for
    from triage_agent.learning.report import Section  # noqa: PLC0415 - as above
    from triage_agent.models.explain import load_explainer  # noqa: PLC0415 - as above

    return [Section("Maps", maps_section(load_explainer(bundle, device, encoder_source), images, count))]


def _write(report: EvaluationReport, pictures: Sequence[bytes], maps: Sequence[Section], out: Path) -> None:
    from triage_agent.learning.report import render  # noqa: PLC0415 - matplotlib only where a page is asked for

    out.mkdir(parents=True, exist_ok=True)
    document = report.to_json()
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8")
    (out / "report.html").write_text(render(document, pictures, maps), encoding="utf-8")
