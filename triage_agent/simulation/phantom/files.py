"""Simulated studies written as DICOM files, with their truth in a table."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

import numpy as np

from triage_agent.domain.errors import ConfigurationError
from triage_agent.simulation.phantom.dicom import study_datasets
from triage_agent.simulation.phantom.study import ANATOMIES, PhantomStudy, simulate_study

TRUTH_FILE = "truth.csv"


class FolderNotEmptyError(ConfigurationError, ValueError):
    """The folder to write to already holds something."""


@dataclass(frozen=True)
class TruthRow:
    """What is true of one study. `path` is its folder, relative to the table; `views` are its View Positions."""

    study_instance_uid: str
    anatomy: str
    laterality: str
    abnormal: int
    kind: str
    subtlety: float
    path: str
    views: str


def write_studies(
    out: Path,
    studies: int,
    *,
    anatomy: str | None,
    abnormal_rate: float,
    seed: int,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
    long_side: int = 1024,
) -> list[TruthRow]:
    """Write simulated studies as out/<study>/<image>.dcm, and truth.csv beside them.

    Args:
        out: A folder that is empty or does not exist.
        studies: How many.
        anatomy: One of ANATOMIES, or None for all in turn.
        abnormal_rate: Share of abnormal studies, 0 to 1.
        seed: The same seed makes the same studies.
        now: When the studies are taken.
        progress: Called with the studies done and their number.
        long_side: Of the images, in pixels.

    Raises:
        FolderNotEmptyError: `out` holds something already.
        ValueError: The anatomy is unknown.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FolderNotEmptyError(f"{out} is not an empty folder", remedy="name a new folder, or empty this one")
    out.mkdir(parents=True, exist_ok=True)
    labels = np.random.default_rng([seed, 1]).random(studies) < abnormal_rate
    rows, seeds = [], np.random.SeedSequence(seed).generate_state(studies)
    for number in range(studies):
        region = anatomy or ANATOMIES[number % len(ANATOMIES)]
        study = simulate_study(region, bool(labels[number]), int(seeds[number]), long_side)
        rows.append(_write_study(out / f"study{number + 1:04d}", study, int(seeds[number]), now))
        if progress is not None:
            progress(number + 1, studies)
    _write_truth(out / TRUTH_FILE, rows)
    return rows


def _write_truth(path: Path, rows: Sequence[TruthRow]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(TruthRow)])
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def _write_study(folder: Path, study: PhantomStudy, seed: int, now: datetime) -> TruthRow:
    folder.mkdir()
    datasets = study_datasets(study, seed, now=now)
    for number, dataset in enumerate(datasets, start=1):
        dataset.save_as(folder / f"image{number}.dcm", enforce_file_format=True)
    return TruthRow(
        study_instance_uid=str(datasets[0].StudyInstanceUID),
        anatomy=study.anatomy,
        laterality=study.laterality,
        abnormal=int(study.abnormal),
        kind=study.kind,
        subtlety=round(study.subtlety, 3),
        path=folder.name,
        views=" ".join(view.position for view in study.views),
    )
