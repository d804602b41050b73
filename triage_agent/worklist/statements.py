"""Statements that each image needs, made once for each set of columns.

SQLAlchemy finds what it has compiled by a key that it makes of every statement and every value in it. For a statement
that is made anew that takes longer than SQLite does with it; values that are parameters are no part of it.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import cast

from sqlalchemy import ClauseElement, ColumnElement, CursorResult, Insert, Table, Update, bindparam, insert, update
from sqlalchemy.orm import Session

from triage_agent.worklist.tables import Base

_WAS, _BECOMES = "was_", "becomes_"  # no column's name


def add_row(session: Session, row: type[Base], values: Mapping[str, object]) -> None:
    """INSERT one row; its number, where the database gives one, is not told."""
    session.execute(_insert(row), values)


def add_rows(session: Session, row: type[Base], values: Sequence[Mapping[str, object]]) -> None:
    """INSERT rows, at least one, which all state the same columns."""
    session.execute(_insert(row), values)


def change_rows(
    session: Session,
    row: type[Base],
    was: Mapping[str, object],
    becomes: Mapping[str, object],
    and_only: Sequence[ColumnElement[bool]] = (),
) -> int:
    """UPDATE rows whose columns are as `was` says, none of which is null; returns how many."""
    fixed = {name: value for name, value in becomes.items() if not isinstance(value, ClauseElement)}
    statement = _update(row, tuple(was), tuple(fixed))
    if len(fixed) < len(becomes):
        statement = statement.values({name: value for name, value in becomes.items() if name not in fixed})
    if and_only:
        statement = statement.where(*and_only)
    values = {_WAS + name: value for name, value in was.items()}
    values |= {_BECOMES + name: value for name, value in fixed.items()}
    return cast("CursorResult[tuple[object]]", session.execute(statement, values)).rowcount


def _table(row: type[Base]) -> Table:
    return cast("Table", row.__table__)


@cache
def _insert(row: type[Base]) -> Insert:
    return insert(_table(row)).inline()


@lru_cache(maxsize=256)
def _update(row: type[Base], was: tuple[str, ...], becomes: tuple[str, ...]) -> Update:
    table = _table(row)
    return (
        update(table)
        .where(*(table.c[name] == bindparam(_WAS + name) for name in was))
        .values({name: bindparam(_BECOMES + name) for name in becomes})
    )
