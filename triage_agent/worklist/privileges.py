"""What the database says of us: what its role may do, and what time it is there."""

from datetime import UTC, datetime

from sqlalchemy import Engine, select, text
from sqlalchemy.sql import functions

from triage_agent.worklist.engine import READ_ONLY
from triage_agent.worklist.tables import Base
from triage_agent.worklist.transactions import telling_when_away

_NEEDED = ("SELECT", "INSERT", "UPDATE")
_ONLY_ADDED_TO = frozenset({"audit_events", "audit_seals", "feedback"})
_SEQUENCES_WITHOUT_USAGE = """
    SELECT relname FROM pg_class
    WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace
        AND NOT has_sequence_privilege(current_user, oid, 'USAGE')
    ORDER BY relname
"""  # the numbers of new rows


def missing_grants(engine: Engine) -> list[str]:
    """What our role on Postgres may not do and must, such as "UPDATE on outbox"; SQLite knows no roles.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if engine.dialect.name != "postgresql":
        return []
    wanted = [
        (what, table.name)
        for table in Base.metadata.sorted_tables
        for what in (_NEEDED[:2] if table.name in _ONLY_ADDED_TO else _NEEDED)
    ]
    wanted.append(("SELECT", "alembic_version"))  # readiness looks whether the tables are this version's
    asked = text("SELECT has_table_privilege(current_user, :name, :what)")
    with telling_when_away(), engine.execution_options(**READ_ONLY).connect() as connection:
        missing = [
            f"{what} on {name}" for what, name in wanted if not connection.scalar(asked, {"name": name, "what": what})
        ]
        return missing + [f"USAGE on {name}" for name in connection.scalars(text(_SEQUENCES_WITHOUT_USAGE))]


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
