"""Audit logs for tests: filled, sealed, and got at past the triggers."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from triage_agent.audit.chain import link
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
ACTIONS = [one for one in AuditAction if one is not AuditAction.AGENT_STOPPED]


def event(number, **changes):
    values = {
        "at": T0 + timedelta(seconds=number),
        "action": ACTIONS[number % len(ACTIONS)],
        "actor": f"actor-{number % 7}",
        "study_instance_uid": None if number % 5 == 0 else f"1.2.{number % 11}",
        "detail": {"number": number, "probability": number / 7, "words": "ä\n\u2028"},
    }
    return AuditEvent(**{**values, **changes})


def fill(worklist, number, first=1):
    """Records, each in a transaction of its own."""
    for one in range(first, first + number):
        worklist.record_audit(event(one))


def seal_all(log, now=T0, limit=500):
    """Seal until nothing is left; returns how many were."""
    total = 0
    while sealed := log.seal(link, now, limit):
        total += sealed
    return total


@contextmanager
def unguarded(engine):
    """A transaction of somebody whom no trigger stops: the administrator of the database."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            return
        triggers = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit_%'")
        ).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.exec_driver_sql(sql)
