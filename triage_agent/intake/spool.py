"""Where received data sets are kept: durable before they are acknowledged, never altered, never overwritten."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.study import InstanceHeader
from triage_agent.intake.durable import Buffer, DurableStore, Unfinished, refusing
from triage_agent.intake.part10 import encode_preamble

_INCOMING = "incoming"
_QUARANTINE = "quarantine"
_SUFFIX = ".dcm"
_RAW = ".bin"  # bytes as they came, without file meta information
_HASH_LENGTH = 32  # hex digits; 128 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A data set that is durable; `path` is relative to the spool, `new` is False when it was there already."""

    path: str
    sha256: str
    size: int
    new: bool


class Spool:
    """A folder of Part 10 files, named by digests only.

    `incoming/<2 digits>/<digest of study UID>/<digest of SOP UID>-<digest of data set>.dcm`: no text of a data set
    reaches a file name, and a second copy with other bytes has another name, so that nothing is ever overwritten.
    """

    def __init__(self, root: Path, low_water_percent: float = 10.0, *, shared: bool = False) -> None:
        """`shared`: see `DurableStore`."""
        self.root = root
        self._low_water_percent = low_water_percent
        self._store = DurableStore(root, shared=shared)

    def write(self, encoded: Buffer, header: InstanceHeader, *, source: str) -> Stored:
        """Keep a data set as it came, behind file meta information; returns when it is durable (promise 1).

        Raises:
            StorageExhaustedError: there is no room, or the disk refuses; nothing is left behind.
        """
        digest = hashlib.sha256(encoded).hexdigest()
        path = instance_path(header, digest)
        final = self.root / path
        new = not final.exists()
        if new:
            self.check_room(len(encoded))
            preamble = encode_preamble(
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                transfer_syntax_uid=header.transfer_syntax_uid,
                source=source,
            )
            self._store.put(final, [preamble, encoded])
        else:
            self._store.confirm(final)
        return Stored(path=path, sha256=digest, size=len(encoded), new=new)

    def begin(self) -> Unfinished:
        """An unfinished file for a data set that is too long for memory; `adopt` or `quarantine_file` finishes it.

        Raises:
            StorageExhaustedError: there is no room, or the disk refuses.
        """
        self.check_room()
        return self._store.begin()

    def adopt(self, file: Unfinished, header: InstanceHeader, *, sha256: str, size: int) -> Stored:
        """Keep a data set that came into `file`, behind file meta information; returns when it is durable (promise 1).

        `sha256` and `size` are the data set's.

        Raises:
            StorageExhaustedError: there is no room, or the disk refuses.
        """
        path = instance_path(header, sha256)
        final = self.root / path
        new = not final.exists()
        if new:
            self.check_room()
            self._store.finish(file, final)
        else:
            self._store.confirm(final)
        return Stored(path=path, sha256=sha256, size=size, new=new)

    def quarantine_file(
        self, file: Unfinished, reason: str, note: Mapping[str, object], *, sha256: str, data_set_offset: int
    ) -> str:
        """As `quarantine`, for a data set that came into `file`; the note says at which offset it begins there."""
        suffix = _SUFFIX if data_set_offset else _RAW
        path = f"{_QUARANTINE}/{sha256[:2]}/{sha256}{suffix}"
        final = self.root / path
        if not final.exists():
            self.check_room()
            self._store.finish(file, final)
        self._write_note(final, {"reason": reason, "sha256": sha256, "data_set_offset": data_set_offset, **note})
        return path

    def quarantine(self, encoded: Buffer, reason: str, note: Mapping[str, object]) -> str:
        """Keep bytes that cannot go on the worklist, with a note beside them; returns their path in the spool.

        The same bytes are kept once, however often they are sent.
        """
        digest = hashlib.sha256(encoded).hexdigest()
        path = f"{_QUARANTINE}/{digest[:2]}/{digest}{_RAW}"
        final = self.root / path
        if not final.exists():
            self.check_room(len(encoded))
            self._store.put(final, [encoded])
        self._write_note(final, {"reason": reason, "sha256": digest, **note})
        return path

    def set_aside(self, path: str, reason: str, note: Mapping[str, object]) -> str:
        """Move a spool file to quarantine, with a note beside it; returns its new path in the spool."""
        name = Path(path).name
        kept = f"{_QUARANTINE}/{name[:2]}/{name}"
        self._store.move(self.root / path, self.root / kept)
        self._write_note(self.root / kept, {"reason": reason, **note})
        return kept

    def free_percent(self) -> float:
        """See `free_percent`."""
        return free_percent(self.root)

    def check_room(self, size: int = 0) -> None:
        """Raise `StorageExhaustedError` if `size` more bytes would leave less than the low-water mark."""
        check_room(self.root, self._low_water_percent, size)

    def check_ready(self) -> None:
        """Raise `StorageExhaustedError` unless there is room and the spool's disk takes a file down to its platters."""
        self.check_room()
        self._store.prove()

    def instances(self) -> Iterator[str]:
        """Paths of every kept instance, one at a time, in the order of their characters."""
        for shard in _folders(self.root / _INCOMING):
            for study in _folders(Path(shard.path)):
                with os.scandir(study.path) as files:
                    names = [
                        file.name
                        for file in files
                        if file.name.endswith(_SUFFIX) and file.is_file(follow_symlinks=False)
                    ]
                for name in sorted(names):
                    yield f"{_INCOMING}/{shard.name}/{study.name}/{name}"

    def dated_instances(self) -> Iterator[tuple[datetime, str]]:
        """The same, each with when it was written; the beginning of time where that cannot be seen."""
        return ((_written(self.root / path), path) for path in self.instances())

    def dated_set_aside(self) -> Iterator[tuple[datetime, str]]:
        """Instances that were moved to quarantine, each with when it was written."""
        files = (self.root / _QUARANTINE).glob(f"*/*{_SUFFIX}")
        return ((_written(file), str(file.relative_to(self.root))) for file in files)

    @contextmanager
    def opened(self, path: str) -> Iterator[Path]:
        """See `Keeper.opened`."""
        yield self.root / path

    def remove_stale(self) -> int:
        """Remove unfinished files of writers that are gone; returns how many."""
        return self._store.remove_stale()

    def _write_note(self, file: Path, note: Mapping[str, object]) -> None:
        text = json.dumps(note, sort_keys=True, indent=1, default=str)
        self._store.put(file.with_suffix(".json"), [text.encode()])


def free_percent(folder: Path) -> float:
    """Free disk space that the agent may use at a folder, in percent of its file system."""
    with refusing():
        disk = os.statvfs(folder)
    return 100.0 * disk.f_bavail / disk.f_blocks if disk.f_blocks else 100.0


def check_room(folder: Path, low_water_percent: float, size: int = 0) -> None:
    """Raise `StorageExhaustedError` if `size` more bytes in a folder would leave less than the low-water mark."""
    with refusing():
        disk = os.statvfs(folder)
    left = disk.f_bavail * disk.f_frsize - size
    if left < disk.f_blocks * disk.f_frsize * low_water_percent / 100:
        raise StorageExhaustedError(
            f"less than {low_water_percent:g} % of the spool's disk would be free", remedy="free disk space"
        )


def instance_path(header: InstanceHeader, digest: str) -> str:
    """Where an instance lies in a spool, by the digest of its data set: names say nothing of whose it is."""
    study, instance = _hash(header.study_instance_uid), _hash(header.sop_instance_uid)
    return f"{_INCOMING}/{study[:2]}/{study}/{instance}-{digest[:_HASH_LENGTH]}{_SUFFIX}"


def _written(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:  # looked at again, and counted, by whoever registers it
        return datetime.fromtimestamp(0, UTC)


def _hash(uid: str) -> str:
    return hashlib.sha256(uid.encode("ascii", "backslashreplace")).hexdigest()[:_HASH_LENGTH]


def _folders(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    yield from sorted(folders, key=lambda folder: folder.name)
