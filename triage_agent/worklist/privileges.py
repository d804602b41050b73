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
_OWNS_TABLES = """
    SELECT EXISTS (
        SELECT FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
            AND pg_has_role(current_user, relowner, 'USAGE')
    )
"""
_BEYOND = """
    SELECT what, relname FROM pg_class
        CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) WITH ORDINALITY AS asked (what, place)
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
        AND has_table_privilege(current_user, oid, what)
        AND (what IN ('DELETE', 'TRUNCATE') OR relname = 'alembic_version'
            OR what = 'UPDATE' AND relname = ANY (:added_to))
    ORDER BY relname, place
"""  # nothing is deleted, records of what was done are only added to, and which version it is, its owner says


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


def excess_grants(engine: Engine) -> list[str]:
    """What our role on Postgres may do and need not, such as "UPDATE on audit_events"; SQLite knows no roles.

    Whoever owns the tables, or is a superuser, can take away the triggers that keep the audit trail as it is.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    if engine.dialect.name != "postgresql":
        return []
    with telling_when_away(), engine.execution_options(**READ_ONLY).connect() as connection:
        if connection.scalar(text(_OWNS_TABLES)):
            return ["change the tables themselves, and their triggers"]
        rows = connection.execute(text(_BEYOND), {"added_to": sorted(_ONLY_ADDED_TO)})
        return [f"{what} on {name}" for what, name in rows]


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
