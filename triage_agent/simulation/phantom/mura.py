"""Simulated studies laid out as MURA lays its folders and tables out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triage_agent.simulation.phantom.study import ANATOMIES, PhantomStudy, PhantomView, simulate_study

# Patients of the two splits never share a number or a seed.
_FIRST_PATIENT = {"train": 1, "valid": 50_001}
_MOST_PATIENTS = 49_999


def write_mura(
    out: Path,
    studies: int,
    *,
    split: str,
    seed: int,
    long_side: int = 512,
    anatomies: Sequence[str] = ANATOMIES,
    abnormal_rate: float = 0.5,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write one split of a MURA-layout set of 8-bit images; a second call adds to it.

    Args:
        out: The folder that gets `train` or `valid` and the tables; its name is the first part of their paths.
        studies: How many to add.
        split: "train" or "valid".
        seed: The same seed makes the same studies.
        long_side: Of the images, in pixels.
        anatomies: Regions, taken in turn.
        abnormal_rate: Share of abnormal studies, 0 to 1.
        processes: How many simulate side by side; the studies and their order stay the same.
        progress: Called with how many studies are done and how many there are.

    Raises:
        ValueError: The split is unknown or has no room for so many patients.
    """
    tables = _Tables(out, split, studies)
    seeds = np.random.SeedSequence([seed, _FIRST_PATIENT[split]]).generate_state(studies)
    labels = np.random.default_rng([seed, _FIRST_PATIENT[split], 1]).random(studies) < abnormal_rate
    regions = [anatomies[number % len(anatomies)] for number in range(studies)]
    simulate = partial(_simulate, long_side)
    arguments = list(zip(regions, labels.tolist(), seeds.tolist(), strict=True))
    for number, study in enumerate(_in_order(simulate, arguments, processes)):
        tables.add(study)
        if progress is not None:
            progress(number + 1, studies)


def _simulate(long_side: int, wanted: tuple[str, bool, int]) -> PhantomStudy:
    anatomy, abnormal, seed = wanted
    return simulate_study(anatomy, abnormal, seed, long_side)


def _in_order(
    simulate: Callable[[tuple[str, bool, int]], PhantomStudy], arguments: list[tuple[str, bool, int]], processes: int
) -> Iterator[PhantomStudy]:
    if processes == 1:
        yield from map(simulate, arguments)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(simulate, arguments, chunksize=8)


class _Tables:
    """The tables of one split (images, studies' labels, boxes around what is wrong), and the folders that they name."""

    def __init__(self, out: Path, split: str, studies: int) -> None:
        if split not in _FIRST_PATIENT:
            raise ValueError(f"unknown split {split!r}: use one of {', '.join(_FIRST_PATIENT)}")
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._split = out, split
        self._images, self._studies = out / f"{split}_image_paths.csv", out / f"{split}_labeled_studies.csv"
        self._boxes = out / f"{split}_boxes.csv"
        already = len(self._studies.read_text().splitlines()) if self._studies.exists() else 0
        if already + studies > _MOST_PATIENTS:
            raise ValueError(f"{split} would have more than {_MOST_PATIENTS} patients: write to another folder")
        self._patient = _FIRST_PATIENT[split] + already

    def add(self, study: PhantomStudy) -> None:
        """Write one study's images, then its lines, so that a table never names what is not there."""
        sign = "positive" if study.abnormal else "negative"
        folder = f"{self._split}/{study.anatomy}/patient{self._patient:05d}/study1_{sign}"
        names = _write_images(self._out / folder, study)
        if not self._boxes.exists():
            self._boxes.write_text("image,x0,y0,x1,y1\n")
        with self._images.open("a") as images, self._studies.open("a") as studies, self._boxes.open("a") as boxes:
            images.writelines(f"{self._out.name}/{folder}/{name}\n" for name in names)
            boxes.writelines(
                f"{folder}/{name},{','.join(map(str, view.lesion_box))}\n"
                for name, view in zip(names, study.views, strict=True)
                if view.lesion_box is not None
            )
            studies.write(f"{self._out.name}/{folder}/,{int(study.abnormal)}\n")
        self._patient += 1


def _write_images(folder: Path, study: PhantomStudy) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)  # an interrupted run may have left it
    names = []
    for number, view in enumerate(study.views, start=1):
        names.append(f"image{number}.png")
        Image.fromarray(displayed(view)).save(folder / names[-1])
    return names


def displayed(view: PhantomView) -> NDArray[np.uint8]:
    """The view through its window, 8 bit, as a screen would show it."""
    centre, width = view.window
    level = (view.pixels.astype(np.float32) - np.float32(centre - width / 2)) * np.float32(255.0 / width)
    return np.asarray(np.clip(level, 0, 255), dtype=np.uint8)
