"""Verification: every record and every seal of the chain looked at, and what is wrong said of each. Reads in pieces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from triage_agent.audit.anchors import Anchor
from triage_agent.audit.chain import link
from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.audit_log import GENESIS, AuditLog, Head, Seal

MOST_TOLD = 200
"""So many findings are named; all are counted."""

_PIECE = 2000

Progress = Callable[[int], None]


class Finding(NamedTuple):
    """One thing that is wrong with the log."""

    what: str  # changed, deleted, seal_missing, reordered, inserted, truncated, head_missing, rewritten
    record_id: int | None
    position: int | None
    says: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What a verification found; `first` and `last` are the positions that were looked at."""

    records: int = 0
    first: int = 0
    last: int = 0
    head: str = GENESIS
    unsealed: int = 0
    lag_seconds: float = 0.0
    anchors: int = 0
    wrong: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return self.wrong == 0

    def add(self, what: str, says: str, *, record_id: int | None = None, position: int | None = None) -> None:
        """Note a finding."""
        self.wrong += 1
        if len(self.findings) < MOST_TOLD:
            self.findings.append(Finding(what, record_id, position, says))


def verify(
    log: AuditLog,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    anchors: Sequence[Anchor] = (),
    progress: Progress = lambda _position: None,
) -> Report:
    """Look at the chain, the whole of it or what was sealed in a period, and at what nothing seals.

    Args:
        log: where it is.
        now: the present, for the lag.
        since: nothing sealed before; what comes before is then taken as it is.
        until: nothing sealed at that time or later.
        anchors: signed heads, whose signatures have been checked.
        progress: told up to which position this has looked, from time to time; what it raises ends the look.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    report = Report(anchors=len(anchors))
    # Before the seals: what is sealed while this looks is behind it, and no reason for a finding.
    end = log.head()
    whole = since is None and until is None
    first, last = (1, end.position if end else 0) if whole else log.span(since, until)
    report.first = first
    signed = {one.position: one for one in anchors}
    floor = _look_at_links(log, report, last, signed, progress, whole=whole)
    if whole:
        _look_at_end(log, report, end, floor)
        _look_for_missing_anchors(report, anchors, end)
    waiting = log.unsealed(end.floor if end else 0)
    report.unsealed, report.lag_seconds = waiting.number, waiting.lag(now).total_seconds()
    return report


class _Walk:
    """Where the walk along the chain is."""

    def __init__(self, position: int, before: Seal | None) -> None:
        self.position = position  # of the seal that was looked at last
        self.head: str | None = str(before.head) if before else (GENESIS if position == 0 else None)
        self.floor = before.floor if before else 0


def _look_at_links(
    log: AuditLog, report: Report, last: int, anchors: dict[int, Anchor], progress: Progress, *, whole: bool
) -> int:
    """Look at the seals from the report's first on, to the end if `whole`; returns the floor behind the last."""
    first = report.first
    before = log.links(first - 2, 1) if first > 1 else []
    walk = _Walk(first - 1, before[0][0] if before and before[0][0].position == first - 1 else None)
    while piece := log.links(walk.position, _PIECE):
        for seal, record in piece:
            if seal.position > last and not whole:
                return walk.floor
            _look_at(report, walk, seal, record)
            if seal.position in anchors:
                _look_at_anchor(report, seal, anchors[seal.position])
        progress(walk.position)
    return walk.floor


def _look_at(report: Report, walk: _Walk, seal: Seal, record: AuditRecord | None) -> None:
    number = seal.position
    if number != walk.position + 1:
        gone = f"{walk.position + 1}" if number == walk.position + 2 else f"{walk.position + 1} to {number - 1}"
        report.add("seal_missing", f"seal {gone} is gone, and what it sealed", position=walk.position + 1)
        walk.head = None  # what the next one follows is not known
    if seal.record_id <= walk.floor:
        says = f"record {seal.record_id} is sealed at {number}, behind later ones: it was moved, or made afterwards"
        report.add("reordered", says, record_id=seal.record_id, position=number)
    if record is None:
        says = f"record {seal.record_id}, sealed at {number}, is deleted"
        report.add("deleted", says, record_id=seal.record_id, position=number)
    elif walk.head is not None and link(seal, record, walk.head) != seal.head:
        says = f"record {seal.record_id}, or its seal {number} or the one before, is changed"
        report.add("changed", says, record_id=seal.record_id, position=number)
    report.records += record is not None
    report.last, report.head = number, str(seal.head)
    walk.position, walk.head, walk.floor = number, str(seal.head), seal.floor


def _look_at_anchor(report: Report, seal: Seal, anchor: Anchor) -> None:
    if seal.head != anchor.head:
        says = f"the chain up to {seal.position} is not the one that was anchored at {anchor.at}: it was made anew"
        report.add("rewritten", says, position=seal.position)


def _look_at_end(log: AuditLog, report: Report, end: Head | None, floor: int) -> None:
    if end is None:
        if report.last:
            report.add("head_missing", "the row that says where the chain ends is gone")
    elif report.last < end.position:
        says = f"the chain ends at {report.last} and had {end.position} seals: its end was cut off"
        report.add("truncated", says, position=report.last + 1)
    elif report.last == end.position and report.head != end.head:
        says = f"the last seal, {report.last}, is not the one that the chain ended with"
        report.add("changed", says, position=report.last)
    for record_id in log.strangers(max(floor, end.floor if end else 0), MOST_TOLD):
        says = f"record {record_id} has no seal and is older than what is sealed: it was put in, or its seal taken away"
        report.add("inserted", says, record_id=record_id)


def _look_for_missing_anchors(report: Report, anchors: Sequence[Anchor], end: Head | None) -> None:
    for anchor in anchors:
        if anchor.position > max(report.last, end.position if end else 0):
            says = f"the chain ends at {report.last} and was anchored at {anchor.position}: its end was cut off"
            if report.last == 0:
                says = f"nothing is sealed, and the chain was anchored at {anchor.position}: its seals were taken away"
            report.add("truncated", says, position=report.last + 1)
