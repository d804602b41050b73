"""Copies a spool out of an object store into a folder, for a backup, and back: keys are the names of its files."""

import os
from collections.abc import Iterator
from pathlib import Path

from triage_agent.intake.archive import Copied
from triage_agent.intake.belonging import NAME
from triage_agent.intake.objects.cache import data_set_digest
from triage_agent.intake.objects.port import ObjectStore
from triage_agent.intake.reading import mapped

_FOLDERS = ("incoming/", "quarantine/")
_NOTE = ".json"


def copy_out(store: ObjectStore, target: Path) -> Copied:
    """Copy what `target` lacks, times included; returns when all of it is on the disk.

    Raises:
        StoreAwayError: the store is away; doing it again goes on from there.
        OSError: the disk refuses; the same.
    """
    new = there = 0
    for folder in _FOLDERS:
        for found in store.listed(folder):
            final = target / found.key
            if final.exists() and final.suffix != _NOTE:  # notes are written anew
                there += 1
                continue
            if _fetched(store, found.key, final):
                new += 1
                os.utime(final, times=(found.modified.timestamp(), found.modified.timestamp()))
    _fetched(store, NAME, target / NAME)
    os.sync()
    return Copied(new=new, there=there)


def copy_in(source: Path, store: ObjectStore) -> Copied:
    """Put what a copy of a spool has, the oldest first; its id, too, which the restored database knows.

    Raises:
        StoreAwayError: the store is away; doing it again goes on from there.
        OSError: a file cannot be read.
    """
    new = there = 0
    for file in sorted(_files(source), key=lambda one: (one.stat().st_mtime, one)):
        key, body = file.relative_to(source).as_posix(), mapped(file, 0)
        digest = data_set_digest(file) if key.startswith("incoming/") else None
        if store.put(key, body, sha256=digest or ""):
            new += 1
        else:
            there += 1
    if (source / NAME).is_file():
        store.put(NAME, memoryview((source / NAME).read_bytes()))
    return Copied(new=new, there=there)


def _fetched(store: ObjectStore, key: str, final: Path) -> bool:
    """False where it was deleted or set aside meanwhile."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        store.fetch(key, temporary)
    except FileNotFoundError:
        temporary.unlink(missing_ok=True)
        return False
    temporary.replace(final)
    return True


def _files(source: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        for folder, _, files in os.walk(source / name):
            yield from (Path(folder) / file for file in files if not file.endswith(".part"))
