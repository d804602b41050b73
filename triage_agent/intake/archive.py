"""Copies a spool, also while it is written to: its files appear whole and are never altered."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from triage_agent.intake.belonging import NAME

# What is set aside while we copy is found in the second folder, or in both: a file in both is sorted out at start.
_FOLDERS = ("incoming", "quarantine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How many files are new in the copy, and how many were there already."""

    new: int = 0
    there: int = 0


def copy_spool(source: Path, target: Path, *, link: bool = False) -> Copied:
    """Copy what `target` lacks, times included; returns when all of it is on the disk.

    Args:
        source: a spool; what its writers have not finished is left out.
        target: made where it is missing; a file that it has is the same, since names are digests.
        link: hard links instead of copies: at once and without room, on the same file system only.

    Raises:
        OSError: the disk refuses; doing it again goes on from there.
    """
    new = there = 0
    for file in _files(source):
        final = target / file.relative_to(source)
        if final.exists() and final.suffix != ".json":  # notes are written anew
            there += 1
            continue
        new += _copy(file, final, link=link)
    if (source / NAME).is_file():  # the database that is copied with it knows it; a link would follow what is written
        target.mkdir(parents=True, exist_ok=True)
        _copy(source / NAME, target / NAME, link=False)
    os.sync()
    return Copied(new=new, there=there)


def prune(copy: Path, deleted: Iterable[str]) -> int:
    """Delete from a copy of a spool what retention has deleted, by its paths; returns how many files there were.

    Raises:
        OSError: the disk refuses; doing it again goes on from there.
    """
    pruned = 0
    for path in deleted:
        file = copy / path
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        pruned += 1
        with suppress(OSError):  # others of its study are there
            file.parent.rmdir()
    return pruned


def _copy(file: Path, final: Path, *, link: bool) -> bool:
    """False where the file was deleted or set aside meanwhile."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        if link:
            os.link(file, temporary)
        else:
            shutil.copy2(file, temporary)
    except FileNotFoundError:
        return False
    temporary.replace(final)
    temporary.unlink(missing_ok=True)  # renaming a link onto another of the same file leaves both
    return True


def _files(source: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        for folder, _, files in os.walk(source / name):
            yield from (Path(folder) / file for file in files if not file.endswith(".part"))
