"""The audit log in a database: sealing it (`sealing`), its chain, and how far its readers are."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Update, func, insert, select, text, update
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.audit_log import Behind, Head, Link, Seal, Unsealed
from triage_agent.domain.ports import Worklist
from triage_agent.worklist import sealing
from triage_agent.worklist.audit_reading import SqlAuditTrail
from triage_agent.worklist.audit_tables import CursorRow, HeadRow, SealRow
from triage_agent.worklist.repository import SqlWorklist
from triage_agent.worklist.rows import lease_is_free
from triage_agent.worklist.tables import AuditRow
from triage_agent.worklist.transactions import changed

_SEALED_AT = {
    "sqlite": "s.sealed_at",
    "postgresql": "to_char(s.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
}


class SqlAuditLog(SqlAuditTrail):
    """The `AuditLog` port on SQLite or Postgres."""

    def seal(self, link: Link, now: datetime, limit: int = 500) -> int:
        """See `AuditLog.seal`."""
        if not self._database.read(sealing.any_unsealed):  # asked all the time: most of the time without a lock
            return 0
        return self._database.write(lambda session: sealing.seal(session, link, now, limit))

    def head(self) -> Head | None:
        """See `AuditLog.head`."""

        def work(session: Session) -> Head | None:
            row = session.get(HeadRow, 1)
            return None if row is None else Head(position=row.position, head=row.head, floor=row.floor)

        return self._database.read(work)

    def links(self, after: int, limit: int) -> Sequence[tuple[Seal, AuditRecord | None]]:
        """See `AuditLog.links`."""
        return self._database.read(lambda session: _links(session, after, limit))

    def strangers(self, floor: int, limit: int) -> Sequence[int]:
        """See `AuditLog.strangers`."""
        statement = text(
            "SELECT e.id FROM audit_events e LEFT JOIN audit_seals s ON s.record_id = e.id"
            " WHERE s.record_id IS NULL AND e.id <= :floor ORDER BY e.id LIMIT :limit"
        )
        given = {"floor": floor, "limit": limit}
        return self._database.read(lambda session: list(session.scalars(statement, given)))

    def unsealed(self, floor: int) -> Unsealed:
        """See `AuditLog.unsealed`."""
        sealed = select(SealRow.record_id).where(SealRow.record_id == AuditRow.id).exists()
        statement = select(func.count(), func.min(AuditRow.at)).where(AuditRow.id > floor, ~sealed)

        def work(session: Session) -> Unsealed:
            number, oldest = session.execute(statement).one()
            return Unsealed(number=number, oldest=oldest)

        return self._database.read(work)

    def span(self, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """See `AuditLog.span`."""
        statement = select(func.min(SealRow.position), func.max(SealRow.position))
        if since is not None:
            statement = statement.where(SealRow.sealed_at >= since)
        if until is not None:
            statement = statement.where(SealRow.sealed_at < until)

        def work(session: Session) -> tuple[int | None, int | None]:
            first, last = session.execute(statement).one()
            return first, last

        first, last = self._database.read(work)
        return (1, 0) if first is None or last is None else (first, last)

    def claim_cursor(self, name: str, owner: str, now: datetime, lease: timedelta) -> int | None:
        """See `AuditLog.claim_cursor`."""

        def work(session: Session) -> int | None:
            free = lease_is_free(CursorRow.lease_until, now) | (CursorRow.lease_owner == owner)
            claim = update(CursorRow).where(CursorRow.name == name, free)
            if not changed(session, _silently(claim.values(lease_owner=owner, lease_until=now + lease))):
                if session.get(CursorRow, name) is not None:
                    return None
                session.execute(
                    insert(CursorRow).values(name=name, position=0, lease_owner=owner, lease_until=now + lease)
                )
            return session.scalar(select(CursorRow.position).where(CursorRow.name == name))

        return self._database.write(work)

    def move_cursor(self, name: str, owner: str, position: int, now: datetime, lease: timedelta) -> bool:
        """See `AuditLog.move_cursor`."""
        held = update(CursorRow).where(CursorRow.name == name, CursorRow.lease_owner == owner)
        moved = held.values(position=position, lease_until=now + lease, last_error=None)
        return bool(self._database.write(lambda session: changed(session, _silently(moved))))

    def release_cursor(self, name: str, owner: str, error: str | None) -> None:
        """See `AuditLog.release_cursor`."""
        held = update(CursorRow).where(CursorRow.name == name, CursorRow.lease_owner == owner)
        free = held.values(lease_owner=None, lease_until=None, last_error=error)
        self._database.write(lambda session: changed(session, _silently(free)))

    def behind(self, name: str) -> Behind:
        """See `AuditLog.behind`; what is not sealed yet counts, too, since it is still to come."""

        def work(session: Session) -> Behind:
            row = session.get(CursorRow, name)
            position = 0 if row is None else row.position
            number = (session.scalar(select(HeadRow.position)) or 0) - position
            first = select(AuditRow.at).join(SealRow, SealRow.record_id == AuditRow.id)
            oldest = session.scalar(first.where(SealRow.position > position).order_by(SealRow.position).limit(1))
            return Behind(number=max(0, number), oldest=oldest, last_error=None if row is None else row.last_error)

        return self._database.read(work)


def _links(session: Session, after: int, limit: int) -> list[tuple[Seal, AuditRecord | None]]:
    sealed_at = _SEALED_AT[session.get_bind().dialect.name]
    statement = text(
        f"SELECT s.position, s.record_id, s.floor, {sealed_at} AS sealed_at, s.head, {sealing.columns(session)}"  # noqa: S608
        " FROM audit_seals s LEFT JOIN audit_events e ON e.id = s.record_id"
        " WHERE s.position > :after ORDER BY s.position LIMIT :limit"
    )
    found: list[tuple[Seal, AuditRecord | None]] = []
    for row in session.execute(statement, {"after": after, "limit": limit}):
        position, record_id, floor, sealed, head = row[:5]
        seal = Seal(position=position, record_id=record_id, floor=floor, sealed_at=sealed, head=head)
        found.append((seal, None if row[5] is None else sealing.record_of(row[5:])))
    return found


def _silently(statement: Update) -> Update:
    return statement.execution_options(synchronize_session=False)


def audit_log_of(worklist: Worklist) -> SqlAuditLog | None:
    """The audit log in a worklist's database; None where it has none (a worklist in memory)."""
    return SqlAuditLog(worklist.database) if isinstance(worklist, SqlWorklist) else None
