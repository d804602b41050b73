"""Fills an empty worklist from the spool: every file takes its place again, at the time when it came."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import itemgetter

import structlog

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.study import CompletenessRule, ReceivedInstance
from triage_agent.intake.header import read_header
from triage_agent.intake.keeper import Keeper
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.reading import START, digest_of, mapped
from triage_agent.intake.reconcile import adopt

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What became of the spool's files.

    Attributes:
        registered: on the worklist.
        conflicts: in quarantine, since their UID was another file's first; their studies say so again.
        quarantined: not what was written, or without their identifiers; why is in the note beside each.
        left: the disk did not let us read or move them.
    """

    registered: int = 0
    conflicts: int = 0
    quarantined: int = 0
    left: int = 0


def rebuild(
    spool: Keeper, worklist: Worklist, rule: CompletenessRule, clock: Clock, *, words: PriorityWords = STANDARD
) -> Rebuilt:
    """Register every file of the spool, in the order in which they were written; `worklist` must have no study.

    A file's time of modification is when it was received: nothing alters it, and a backup keeps it.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    counts: Counter[str] = Counter()
    by_age = sorted(spool.dated_instances())  # the first copy of a UID stays
    for at, path in by_age:
        counts[adopt(spool, worklist, rule, clock, path, received_at=at, words=words)] += 1
    conflicts = sum(_tell_conflict(spool, worklist, rule, one, words) for one in _by_name(spool.dated_set_aside()))
    result = Rebuilt(
        registered=counts["recovered"] + counts["known"],
        conflicts=conflicts,
        quarantined=counts["quarantined"],
        left=counts["left"],
    )
    log.info("worklist_rebuilt", **asdict(result))
    return result


def _tell_conflict(
    spool: Keeper, worklist: Worklist, rule: CompletenessRule, one: tuple[datetime, str], words: PriorityWords
) -> bool:
    """A file that was set aside for its UID goes through registration again, which says so in its study."""
    at, path = one
    try:
        with spool.opened(path) as file:
            with file.open("rb") as opened:
                meta = decode_preamble(memoryview(opened.read(START)))
            if meta is None or (kept := worklist.digest_of(meta.sop_instance_uid)) is None:
                return False
            encoded = mapped(file, meta.data_set_offset)
        header = read_header(encoded, meta.transfer_syntax_uid, meta.sop_class_uid, meta.sop_instance_uid, words=words)
    except (OSError, InvalidDatasetError):
        return False
    digest = digest_of(encoded)
    if digest == kept:
        return False
    received = ReceivedInstance(
        header=header,
        path=path,
        sha256=digest,
        size=len(encoded),
        source=meta.source,
        received_at=at,
    )
    worklist.register(received, rule)
    return True


def _by_name(dated: Iterable[tuple[datetime, str]]) -> list[tuple[datetime, str]]:
    return sorted(dated, key=itemgetter(1))
