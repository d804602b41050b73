"""Start-up: brings the spool and the worklist to agree after a crash between the rename and the commit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import structlog

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError
from triage_agent.domain.ports import Clock, Registered, Worklist
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.study import CompletenessRule, ReceivedInstance
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.intake.header import read_header
from triage_agent.intake.keeper import Keeper
from triage_agent.intake.part10 import FileMeta, decode_preamble
from triage_agent.intake.reading import START, digest_of, mapped
from triage_agent.intake.receiver import OTHER_BYTES

log = structlog.get_logger(__name__)

_ACTOR = "reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What start-up found.

    Attributes:
        known: instances that are on the worklist.
        recovered: instances that were not, and are now.
        quarantined: files that cannot be, and why is in the note beside each.
        left: files that the disk did not let us read or move; they are there, and looked at next time.
        stale: unfinished files of a writer that is gone, removed.
    """

    known: int = 0
    recovered: int = 0
    quarantined: int = 0
    left: int = 0
    stale: int = 0


def reconcile(
    spool: Keeper, worklist: Worklist, rule: CompletenessRule, clock: Clock, *, words: PriorityWords = STANDARD
) -> Reconciled:
    """Register every spool file that the worklist does not know; nothing in it was acknowledged, nothing is lost.

    A file whose path is registered is known, since its name carries the digests of its UIDs and its bytes: it is not
    opened. One that had been deleted is retention's again. Spool and worklist are walked side by side, in one order,
    so that memory does not grow with them. Doing it again changes nothing.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    stale = spool.remove_stale()
    orphanage = _Orphanage(spool, worklist, rule, clock, words=words)
    counts = Counter(
        "known" if known else orphanage.look_at(path)
        for path, known in _side_by_side(spool.instances(), worklist.spool_paths())
    )
    result = Reconciled(stale=stale, **counts)
    log.info("spool_reconciled", **asdict(result))
    return result


def _side_by_side(files: Iterator[str], registered: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Each of `files` and whether it is among `registered`; both are sorted."""
    row = next(registered, None)
    for path in files:
        while row is not None and row < path:
            row = next(registered, None)
        yield path, row == path


def adopt(
    spool: Keeper,
    worklist: Worklist,
    rule: CompletenessRule,
    clock: Clock,
    path: str,
    *,
    received_at: datetime,
    words: PriorityWords = STANDARD,
) -> str:
    """Register one spool file, if the worklist does not know it, as received at a time; a field of `Reconciled`.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    return _Orphanage(spool, worklist, rule, clock, received_at, words).look_at(path)


@dataclass(frozen=True, slots=True)
class _Orphanage:
    spool: Keeper
    worklist: Worklist
    rule: CompletenessRule
    clock: Clock
    received_at: datetime | None = None
    words: PriorityWords = STANDARD

    def look_at(self, path: str) -> str:
        """What became of one file: a field of `Reconciled`."""
        try:
            return self._look_at(path)
        except FileNotFoundError:  # set aside by a receiver that works beside us
            return "known"
        except (OSError, StorageExhaustedError) as error:
            log.error("spool_file_left", path=path, error=str(error))  # noqa: TRY400 - the disk's fault, no bug
            return "left"

    def _look_at(self, path: str) -> str:
        with self.spool.opened(path) as file:
            return self._decide(path, file)

    def _decide(self, path: str, file: Path) -> str:
        with file.open("rb") as opened:
            meta = decode_preamble(memoryview(opened.read(START)))
        if meta is None:
            return self._set_aside(path, "no file meta information")
        registered = self.worklist.digest_of(meta.sop_instance_uid)
        if registered is None:
            return self._adopt(path, file, meta)
        if _has_digest(path, registered):
            if self.worklist.original_found(meta.sop_instance_uid):  # deleted once; a backup brought it back
                log.info("deleted_original_found", path=path)
            return "known"
        return self._set_aside(path, OTHER_BYTES)

    def _adopt(self, path: str, file: Path, meta: FileMeta) -> str:
        encoded = mapped(file, meta.data_set_offset)
        digest = digest_of(encoded)
        if not _has_digest(path, digest):
            return self._set_aside(path, "the file is not what was written")
        try:
            header = read_header(
                encoded, meta.transfer_syntax_uid, meta.sop_class_uid, meta.sop_instance_uid, words=self.words
            )
        except InvalidDatasetError as error:
            return self._set_aside(path, error.message)
        received = ReceivedInstance(
            header=header,
            path=path,
            sha256=digest,
            size=len(encoded),
            source=meta.source,
            received_at=self.received_at or self.clock(),
        )
        if self.worklist.register(received, self.rule) is Registered.CONFLICT:
            return self._set_aside(path, OTHER_BYTES)
        self._audit(AuditAction.INSTANCE_RECOVERED, header.study_instance_uid, sop_instance_uid=meta.sop_instance_uid)
        return "recovered"

    def _set_aside(self, path: str, reason: str) -> str:
        kept = self.spool.set_aside(path, reason, {"source": _ACTOR, "at": self.clock()})
        self._audit(AuditAction.INSTANCE_QUARANTINED, None, reason=reason, path=kept)
        log.warning("instance_quarantined", reason=reason, kept=kept)
        return "quarantined"

    def _audit(self, action: AuditAction, study_instance_uid: str | None, **detail: object) -> None:
        self.worklist.record_audit(
            AuditEvent(
                at=self.clock(), action=action, actor=_ACTOR, study_instance_uid=study_instance_uid, detail=detail
            )
        )


def _has_digest(path: str, digest: str) -> bool:
    """Whether a spool file's name carries this digest of its data set."""
    carried = Path(path).stem.rpartition("-")[2]
    return bool(carried) and digest.startswith(carried)
