"""Which spool belongs to the database, and which of its files are there though they were deleted."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.schema import CheckConstraint
from sqlalchemy.types import String

from triage_agent.worklist.retention import look_again
from triage_agent.worklist.tables import Base, InstanceRow
from triage_agent.worklist.transactions import Database, changed

_ONLY = 1


class SpoolRow(Base):
    """The one spool of this worklist."""

    __tablename__ = "spools"
    __table_args__ = (CheckConstraint("id = 1", name="ck_spools_one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    spool_id: Mapped[str] = mapped_column(String(32))


class SqlSpools:
    """The port `Spools` on a database."""

    _database: Database

    def spool_id(self) -> str | None:
        """See `Spools.spool_id`."""
        return self._database.read(_noted)

    def join_spool(self, spool_id: str, *, replacing: bool = False) -> str:
        """See `Spools.join_spool`."""
        return self._database.write(lambda session: _join(session, spool_id, replacing=replacing))

    def some_originals(self, limit: int) -> Sequence[str]:
        """See `Spools.some_originals`."""
        there = select(InstanceRow.path).where(InstanceRow.original_deleted_at.is_(None)).limit(limit)
        return self._database.read(lambda session: session.scalars(there).all())

    def deleted_originals(self, before: datetime) -> Iterator[str]:
        """See `Spools.deleted_originals`."""
        deleted = select(InstanceRow.path).where(InstanceRow.original_deleted_at < before)
        yield from self._database.stream(
            lambda session: iter(session.scalars(deleted.execution_options(yield_per=5000)))
        )

    def move_original(self, sop_instance_uid: str, path: str, to: str) -> bool:
        """See `Spools.move_original`."""
        return self._database.write(lambda session: _moved(session, sop_instance_uid, path, to))

    def original_found(self, sop_instance_uid: str) -> bool:
        """See `Spools.original_found`."""
        return self._database.write(lambda session: _found(session, sop_instance_uid))


def _noted(session: Session) -> str | None:
    return session.scalar(select(SpoolRow.spool_id).where(SpoolRow.id == _ONLY))


def _join(session: Session, spool_id: str, *, replacing: bool) -> str:
    known = _noted(session)
    if known is None:
        session.execute(insert(SpoolRow).values(id=_ONLY, spool_id=spool_id))
    elif replacing:
        session.execute(update(SpoolRow).values(spool_id=spool_id))
    else:
        return known
    return spool_id


def _moved(session: Session, sop_instance_uid: str, path: str, to: str) -> bool:
    there = (InstanceRow.sop_instance_uid == sop_instance_uid, InstanceRow.path == path)
    statement = update(InstanceRow).where(*there).values(path=to).execution_options(synchronize_session=False)
    return changed(session, statement) == 1


def _found(session: Session, sop_instance_uid: str) -> bool:
    row = session.get(InstanceRow, sop_instance_uid)
    if row is None or row.original_deleted_at is None:
        return False
    look_again(session, row.study_instance_uid)
    return True
