"""MURA's layout on disk, read and checked.

`{split}_image_paths.csv` has one image path a line and `{split}_labeled_studies.csv` a study folder and its label,
both without a header and prefixed by the root folder's name. Layout: Rajpurkar et al. 2018, MURA-v1.1.

More tables may stand beside them. `{split}_grades.csv` (columns `image` and `kl_grade`) adds an ordinal grade an
image. `{split}_boxes.csv` (columns `image`, `x0`, `y0`, `x1`, `y1`, in pixels) says where in an image its abnormality
is; one that has no row there cannot be seen. `{split}_metadata.csv` (column `image` and any of `sex`, `age` in years,
`manufacturer`, `station`, `sending_ae`, `view`, `side`) names the groups that an evaluation also looks at one by one;
it is read by `learning.subgroups` and has no part in training. A `side` in the table of grades counts too.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from triage_agent.domain.errors import TriageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SPLITS = ("train", "valid")
PATH_PARTS = 5  # split/anatomy/patient/study/image, without the root
SHOWN = 5  # how many culprits an error message names


class DataError(TriageError):
    """Training or evaluation data that is missing, contradictory or unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledImage:
    """One image and what is known about it.

    Attributes:
        path: the file.
        anatomy: MURA's region, "XR_KNEE".
        patient: the patient folder, prefixed by the root's name where several roots are read together.
        study: split, region, patient and study folder: unique in its root.
        label: 1 abnormal, 0 normal (a study's label holds for each of its images).
        grade: ordinal severity where the data has it (Kellgren-Lawrence 0 to 4), else None.
        box: x0, y0, x1, y1 around the abnormality, in shares of the side of the image's zero-padded square, if known.
        boxed: whether the data set says where abnormalities are.
    """

    path: Path
    anatomy: str
    patient: str
    study: str
    label: int
    grade: int | None = None
    box: tuple[float, float, float, float] | None = None
    boxed: bool = False


def read_split(root: Path, split: str) -> list[LabeledImage]:
    """Every image of one split, in the order of its path list.

    Raises:
        DataError: a list or a file that it names is absent, a study has no label, or a patient is in two splits.
    """
    images = list(_listed_images(root, split))
    if not images:
        raise DataError(
            f"{root / f'{split}_image_paths.csv'} names no images", remedy="give the folder of a MURA layout"
        )
    missing = [str(image.path) for image in images if not image.path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} images listed in {root} are missing: {_some(missing)}", remedy="restore them")
    _refuse_shared_patients(root, split, images)
    return images


def read_roots(roots: Sequence[Path], split: str) -> list[LabeledImage]:
    """The split of every root that has one, patients and studies kept apart by the root's place and name.

    Raises:
        DataError: as `read_split`, no root has the split, or one is named twice.
    """
    found: list[LabeledImage] = []
    if len({root.resolve() for root in roots}) < len(roots):
        raise DataError("a data set is given twice", remedy="name each folder once")
    present = [root for root in roots if (root / f"{split}_image_paths.csv").is_file()]
    if not present:
        names = ", ".join(str(root) for root in roots)
        raise DataError(f"no {split}_image_paths.csv in {names}", remedy="give the folder of a MURA layout")
    for place, root in enumerate(present):
        prefix = "" if len(present) == 1 else f"{place}-{root.name}/"
        found.extend(
            replace(image, patient=prefix + image.patient, study=prefix + image.study)
            for image in read_split(root, split)
        )
    return found


def names_of_roots(roots: Sequence[Path]) -> list[str]:
    """What each root is called in a bundle or a report: its folder's name, with a number where several have it."""
    names: list[str] = []
    for root in roots:
        name, number = root.name, 1
        while name in names:
            number += 1
            name = f"{root.name} ({number})"
        names.append(name)
    return names


def read_display(path: Path) -> NDArray[np.float32]:
    """An image file as a display image: float32 [H, W] in [0, 1], bone bright.

    Raises:
        DataError: the file is no image, or is truncated.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                return np.asarray(image, dtype=np.float32) / np.float32(65535)
            return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an image ({error})", remedy="replace or unlist it") from error


def _listed_images(root: Path, split: str) -> Iterator[LabeledImage]:
    labels = _study_labels(root, split)
    grades, boxes = _grades(root, split), _boxes(root, split)
    for row in _rows(root / f"{split}_image_paths.csv"):
        parts = inside_split(row[0], split)
        if len(parts) != PATH_PARTS:
            raise DataError(
                f"{root}/{split}_image_paths.csv lists {row[0]!r}",
                remedy=f"each line is <root>/{split}/<region>/<patient>/<study>/<image>",
            )
        study = "/".join(parts[:-1])
        if study not in labels:
            raise DataError(f"study {study} has no line in {root / f'{split}_labeled_studies.csv'}", remedy="add one")
        relative = "/".join(parts)
        yield LabeledImage(
            path=root.joinpath(*parts),
            anatomy=parts[1],
            patient=parts[2],
            study=study,
            label=labels[study],
            grade=grades.get(relative),
            box=_in_square(root.joinpath(*parts), boxes[relative]) if relative in boxes else None,
            boxed=bool(boxes),
        )


def _study_labels(root: Path, split: str) -> dict[str, int]:
    path = root / f"{split}_labeled_studies.csv"
    labels: dict[str, int] = {}
    for row in _rows(path):
        if len(row) != 2 or row[1].strip() not in {"0", "1"}:  # noqa: PLR2004 - a folder and its label
            raise DataError(f"{path} has the line {','.join(row)!r}", remedy="each line is <study folder>/,0 or 1")
        labels["/".join(inside_split(row[0], split))] = int(row[1])
    return labels


def _grades(root: Path, split: str) -> dict[str, int]:
    path = root / f"{split}_grades.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            "/".join(inside_split(row["image"], split)): int(row["kl_grade"])
            for row in csv.DictReader(file)
            if (row.get("kl_grade") or "").strip()
        }


def _boxes(root: Path, split: str) -> dict[str, tuple[float, ...]]:
    path = root / f"{split}_boxes.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return {
                "/".join(inside_split(row["image"], split)): tuple(
                    float(row[name]) for name in ("x0", "y0", "x1", "y1")
                )
                for row in csv.DictReader(file)
            }
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is not a table of boxes", remedy="its columns are image,x0,y0,x1,y1") from error


def _in_square(path: Path, box: tuple[float, ...]) -> tuple[float, float, float, float]:
    """A box in pixels as shares of the side of the padded square; see `models.compact.fit_square`."""
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} cannot be read as an image ({error})", remedy="replace or unlist it") from error
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    x0, y0, x1, y1 = box
    return (x0 + left) / side, (y0 + top) / side, (x1 + left) / side, (y1 + top) / side


def _rows(path: Path) -> Iterator[list[str]]:
    if not path.is_file():
        raise DataError(f"{path} is missing", remedy="give the folder of a MURA layout")
    with path.open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.reader(file) if row and row[0].strip())


def inside_split(listed: str, split: str) -> tuple[str, ...]:
    """A listed path below its root, whatever the root was called when the list was written."""
    parts = PurePosixPath(listed.strip()).parts
    start = parts.index(split) if split in parts else 1
    inside = parts[start:]
    if ".." in inside:
        raise DataError(f"{listed!r} leaves the data folder", remedy="correct the list")
    return inside


def _refuse_shared_patients(root: Path, split: str, images: Iterable[LabeledImage]) -> None:
    patients = {image.patient for image in images}  # one patient may be imaged in several regions
    for other in SPLITS:
        path = root / f"{other}_image_paths.csv"
        if other == split or not path.is_file():
            continue
        listed = (inside_split(row[0], other) for row in _rows(path))
        shared = sorted(patients & {parts[2] for parts in listed if len(parts) == PATH_PARTS})
        if shared:
            raise DataError(
                f"{len(shared)} patients are in both {split} and {other} of {root}: {_some(shared)}",
                remedy="move each patient to one split",
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
