"""Statements that are made once: what they write is what they are given."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.statements import add_row, add_rows, change_rows
from triage_agent.worklist.tables import AuditRow

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
    add_row(session, AuditRow, event("a", "1.2"))
    row = session.scalars(select(AuditRow)).one()
    assert (row.at, row.action, row.actor, row.study_instance_uid) == (AT, AuditAction.QUERIED, "a", "1.2")
    assert row.detail == {"n": [1, None]}


def test_rows_are_changed_where_all_is_as_it_was(session):
    add_rows(session, AuditRow, [event("a"), event("b"), event("b", "1.2")])
    was = {"actor": "b", "study_instance_uid": "1.2"}
    assert change_rows(session, AuditRow, was, {"actor": "c"}) == 1
    assert change_rows(session, AuditRow, was, {"actor": "d"}) == 0
    assert actors(session) == ["a", "b", "c"]


def test_a_column_becomes_what_it_was_and_more_and_another_condition_holds(session):
    add_rows(session, AuditRow, [event("a"), event("a", "1.2")])
    becomes = {"actor": AuditRow.actor + "!", "study_instance_uid": "1.3"}
    assert change_rows(session, AuditRow, {"actor": "a"}, becomes, [AuditRow.study_instance_uid.is_(None)]) == 1
    assert actors(session) == ["a!", "a"]
