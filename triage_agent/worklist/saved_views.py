"""Saved views in the database: so many places an account, used again, since the agent deletes no row."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, String, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from triage_agent.domain.saved_views import LONGEST_NAME, LONGEST_QUERY, MOST_VIEWS, SavedView
from triage_agent.worklist.account_rows import AccountRow
from triage_agent.worklist.tables import Base
from triage_agent.worklist.transactions import Database
from triage_agent.worklist.types import FittedText


class SavedViewRow(Base):
    """A place for a view; free where it has no name."""

    __tablename__ = "saved_views"
    __table_args__ = (CheckConstraint("place BETWEEN 1 AND 20", name="ck_saved_views_place"),)

    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    place: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    name: Mapped[str | None] = mapped_column(FittedText(LONGEST_NAME))
    query: Mapped[str] = mapped_column(String(LONGEST_QUERY))
    changed_at: Mapped[datetime]


class SqlSavedViews:
    """The `SavedViews` port on SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, account: str) -> Sequence[SavedView]:
        """See `SavedViews.of`."""
        theirs = (
            select(SavedViewRow)
            .where(SavedViewRow.account == account, SavedViewRow.name.is_not(None))
            .order_by(SavedViewRow.name)
        )
        return self._database.read(
            lambda session: [
                SavedView(number=row.place, name=row.name or "", query=row.query) for row in session.scalars(theirs)
            ]
        )

    def save(self, account: str, name: str, query: str, now: datetime) -> bool:
        """See `SavedViews.save`."""
        return self._database.write(lambda session: _save(session, account, name, query, now))

    def remove(self, account: str, number: int, now: datetime) -> bool:
        """See `SavedViews.remove`."""
        freed = (
            update(SavedViewRow)
            .where(SavedViewRow.account == account, SavedViewRow.place == number, SavedViewRow.name.is_not(None))
            .values(name=None, query="", changed_at=now)
            .returning(SavedViewRow.place)
        )
        return self._database.write(lambda session: session.scalar(freed) is not None)


def _save(session: Session, account: str, name: str, query: str, now: datetime) -> bool:
    session.scalar(select(AccountRow.name).where(AccountRow.name == account).with_for_update())  # one at a time
    rows = {row.place: row for row in session.scalars(select(SavedViewRow).where(SavedViewRow.account == account))}
    same = next((row for row in rows.values() if row.name == name), None)
    if same is not None:  # what somebody has saved is not overwritten by an accident of names
        return same.query == query
    place = next((one for one in range(1, MOST_VIEWS + 1) if one not in rows or rows[one].name is None), None)
    if place is None:
        return False
    values = {"name": name, "query": query, "changed_at": now}
    if place in rows:
        at = (SavedViewRow.account == account, SavedViewRow.place == place)
        session.execute(update(SavedViewRow).where(*at).values(**values))
    else:
        session.execute(insert(SavedViewRow).values(account=account, place=place, **values))
    return True
