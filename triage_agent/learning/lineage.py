"""Whether weights that a run starts from may have learnt from patients that the run holds back.

A bundle says of each data set which list of images it was, and which patients were held back, each as one digest. With
these, a run can tell whether a bundle that it goes on from, or joins, held back the same patients of the same data. A
digest a patient could also tell how far two different lists overlap; but patients' folders are few and numbered, so
that whoever has such a bundle could try them all, salted or not, and learn who was among the patients. A digest of a
whole set gives nobody away.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from triage_agent.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.options import Material

SPLITS = "splits"  # the key under a bundle's training_data
STARTED = "started_from"


def splits_of(material: Material) -> list[dict[str, Any]]:
    """What a bundle says of its split, a row a data set, in the order given.

    `list_digest` is of region, patient, study and file name of every image, `held_back_digest` of the held-back
    patients, both sorted and as the data set itself names them; `patients` and `held_back` count them.
    """
    held = {material.images[place].patient for part in (material.reference, material.spare) for place in part.tolist()}
    homes: dict[str, list[LabeledImage]] = {}
    for image in material.images:
        homes.setdefault(image.patient.rpartition("/")[0], []).append(image)
    return [_row(home, images, held) for home, images in homes.items()]


def _row(home: str, images: Sequence[LabeledImage], held: set[str]) -> dict[str, Any]:
    prefix = f"{home}/" if home else ""
    patients = {image.patient for image in images}
    kept = [patient.removeprefix(prefix) for patient in patients & held]
    return {
        "list_digest": _digest(f"{image.study.removeprefix(prefix)}/{image.path.name}" for image in images),
        "held_back_digest": _digest(kept),
        "patients": len(patients),
        "held_back": len(kept),
    }


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def check_started(data: Mapping[str, Any]) -> None:
    """Refuse a start from weights that demonstrably learnt from others than this run would.

    Args:
        data: `training_data` of the bundle that the run would make: its own splits, and what it started from.

    Raises:
        ConfigurationError: a bundle was trained on one of the data sets and held back other patients of it.
    """
    own = _by_list(data)
    for bundle in _before(data):
        before = bundle["training_data"]
        if any(own.get(listed, held) != held for listed, held in _by_list(before).items()):
            raise ConfigurationError(
                f"the bundle {bundle['name']} held back other patients of the same data than this run would, and "
                "learnt from some that would now judge it",
                remedy=_remedy(data, before),
            )


def _remedy(data: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    seed, share = before["seed"], before["recipe"]["held_back"]
    if (seed, share) == (data["seed"], data["recipe"]["held_back"]):
        return "start from other weights: it was made by a version that splits patients otherwise"
    return f"give --seed {seed} and a --recipe with held_back = {share:g}, or start from other weights"


def unknown_before(data: Mapping[str, Any]) -> list[str]:
    """The bundles, by name, of which nothing tells whether they learnt from patients that this one holds back.

    They are older than this record, or were trained on other lists of images, in which the same patient may be.
    """
    own = _by_list(data)
    return [
        str(bundle["name"])
        for bundle in _before(data)
        if not (there := _by_list(bundle["training_data"])) or not there.keys() <= own.keys()
    ]


def _before(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every bundle that weights came from, those that these came from included."""
    for bundle in data.get(STARTED, ()):
        yield bundle
        yield from _before(bundle["training_data"])


def _by_list(data: Mapping[str, Any]) -> dict[str, str]:
    return {row["list_digest"]: row["held_back_digest"] for row in data.get(SPLITS, ())}
