"""The labelled set as files: a row for each reader's last word about a study, and the images where they are wanted."""

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.feedback import LabelledStudy
from triage_agent.domain.visible import harmless
from triage_agent.labelled.deidentify import RefusedError, Secret, deidentified

COLUMNS = (
    "number",
    "study_instance_uid",
    "patient",
    "reader",
    "verdict",
    "label",
    "region",
    "finding",
    "probability",
    "bundle",
    "rule",
    "revision",
    "images",
)
LABELS_CSV, LABELS_JSON, IMAGES = "labels.csv", "labels.json", "images"

Opened = Callable[[str], AbstractContextManager[Path]]
"""A file of an image, by its path in the spool, as long as the context."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that did not leave; the path is the spool's own and stays here."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds."""

    rows: int
    images: int
    refused: tuple[Refused, ...]


def rows_of(studies: Sequence[LabelledStudy], secret: Secret) -> list[dict[str, Any]]:
    """A row each, oldest first; neither times nor notes are among it, and names are pseudonyms."""
    return [_row(number, one, secret) for number, one in enumerate(studies, 1)]


def csv_of(rows: Sequence[dict[str, Any]]) -> str:
    """As RFC 4180 has it; several images stand in one cell, parted by spaces."""
    written = StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for row in rows:
        table.writerow([_cell(row[name]) for name in COLUMNS])
    return written.getvalue()


def write_export(
    out: Path,
    studies: Sequence[LabelledStudy],
    secret: Secret,
    spool: Path | Opened | None,
    seal: Callable[[Exported], None],
) -> Exported:
    """Write the set into a new folder; `spool` where its images are wanted, too: their folder, or what gives each file.

    `seal` is called when all is written and before it gets its name: where it raises, there is no export.

    Raises:
        ConfigurationError: there is something at `out` already.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ConfigurationError(f"{out} is there already, and not empty", remedy="name a folder that is to be made")
    out.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        rows = rows_of(studies, secret)
        done = Exported(len(rows), 0, ())
        if spool is not None:
            opened = _in_folder(spool) if isinstance(spool, Path) else spool
            done = _write_images(making / IMAGES, studies, rows, secret, opened)
        (making / LABELS_CSV).write_text(csv_of(rows), encoding="utf-8", newline="")
        (making / LABELS_JSON).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        seal(done)
        making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return done


def _row(number: int, one: LabelledStudy, secret: Secret) -> dict[str, Any]:
    word, said = one.feedback, one.feedback.said
    truth = word.truth
    return {
        "number": number,
        "study_instance_uid": secret.uid(word.study_instance_uid),
        # A study without a patient's identifier is a patient of its own: better than two patients taken for one.
        "patient": secret.name("patient", one.patient_id or word.study_instance_uid),
        "reader": secret.name("reader", word.reader),
        "verdict": word.verdict.value,
        "label": truth.value if truth is not None else None,
        "region": said.region,
        "finding": said.finding.value if said.finding is not None else None,
        "probability": said.probability,
        "bundle": said.bundle,
        "rule": said.rule,
        "revision": said.revision,
        "images": [],
    }


def _cell(value: Any) -> str:
    return harmless(" ".join(value) if isinstance(value, list) else "" if value is None else str(value))


def _in_folder(root: Path) -> Opened:
    return lambda path: nullcontext(root / path)


def _write_images(
    folder: Path, studies: Sequence[LabelledStudy], rows: list[dict[str, Any]], secret: Secret, opened: Opened
) -> Exported:
    """Each study's once, whoever said how much about it."""
    done = Exported(len(rows), 0, ())
    written: dict[str, list[str]] = {}
    for one, row in zip(studies, rows, strict=True):
        uid = row["study_instance_uid"]
        if uid not in written:
            written[uid] = []
            for path in one.paths:
                try:
                    with opened(path) as file:
                        image = deidentified(file, row["patient"], secret)
                except (RefusedError, FileNotFoundError) as error:
                    why = str(error) if isinstance(error, RefusedError) else "it is not there"
                    done = replace(done, refused=(*done.refused, Refused(path, why)))
                    continue
                file = Path(uid) / f"{image.SOPInstanceUID}.dcm"
                (folder / uid).mkdir(parents=True, exist_ok=True)
                image.save_as(folder / file, enforce_file_format=True)
                written[uid].append(f"{IMAGES}/{file.as_posix()}")
                done = replace(done, images=done.images + 1)
        row["images"] = written[uid]
    return done
