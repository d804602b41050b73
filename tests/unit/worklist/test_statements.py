"""Statements that are made once: what they write is what they are given."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.statements import OF, put, put_all, update_where
from triage_agent.worklist.tables import AuditRow
from triage_agent.worklist.transactions import changed

AT = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    AuditRow.metadata.create_all(engine, tables=[AuditRow.__table__])
    with Session(engine) as session:
        yield session
    engine.dispose()


def event(actor, study=None):
    return {
        "at": AT,
        "action": AuditAction.QUERIED,
        "actor": actor,
        "study_instance_uid": study,
        "detail": {"n": [1, None]},
    }


def actors(session):
    return session.scalars(select(AuditRow.actor).order_by(AuditRow.id)).all()


def test_a_row_is_written_as_the_class_would_read_it(session):
    assert put(session, AuditRow, event("a", "1.2")) == 1
    row = session.scalars(select(AuditRow)).one()
    assert (row.at, row.action, row.actor, row.study_instance_uid) == (AT, AuditAction.QUERIED, "a", "1.2")
    assert row.detail == {"n": [1, None]}


def test_rows_are_changed_where_all_is_as_it_was(session):
    put_all(session, AuditRow, [event("a"), event("b"), event("b", "1.2")])
    change, which = update_where(AuditRow, study_instance_uid=OF, actor="was"), {OF: "1.2", "was": "b"}
    assert changed(session, change, {**which, "actor": "c"}) == 1
    assert changed(session, change, {**which, "actor": "d"}) == 0
    assert actors(session) == ["a", "b", "c"]
