"""On Postgres the pages read no large table as a whole: not for a list, a search, or a question to the audit log.

`PLAN_ROWS` is how many studies and how many records there are. Of few rows a planner reads many at once, whatever
indexes there are: with 20,000 it is told of a disk that seeks quickly, with 200,000 (a minute) of nothing.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event as on
from sqlalchemy import text
from support.million import fill
from support.postgres import postgres_database

from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.reading import ListQuestion, Order
from triage_agent.domain.vocabulary import AuditAction, Priority, Status
from triage_agent.web.site.asking import View
from triage_agent.worklist import SqlAuditLog, SqlReadingList, SqlWorklist, open_engine, upgrade

ROWS = int(os.environ.get("PLAN_ROWS", "20000"))
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
ASKED_AT = NOW + timedelta(days=6)  # a week has a thousand studies then, and not a third of so few
FEW = 100_000
LARGE = ("studies", "audit_events", "audit_seals")
WHOLE = View(days="all")
LISTS = {
    "as it opens": View(),
    "also read ones": View(read=True),
    "newest first": View(order=Order.NEWEST_FIRST),
    "urgent ones": replace(WHOLE, priority=Priority.URGENT),
    "those that need a human": replace(WHOLE, status=Status.NEEDS_HUMAN),
    "a region": replace(WHOLE, region="XR_KNEE"),
    "an accession number": replace(WHOLE, text="RX000123-0"),
    "a patient's number": replace(WHOLE, text="P00042"),
    "a patient's name": replace(WHOLE, text="akesson7"),
    "a name that nobody has": replace(WHOLE, text="nobody"),
}
SAW = frozenset({AuditAction.STUDIES_LISTED, AuditAction.STUDY_VIEWED})
DAY = {"since": NOW - timedelta(days=2), "until": NOW - timedelta(days=1)}
QUESTIONS = {
    "as it opens": {},
    "a person": {"actor": "dr.7"},
    "a person, in a time": {"actor": "dr.7", **DAY},
    "nobody": {"actor": "nobody"},
    "an event": {"actions": frozenset({AuditAction.STUDY_VIEWED})},
    "a rare event": {"actions": frozenset({AuditAction.AUDIT_EXPORTED})},
    "who saw, in a time": {"actions": SAW, **DAY},
    "a study": {"study_instance_uid": "1.2.840.99999.1.77.0"},
    "a patient's studies": {"studies": tuple(f"1.2.840.99999.1.{number}.0" for number in range(500))},
    "a person and a study": {"actor": "dr.7", "study_instance_uid": "1.2.840.99999.1.77.0"},
    "a time": DAY,
}
_RECORDS = """
INSERT INTO audit_events (at, action, actor, study_instance_uid, detail)
SELECT CAST(:now AS timestamptz) - n * interval '1 second' * 1000000 / :rows,
       CASE WHEN n % 1000 = 0 THEN 'audit_exported'
            ELSE (ARRAY['study_viewed', 'studies_listed', 'instance_received', 'delivery_sent'])[1 + n % 4] END,
       'dr.' || n % 40, '1.2.840.99999.1.' || n % 10000 || '.0', '{}'
FROM generate_series(1, :rows) AS n
"""


pytestmark = pytest.mark.external


@pytest.fixture(scope="module")
def worklist(postgres):
    with postgres_database(postgres, "plans") as url:
        upgrade(url)
        engine = open_engine(url)
        yield _filled(engine)
        engine.dispose()


def _filled(engine):
    made = SqlWorklist(engine)
    if ROWS < FEW:
        with engine.begin() as connection:
            connection.execute(text("ALTER DATABASE plans SET random_page_cost = 1.1"))
    fill(made.database, ROWS, NOW)
    with engine.begin() as connection:
        connection.execute(text(_RECORDS), {"now": NOW.isoformat(), "rows": ROWS})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()  # its connections know of no such disk
    return made


@pytest.fixture
def scans(worklist):
    """What is read as a whole by all that was asked since: each large table, with its plan."""
    engine, asked = worklist.database.engine, []

    def hear(_connection, _cursor, statement, given, *_):
        if statement.startswith("SELECT"):
            asked.append((statement, given))

    on.listen(engine, "before_cursor_execute", hear)

    def scans():
        on.remove(engine, "before_cursor_execute", hear)
        assert asked
        with engine.connect() as connection:
            plans = ["\n".join(connection.exec_driver_sql(f"EXPLAIN {one}", given).scalars()) for one, given in asked]
        return [plan for plan in plans if any(f"Seq Scan on {table}" in plan for table in LARGE)]

    return scans


@pytest.mark.parametrize("called", LISTS)
def test_no_list_reads_all_studies(worklist, scans, called):
    SqlReadingList(worklist.database).page(LISTS[called].question(ASKED_AT))
    assert scans() == []


@pytest.mark.parametrize("order", list(Order))
def test_no_later_page_reads_all_studies(worklist, scans, order):
    readers, view = SqlReadingList(worklist.database), replace(WHOLE, order=order)
    page = readers.page(view.question(ASKED_AT))
    readers.page(replace(view, after=page.studies[-1].place).question(ASKED_AT))
    assert scans() == []


def test_what_stands_above_and_beside_every_list_reads_no_large_table(worklist, scans):
    readers = SqlReadingList(worklist.database)
    readers.page(ListQuestion(status=Status.NEEDS_HUMAN, limit=5))
    readers.regions()
    readers.of_patient("P00042-0", "1.2.3", 20)
    assert scans() == []


@pytest.mark.parametrize("called", QUESTIONS)
def test_no_question_to_the_audit_log_reads_all_records(worklist, scans, called):
    trail = SqlAuditLog(worklist.database)
    trail.records(AuditQuestion(limit=100, **QUESTIONS[called]))
    assert scans() == []


def test_a_patient_is_found_for_the_audit_log_and_the_chain_is_told_without_reading_all(worklist, scans):
    trail = SqlAuditLog(worklist.database)
    for patient in ("P00042", "akesson7", "nobody"):
        trail.studies_of_patient(patient, 501)
    trail.head()
    trail.records(AuditQuestion(action=AuditAction.AUDIT_ANCHORED, limit=1))
    assert scans() == []


def test_what_is_asked_often_is_planned_for_what_is_asked(worklist):
    """A plan for any values, which a server makes from the sixth time on, would read all studies for a week's."""
    readers = SqlReadingList(worklist.database)
    for _ in range(12):
        readers.page(LISTS["as it opens"].question(ASKED_AT))
    prepared = text("SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement LIKE '%studies%'")
    plans = worklist.database.read(lambda session: session.execute(prepared).all())
    assert max(custom for custom, _ in plans) > 5
    assert [generic for _, generic in plans if generic] == []
