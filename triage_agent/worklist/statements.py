"""Statements that are made once, and get their values as parameters.

To put a statement together, and to find again what was compiled of the same, takes SQLAlchemy several times as long as
the database takes to do it. So it is not done anew for what every image, study and delivery asks. Rows are written by
their tables, past the ORM's bookkeeping, which nobody here reads afterwards.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Insert, Table, Update, bindparam, insert, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.worklist.tables import Base

OF = "of"
"""The parameter that says of which study a statement is; no column may be called so."""


def table_of(row: type[Base]) -> Table:
    """The table that a class of rows stands for."""
    return cast("Table", row.__table__)


def put(session: Session, row: type[Base], values: Mapping[str, object]) -> int:
    """Insert one row, of plain values by the names of its columns; returns its number, where the table gives one."""
    done = cast("CursorResult[tuple[object]]", session.execute(_insertion(row), dict(values)))
    return cast("int", done.inserted_primary_key[0]) if done.inserted_primary_key else 0


def put_all(session: Session, row: type[Base], values: Sequence[Mapping[str, object]]) -> None:
    """Insert rows, at least one, which all state the same columns; their numbers are not told."""
    session.execute(_insertion(row).inline(), values)


@cache
def _insertion(row: type[Base]) -> Insert:
    return insert(table_of(row))


def is_asked(column: InstrumentedAttribute[Any], parameter: str = OF) -> ColumnElement[bool]:
    """`column = :parameter`."""
    return column == bindparam(parameter, type_=column.type)


def update_where(row: type[Base], **which: str) -> Update:
    """An update whose columns and values are parameters of its own; `which` are columns, and the parameters they equal.

    By the table's columns: with those of the class it would go by the ORM.
    """
    columns = table_of(row).c
    return update(table_of(row)).where(*[columns[name] == bindparam(asked) for name, asked in which.items()])
