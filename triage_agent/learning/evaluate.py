"""How good a bundle is on a MURA-layout data set, overall and region by region."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from triage_agent.learning.metrics import RESAMPLES, Block, StudyScore, block, study_scores
from triage_agent.learning.mura import LabeledImage, read_roots
from triage_agent.learning.options import COMPACT
from triage_agent.learning.pixels import read_window, windows
from triage_agent.models.bundle import load_bundle
from triage_agent.models.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

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
    """

    bundle: dict[str, Any]
    data: dict[str, Any]
    images: int
    overall: Block
    anatomies: dict[str, Block]
    scores: tuple[StudyScore, ...]

    def to_json(self) -> dict[str, Any]:
        """The public form: `overall`, `anatomies`, `n` (studies), `images`, `bundle`, `data`."""
        return {
            "overall": self.overall.to_json(),
            "anatomies": {name: figures.to_json() for name, figures in self.anatomies.items()},
            "n": self.overall.n,
            "images": self.images,
            "bundle": self.bundle,
            "data": self.data,
        }


def evaluate(
    data: Path | Sequence[Path],
    bundle: str | Path,
    *,
    split: str = "valid",
    out: Path | None = None,
    device: str = "auto",
    encoder_source: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
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
        seed: of the bootstrap.
        resamples: of the bootstrap.
        progress: called with images done and images in all.

    Raises:
        DataError: the data cannot be read as it should.
        BundleError: the bundle cannot be loaded.
    """
    roots = [data] if isinstance(data, Path) else list(data)
    images = read_roots(roots, split)
    loaded = load_bundle(bundle)
    scorer = Scorer(loaded, device, encoder_source=encoder_source)
    with few_threads(loaded.spec.encoder.kind):
        probabilities = in_windows(
            images, lambda displays: [score.probability for score in scorer.score(displays)], progress or _silent
        )
    report = summarise(
        images,
        probabilities,
        loaded,
        data={"roots": [root.name for root in roots], "split": split},
        seed=seed,
        resamples=resamples,
    )
    if out is not None:
        _write(report, out)
    return report


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
    rows = ((image.study, image.patient, image.anatomy, image.label) for image in images)
    scores = study_scores(rows, probabilities)
    threshold = bundle.spec.thresholds.abnormal
    anatomies = {
        name: block([one for one in scores if one.anatomy == name], threshold, resamples=resamples, seed=seed)
        for name in sorted({one.anatomy for one in scores})
    }
    return EvaluationReport(
        bundle={
            "name": bundle.spec.name,
            "version": bundle.spec.version,
            "digest": bundle.digest,
            "threshold": threshold,
            "alert": bundle.spec.thresholds.alert,
            "clinical_use": bundle.spec.clinical_use,
        },
        data=data,
        images=len(images),
        overall=block(scores, threshold, resamples=resamples, seed=seed),
        anatomies=anatomies,
        scores=tuple(scores),
    )


def _silent(done: int, of: int) -> None:
    """Nobody is watching."""


def _write(report: EvaluationReport, out: Path) -> None:
    from triage_agent.learning.report import render  # noqa: PLC0415 - matplotlib only where a page is asked for

    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8")
    (out / "report.html").write_text(render(report), encoding="utf-8")
