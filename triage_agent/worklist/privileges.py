"""What the database says of us: what its role may do, and what time it is there."""

from datetime import UTC, datetime

from sqlalchemy import Engine, select, text
from sqlalchemy.sql import functions

from triage_agent.worklist.engine import READ_ONLY
from triage_agent.worklist.tables import Base
from triage_agent.worklist.transactions import telling_when_away

_NEEDED = ("SELECT", "INSERT", "UPDATE")


def missing_grants(engine: Engine) -> list[str]:
    """What our role on Postgres may not do and must, such as "UPDATE on outbox"; SQLite knows no roles.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if engine.dialect.name != "postgresql":
        return []
    asked = text("SELECT has_table_privilege(current_user, :name, :what)")
    with telling_when_away(), engine.execution_options(**READ_ONLY).connect() as connection:
        return [
            f"{what} on {table.name}"
            for table in Base.metadata.sorted_tables
            for what in (_NEEDED if table.name != "audit_events" else _NEEDED[:2])
            if not connection.scalar(asked, {"name": table.name, "what": what})
        ]


def seconds_ahead(engine: Engine) -> float:
    """By how much this machine's clock is ahead of the database's; 0 on SQLite, which has none of its own.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if engine.dialect.name != "postgresql":
        return 0.0
    with telling_when_away(), engine.execution_options(**READ_ONLY).connect() as connection:
        before = datetime.now(UTC)
        theirs = connection.scalar(select(functions.now()))
        after = datetime.now(UTC)
    if theirs is None:
        return 0.0
    ours = before + (after - before) / 2
    return float((ours - theirs).total_seconds())
