"""What the database itself refuses, whoever writes the SQL, and that the migrations make the tables of the code."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError
from support.story import LEASE, RULE, STUDY, T0, Story, flag, received, scored, shipment

from triage_agent.domain import states
from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import DeliveryState, Finding, Outcome, Status
from triage_agent.worklist import SqlWorklist, current, is_current, open_engine, registration, scoring, upgrade
from triage_agent.worklist.migrate import migrations_folder
from triage_agent.worklist.tables import Base

empty = pytest.mark.parametrize(
    "empty_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.external)], indirect=True
)


@pytest.fixture
def first_migration():
    scripts = ScriptDirectory(str(migrations_folder()))
    return scripts.get_revision("0001").module


@pytest.fixture
def story(engine):
    return Story(SqlWorklist(engine))


def execute(engine, statement, **values):
    with engine.begin() as connection:
        return connection.execute(text(statement), values)


# --- migrations -------------------------------------------------------------------------------------------------------
@empty
def test_an_empty_database_is_brought_to_this_version(empty_url):
    assert current(empty_url) is None
    assert upgrade(empty_url) == current(empty_url)
    assert upgrade(empty_url) == current(empty_url)


def test_the_migrated_tables_are_those_of_the_code(engine):
    with warnings.catch_warnings(), engine.connect() as connection:
        warnings.filterwarnings("ignore", message=".*functional index")  # compared by name below
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    of_code = {(table.name, index.name) for table in Base.metadata.sorted_tables for index in table.indexes}
    inspector = inspect(engine)
    in_database = {
        (table, index["name"])
        for table in inspector.get_table_names()
        for index in inspector.get_indexes(table)
        if not index.get("duplicates_constraint")
    }
    assert in_database == of_code


def test_the_frozen_words_are_the_domain_s(first_migration):
    legal = {(before, after) for (before, _), after in states.TRANSITIONS.items() if before is not after}
    assert set(first_migration.STATUS_CHANGES) == legal
    assert tuple(Status) == first_migration.STATUSES
    assert tuple(Finding) == first_migration.FINDINGS
    assert tuple(Outcome) == first_migration.OUTCOMES
    assert tuple(DeliveryState) == ScriptDirectory(str(migrations_folder())).get_revision("0003").module.DELIVERY_STATES


def test_the_frozen_words_of_what_is_fetched_are_the_domain_s():
    migration = ScriptDirectory(str(migrations_folder())).get_revision("0005").module
    assert tuple(RetrievalState) == migration.RETRIEVAL_STATES


@empty
def test_processes_that_migrate_at_once_do_not_hurt_each_other(empty_url):
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(upgrade, [empty_url] * 3))) == 1


@empty
def test_a_database_without_tables_is_not_there_yet(empty_url):
    engine = open_engine(empty_url)
    worklist = SqlWorklist(engine)
    assert not is_current(engine)
    with pytest.raises(WorklistUnavailableError, match="triage-agent db upgrade"):
        worklist.ping()
    with pytest.raises(WorklistUnavailableError):
        worklist.register(received(), RULE)
    engine.dispose()


@empty
def test_a_database_of_a_newer_version_is_left_alone(empty_url):
    upgrade(empty_url)
    engine = open_engine(empty_url)
    execute(engine, "UPDATE alembic_version SET version_num = '9999'")
    assert not is_current(engine)
    engine.dispose()
    with pytest.raises(ConfigurationError, match="the version of the agent that made it"):
        upgrade(empty_url)


# --- refusals ---------------------------------------------------------------------------------------------------------
def test_a_priority_is_not_lowered_by_any_sql(engine, story):
    story.decided()
    with pytest.raises(IntegrityError, match="never lowered"):
        execute(engine, "UPDATE studies SET priority = 0")
    execute(engine, "UPDATE studies SET priority = 2")
    execute(engine, "UPDATE studies SET priority_at_arrival = 1")
    with pytest.raises(IntegrityError, match="never lowered"):
        execute(engine, "UPDATE studies SET priority_at_arrival = 0")


@pytest.mark.parametrize(
    "change",
    ["priority = 3", "priority_at_arrival = 2", "status = 'lost'", "finding = 'odd'", "probability = 1.5"],
)
def test_values_that_make_no_sense_are_refused(engine, story, change):
    story.decided()
    with pytest.raises(IntegrityError):
        execute(engine, f"UPDATE studies SET {change}")  # noqa: S608, literal


def test_a_revision_is_not_taken_back(engine, story):
    story.decided()
    story.receive()
    with pytest.raises(IntegrityError, match="never taken back"):
        execute(engine, "UPDATE studies SET revision = 1")


@pytest.mark.parametrize("before", Status)
def test_only_the_table_s_status_changes_are_possible(engine, story, before):
    legal = {after for (source, _), after in states.TRANSITIONS.items() if source is before} | {before}
    for number, after in enumerate(Status):
        study = f"1.2.{number}"
        story.receive(study)
        for step in _way_to(before):
            execute(
                engine, "UPDATE studies SET status = :step WHERE study_instance_uid = :study", step=step, study=study
            )
        change = {"after": after, "study": study}
        statement = "UPDATE studies SET status = :after WHERE study_instance_uid = :study"
        if after in legal:
            assert execute(engine, statement, **change).rowcount == 1
        else:
            with pytest.raises(IntegrityError, match="not in the table"):
                execute(engine, statement, **change)


def _way_to(status):
    ways = {
        Status.RECEIVING: [],
        Status.READY: ["ready"],
        Status.SCORING: ["ready", "scoring"],
        Status.DELIVERED: ["ready", "scoring", "decided", "delivered"],
    }
    return ways.get(status, ["ready", "scoring", status.value])


@pytest.mark.parametrize("statement", ["UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events"])
def test_audit_events_are_not_changed_by_any_sql(engine, story, statement):
    story.receive()
    before = story.worklist.study(STUDY).audit
    with pytest.raises(IntegrityError, match="never changed"):
        execute(engine, statement)
    assert story.worklist.study(STUDY).audit == before


@pytest.mark.external
def test_the_audit_log_is_not_truncated(postgres_url):
    engine = open_engine(postgres_url)
    with pytest.raises(IntegrityError, match="never changed"):
        execute(engine, "TRUNCATE audit_events")
    engine.dispose()


def test_an_outbox_row_is_there_once(engine, story):
    story.decided(shipment())
    columns = "artifact_id, study_instance_uid, revision, destination, of_decision, state, attempts"
    with pytest.raises(IntegrityError):
        execute(engine, f"INSERT INTO outbox ({columns}) SELECT {columns} FROM outbox")  # noqa: S608, both are literal


# --- all or nothing ---------------------------------------------------------------------------------------------------
class Crash(Exception):  # noqa: N818, it stands for a power cut
    pass


def crash(*args, **kwargs):
    raise Crash


def test_a_registration_that_is_cut_short_leaves_nothing(engine, story, monkeypatch):
    monkeypatch.setattr(registration, "append_audit", crash)
    with pytest.raises(Crash):
        story.worklist.register(received(), RULE)
    for table in ("studies", "instances", "audit_events"):
        assert execute(engine, f"SELECT count(*) FROM {table}").scalar_one() == 0  # noqa: S608, literal


def test_a_decision_that_is_cut_short_leaves_nothing(engine, story, monkeypatch):
    story.claimed()
    before = story.worklist.study(STUDY)
    monkeypatch.setattr(scoring, "settle", crash)
    with pytest.raises(Crash):
        story.decide(shipment())
    assert story.worklist.study(STUDY) == before
    for table in ("decisions", "artifacts", "outbox"):
        assert execute(engine, f"SELECT count(*) FROM {table}").scalar_one() == 0  # noqa: S608, literal


def test_a_flag_that_is_cut_short_leaves_its_image_to_be_claimed_again(engine, story, monkeypatch):
    story.receive()
    before = story.worklist.study(STUDY)
    monkeypatch.setattr(scoring, "enqueue", crash)
    with pytest.raises(Crash):
        story.worklist.raise_flag(flag(), [shipment()], story.tick(), scored("1.2.1.1", 0.95))
    assert story.worklist.study(STUDY) == before
    assert len(story.worklist.claim_images("w2", story.tick(), LEASE, 1)) == 1


def test_every_decision_is_kept_for_history(engine, story):
    story.decided(finding=Finding.NORMAL)
    story.receive()
    story.complete()
    story.claim()
    story.decide()
    rows = execute(engine, "SELECT revision, finding FROM decisions ORDER BY revision").all()
    assert [tuple(row) for row in rows] == [(1, "normal"), (2, "abnormal")]


def test_times_lie_in_the_database_in_utc(engine, story):
    story.receive()
    stored = execute(engine, "SELECT received_at FROM studies").scalar_one()
    assert str(stored).startswith(f"{T0:%Y-%m-%d %H:%M}")
