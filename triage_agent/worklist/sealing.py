"""Sealing: committed audit records become links of the chain, in an order that no late commit disturbs.

Whoever acts only adds a record, in the transaction of the act; nobody waits for the chain. On SQLite transactions
commit in the order of their records' ids. On Postgres an id can become visible after a higher one, so records are
sealed as they are found, and `floor` is the id up to which none can come any more:

1. an id is taken after its transaction has its number (migration 0014);
2. `seen_id`, the highest id found by an earlier step, was therefore taken, and with it every lower one, by transactions
   whose numbers are below that of this step's own: (`mark_id`, `mark_xid`) is remembered;
3. a later step finds that every transaction below `mark_xid` has ended, looks once more, and nothing up to `mark_id` is
   left: that is the new floor.

What shows up with an id at or below a seal's floor was not written by the agent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.orm import Session

from triage_agent.domain.audit import TIME_FORMAT, AuditRecord
from triage_agent.domain.audit_log import GENESIS, Link, Seal
from triage_agent.worklist.audit_tables import HeadRow, SealRow
from triage_agent.worklist.statements import put_all

_UNSEALED = "NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.record_id = e.id)"
_COLUMNS = {
    "sqlite": "e.id, e.at, e.action, e.actor, e.study_instance_uid, e.detail",
    "postgresql": (
        "e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at, e.action, e.actor,"
        " e.study_instance_uid, e.detail::text AS detail"
    ),
}
_TRANSACTIONS = """
    SELECT pg_current_xact_id()::text::bigint AS own, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest
"""


def is_postgres(session: Session) -> bool:
    """Which of the two databases it is."""
    return session.get_bind().dialect.name == "postgresql"


def columns(session: Session) -> str:
    """What to select of `audit_events e` for `record_of`: the values as they are stored, whatever they are."""
    return _COLUMNS[session.get_bind().dialect.name]


def record_of(row: Sequence[Any]) -> AuditRecord:
    """A row of `columns`."""
    number, at, action, actor, study_instance_uid, detail = row
    return AuditRecord(
        id=number, at=at, action=action, actor=actor, study_instance_uid=study_instance_uid, detail=detail
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """The row of `audit_head`."""

    position: int
    head: str
    floor: int
    seen_id: int
    mark_id: int
    mark_xid: int


def any_unsealed(session: Session) -> bool:
    """Whether there is something for `seal`."""
    floor = session.scalar(select(HeadRow.floor)) or 0
    found = text(f"SELECT e.id FROM audit_events e WHERE e.id > :floor AND {_UNSEALED} ORDER BY e.id LIMIT 1")  # noqa: S608
    return session.scalar(found, {"floor": floor}) is not None


def seal(session: Session, link: Link, now: datetime, limit: int) -> int:
    """See `AuditLog.seal`; whoever holds the row of `audit_head` is the one who seals."""
    end = _locked_end(session)
    if end is None:
        return 0
    settled, own = _settled(session, end)
    records = _unsealed_records(session, end.floor, limit)
    if not records:
        return 0
    floor = _floor(session, end, settled, records, limit)
    seals = _chained(end, records, link, now, floor)
    put_all(session, SealRow, [_values(one, now) for one in seals])
    _move_end(session, end, seals[-1], max(one.id for one in records), own, settled=settled is not None)
    return len(seals)


def _locked_end(session: Session) -> _End | None:
    """The end of the chain, held until the transaction ends; None where another process holds it."""
    statement = select(HeadRow).where(HeadRow.id == 1).execution_options(populate_existing=True)
    row = session.scalars(statement.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        known = session.scalar(select(HeadRow.id)) or session.scalar(select(SealRow.position).limit(1))
        if known is not None:  # held elsewhere, or removed: `audit verify` says so, and nothing is made in its place
            return None
        begins = {"id": 1, "head": GENESIS, "position": 0, "floor": 0, "seen_id": 0, "mark_id": 0, "mark_xid": 0}
        session.execute(insert(HeadRow).values(begins))
        return _locked_end(session)
    return _End(
        position=row.position,
        head=row.head,
        floor=row.floor,
        seen_id=row.seen_id,
        mark_id=row.mark_id,
        mark_xid=row.mark_xid,
    )


def _settled(session: Session, end: _End) -> tuple[int | None, int]:
    """Up to which id every transaction has ended, as far as the mark tells; and the number of our own transaction."""
    if not is_postgres(session):
        return None, 0
    numbers = session.execute(text(_TRANSACTIONS)).one()
    if numbers.own < end.mark_xid:  # another server's numbers: the database was restored into a new one
        return end.floor, numbers.own
    return (end.mark_id if numbers.oldest >= end.mark_xid else None), numbers.own


def _unsealed_records(session: Session, floor: int, limit: int) -> list[AuditRecord]:
    statement = text(
        f"SELECT {columns(session)} FROM audit_events e WHERE e.id > :floor AND {_UNSEALED} ORDER BY e.id LIMIT :limit"  # noqa: S608
    )
    return [record_of(row) for row in session.execute(statement, {"floor": floor, "limit": limit})]


def _floor(session: Session, end: _End, settled: int | None, records: Sequence[AuditRecord], limit: int) -> int | None:
    """The floor from this step on; None on SQLite, where it is each record's own id."""
    if not is_postgres(session):
        return None
    if settled is None:
        return end.floor
    all_found = len(records) < limit or records[-1].id >= settled
    return max(end.floor, settled) if all_found else end.floor


def _chained(end: _End, records: Sequence[AuditRecord], link: Link, now: datetime, floor: int | None) -> list[Seal]:
    """Seals over the records. The new floor is the last one's: what comes before it in this step is still above it."""
    seals: list[Seal] = []
    before, sealed_at = end.head, now.astimezone(UTC).strftime(TIME_FORMAT)
    for number, record in enumerate(records, 1):
        last = number == len(records)
        own_floor = record.id if floor is None else (floor if last else end.floor)
        bare = Seal(
            position=end.position + number, record_id=record.id, floor=own_floor, sealed_at=sealed_at, head=before
        )
        before = link(bare, record, before)
        seals.append(replace(bare, head=before))
    return seals


def _values(seal: Seal, now: datetime) -> dict[str, object]:
    return {
        "position": seal.position,
        "record_id": seal.record_id,
        "floor": seal.floor,
        "sealed_at": now,
        "head": seal.head,
    }


def _move_end(session: Session, end: _End, last: Seal, seen_id: int, own: int, *, settled: bool) -> None:
    marks = {"mark_id": end.seen_id, "mark_xid": own} if settled else {}
    statement = (
        update(HeadRow)
        .where(HeadRow.id == bindparam("one"))
        .values(position=last.position, head=last.head, floor=last.floor, seen_id=max(end.seen_id, seen_id), **marks)
        .execution_options(synchronize_session=False)
    )
    session.execute(statement, {"one": 1})
