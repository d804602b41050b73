"""Whether a bundle is as good for one group of patients, machine or view as for another, where the data say who is who.

The groups come from `{split}_metadata.csv` beside MURA's lists and from the `side` of `{split}_grades.csv`; see
`learning.mura`. Ages become bands.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

from triage_agent.learning.metrics import block, study_scores
from triage_agent.learning.mura import DataError, inside_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from triage_agent.learning.mura import LabeledImage

COLUMNS = ("sex", "age", "manufacturer", "station", "sending_ae", "view", "side")
NOT_STATED = "not stated"
FEWEST = 20  # studies; the figures of fewer say nothing
_AGE = re.compile(r"(?P<count>\d{1,3}(\.\d+)?)(?P<unit>[DWMY]?)", re.IGNORECASE)  # 63, 63.5, and DICOM's 063Y
_A_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0, "": 1.0}
_BANDS = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"))
_OLDEST = "80 and over"

Facts = dict["Path", dict[str, str]]


def read_facts(roots: Sequence[Path], split: str) -> Facts:
    """What the tables beside the lists say of each image's patient and machine, by the image's path.

    Raises:
        DataError: a table has no `image` column, or an age in it is not one.
    """
    facts: Facts = {}
    for root in roots:
        for name in (f"{split}_grades.csv", f"{split}_metadata.csv"):
            wanted = COLUMNS if "metadata" in name else ("side",)
            for image, found in _table(root / name, split, wanted):
                facts.setdefault(root.joinpath(*image), {}).update(found)
    return facts


def subgroups(
    images: Sequence[LabeledImage],
    probabilities: Sequence[float],
    facts: Facts,
    threshold: float,
    *,
    seed: int,
    resamples: int,
) -> dict[str, dict[str, Any]]:
    """Every metric for each value of each column that the data have, in the public form.

    Figures are of studies; where images of one study differ (in `view`), a study's probability in a group is the mean
    of its images that belong to it. A group of fewer than 20 studies or of one class is named with its `n` only.
    """
    found: dict[str, dict[str, Any]] = {}
    for column in COLUMNS:
        values = [facts.get(image.path, {}).get(column, NOT_STATED) for image in images]
        if set(values) != {NOT_STATED}:
            found[column] = {
                value: _figures(images, probabilities, [one == value for one in values], threshold, seed, resamples)
                for value in sorted(set(values))
            }
    return found


def age_band(text: str) -> str:
    """The band of an age in years (`63`), or as DICOM writes ages (`063Y`, `011M`; PS3.5 6.2, AS).

    Raises:
        ValueError: it is no age.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    years = float(match["count"]) / _A_YEAR[match["unit"].upper()]
    return next((band for below, band in _BANDS if years < below), _OLDEST)


def _table(path: Path, split: str, wanted: Sequence[str]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if "image" not in (rows.fieldnames or ()):
            raise DataError(f"{path} has no column 'image'", remedy="its first line names the columns")
        for row in rows:
            stated = {name: (row.get(name) or "").strip() for name in wanted}
            yield inside_split(row["image"], split), _tidy(path, {name: text for name, text in stated.items() if text})


def _tidy(path: Path, stated: Mapping[str, str]) -> dict[str, str]:
    tidy = {name: text.upper() if name in {"sex", "side", "view"} else text for name, text in stated.items()}
    if "age" in tidy:
        try:
            tidy["age"] = age_band(tidy["age"])
        except ValueError as error:
            raise DataError(f"{path} has the age {tidy['age']!r}", remedy="give ages in years") from error
    return tidy


def _figures(
    images: Sequence[LabeledImage],
    probabilities: Sequence[float],
    members: Sequence[bool],
    threshold: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    kept = [
        (image, probability)
        for image, probability, member in zip(images, probabilities, members, strict=True)
        if member
    ]
    rows = ((image.study, image.patient, image.anatomy, image.label) for image, _ in kept)
    scores = study_scores(rows, [probability for _, probability in kept])
    if len(scores) < FEWEST or len({score.label for score in scores}) == 1:
        return {"n": len(scores)}
    return block(scores, threshold, resamples=resamples, seed=seed).to_json()
