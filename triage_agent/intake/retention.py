"""Deletes originals that are past the site's retention: the record stays, and nobody who waits loses anything."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import AuditAction

log = structlog.get_logger(__name__)

_STUDIES = 100  # asked for at once
_MOST = 1000  # a tick deletes; others of the process wait for no longer
_ACTOR = "retention"
_QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How long files stay.

    Attributes:
        originals: after the study's last image, once it is done with; None for ever.
        quarantine: after they were put there; None for ever.
    """

    originals: timedelta | None
    quarantine: timedelta | None = None


class Originals(Protocol):
    """Where files are deleted."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete the originals of a study, by their paths in the spool; one that is not there is none.

        Raises:
            OSError: the disk refuses.
            StorageExhaustedError: an object store is away.
        """

    def empty_quarantine(self, seconds: float, most: int) -> int:
        """Delete what was put into quarantine so long ago, with the notes beside it; `most` at once. How many.

        Raises:
            StorageExhaustedError: an object store is away.
        """


class Folder:
    """A spool in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def delete(self, paths: Sequence[str]) -> None:
        """See `Originals.delete`."""
        for path in paths:
            (self._root / path).unlink(missing_ok=True)
        for folder in {(self._root / path).parent for path in paths} - {self._root}:
            with suppress(OSError):  # a late image lies there
                folder.rmdir()

    def empty_quarantine(self, seconds: float, most: int) -> int:
        """See `Originals.empty_quarantine`: by the time of a file's change, which is the machine's."""
        deleted = 0
        for file in _old_files(self._root / _QUARANTINE, time.time() - seconds):
            with suppress(OSError):
                file.unlink()
                file.with_suffix(".json").unlink(missing_ok=True)
                deleted += 1
            if deleted >= most:
                break
        return deleted


class Retention:
    """Two ticks, each bounded; what one leaves, the next one takes."""

    def __init__(self, spool: Path | Originals, worklist: Worklist, rule: Rule, clock: Clock) -> None:
        self._originals = Folder(spool) if isinstance(spool, Path) else spool
        self._worklist = worklist
        self._rule = rule
        self._clock = clock

    def delete_originals(self) -> None:
        """Delete the files of studies that are done with and past their time, the oldest first.

        The database first, then the files, then the note that they are gone: a crash in between leaves files that the
        next tick deletes, and never a study that is thought to have files that it has not.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        if self._rule.originals is None:
            return
        before = self._clock() - self._rule.originals
        done = 0
        while done < _MOST:
            uids = self._worklist.originals_past(before, _STUDIES)
            deleted = sum(self._delete(uid, before) for uid in uids)
            done += len(uids)
            if deleted < _STUDIES:  # no more, or some that the disk keeps: those are not tried again at once
                return

    def _delete(self, study_instance_uid: str, before: datetime) -> bool:
        paths = self._worklist.forget_originals(study_instance_uid, before, self._clock())
        if not paths:
            return False
        try:
            self._originals.delete(paths)
        except (OSError, StorageExhaustedError) as error:
            said = error.message if isinstance(error, StorageExhaustedError) else str(error.strerror)
            log.error("originals_not_deleted", study_instance_uid=study_instance_uid, error=said)  # noqa: TRY400 - the disk's fault, no bug
            return False
        self._worklist.originals_gone(study_instance_uid, self._clock())
        log.info("originals_deleted", study_instance_uid=study_instance_uid, files=len(paths))
        return True

    def empty_quarantine(self) -> None:
        """Delete what has been in quarantine for its time, with the notes beside it; audited as a number.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        if self._rule.quarantine is None:
            return
        now = self._clock()
        try:
            deleted = self._originals.empty_quarantine(self._rule.quarantine.total_seconds(), _MOST)
        except StorageExhaustedError as error:
            log.warning("quarantine_not_emptied", error=error.message)
            return
        if deleted:
            log.info("quarantine_emptied", files=deleted)
            detail = {"quarantined": deleted}
            self._worklist.record_audit(
                AuditEvent(at=now, action=AuditAction.ORIGINALS_DELETED, actor=_ACTOR, detail=detail)
            )


def _old_files(folder: Path, latest: float) -> Iterator[Path]:
    """What was set aside before `latest`, without its notes."""
    for shard in _entries(folder):
        for entry in _entries(Path(shard)):
            if entry.name.endswith(".json"):
                continue
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_ctime < latest:
                    yield Path(entry.path)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
