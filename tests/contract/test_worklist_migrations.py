"""A database that an earlier version made and filled goes on with this one; and back, where there is a way."""

import json

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import bindparam, column, inspect, select, table, text
from sqlalchemy.exc import IntegrityError
from support.story import MODEL, SHADOW, STUDY, T0, Story, in_shadow, scored, shadow_result

from triage_agent.domain.reading import NAME_KEYS
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome, Priority, Status
from triage_agent.worklist import SqlWorklist, current, migrate, open_engine, upgrade
from triage_agent.worklist.types import UtcDateTime

pytestmark = pytest.mark.parametrize(
    "empty_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.external)], indirect=True
)

_AT = {
    "received_at",
    "first_received_at",
    "last_received_at",
    "decided_at",
    "assessed_at",
    "created_at",
    "committed_at",
}
_MODEL = {"name": "knees", "version": "1.2", "digest": "d" * 64, "anatomies": ["XR_KNEE"], "threshold": 0.5}
_STUDY_OF_0001 = {
    "study_instance_uid": STUDY,
    "status": "decided",
    "revision": 1,
    "priority": 1,
    "priority_at_arrival": 0,
    "instances": 2,
    "received_at": T0,
    "first_received_at": T0,
    "last_received_at": T0,
    "asked": 0,
    "attempts": 1,
    "finding": "abnormal",
    "probability": 0.8,
    "reasons": '["why"]',
    "decided_at": T0,
}
_IMAGE_OF_0001 = {
    "study_instance_uid": STUDY,
    "revision": 1,
    "series_instance_uid": "1.2.9",
    "sop_class_uid": "1.2.8",
    "transfer_syntax_uid": "1.2.7",
    "path": "a.dcm",
    "sha256": "a",
    "size": 9,
    "source": "PACS",
    "received_at": T0,
    "attempts": 0,
    "assessed_at": T0,
}
_SCORED = {"outcome": "scored", "probability": 0.8, "reason": "", "anatomy": "XR_KNEE", "bundle_digest": "d" * 64}
_FAILED = {"outcome": "failed", "reason": "torn", "bundle_digest": ""}
_DECISION_OF_0001 = {
    "study_instance_uid": STUDY,
    "revision": 1,
    "event": "decided",
    "finding": "abnormal",
    "probability": 0.8,
    "priority": 1,
    "rule": "abnormal",
    "reasons": "[]",
    "status_reason": "",
    "anatomy": "XR_KNEE",
    "model": json.dumps(_MODEL),
    "decided_by": "w1",
    "decided_at": T0,
}


def insert(connection, table, values):
    """A row as the first version wrote it; the tables of this one have columns that it did not know."""
    names = ", ".join(f":{name}" for name in values)
    statement = f"INSERT INTO {table} ({names.replace(':', '')}) VALUES ({names})"  # noqa: S608, literal
    times = [bindparam(name, type_=UtcDateTime()) for name in values if name in _AT]
    connection.execute(text(statement).bindparams(*times), values)


def at_revision(url, revision, move=command.upgrade):
    """Move the database to a migration, as `upgrade` does to the last one."""
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            move(config, revision)
    finally:
        engine.dispose()


def columns(url):
    engine = open_engine(url)
    inspector = inspect(engine)
    found = {
        table: [(one["name"], str(one["type"])) for one in inspector.get_columns(table)]
        for table in inspector.get_table_names()
    }
    indexes = {(table, index["name"]) for table in found for index in inspector.get_indexes(table)}
    engine.dispose()
    return found, indexes


@pytest.fixture
def old_url(empty_url):
    """A database of the first version, with a decided study in it."""
    at_revision(empty_url, "0001")
    engine = open_engine(empty_url)
    with engine.begin() as connection:
        insert(connection, "studies", _STUDY_OF_0001)
        insert(connection, "instances", {"sop_instance_uid": f"{STUDY}.1", **_IMAGE_OF_0001, **_SCORED})
        insert(connection, "instances", {"sop_instance_uid": f"{STUDY}.2", **_IMAGE_OF_0001, **_FAILED})
        insert(connection, "decisions", _DECISION_OF_0001)
    engine.dispose()
    return empty_url


@pytest.fixture
def upgraded(old_url):
    upgrade(old_url)
    engine = open_engine(old_url)
    yield SqlWorklist(engine)
    engine.dispose()


def test_rows_of_the_first_version_are_all_there_after_the_upgrade(upgraded):
    detail = upgraded.study(STUDY)
    assert (detail.item.status, detail.item.priority, detail.item.finding) == (
        Status.DECIDED,
        Priority.URGENT,
        Finding.ABNORMAL,
    )
    assert (detail.item.received_at, detail.item.decided_at, detail.reasons) == (T0, T0, ("why",))
    assert [one.assessment for one in detail.instances] == [
        scored(f"{STUDY}.1", 0.8),
        Assessment(sop_instance_uid=f"{STUDY}.2", outcome=Outcome.FAILED, reason="torn"),
    ]
    assert detail.shadow is None
    assert upgraded.comparisons(T0) == []


def test_a_decision_of_the_first_version_can_be_compared(upgraded):
    assert upgraded.record_shadow(STUDY, 1, shadow_result(), [in_shadow(f"{STUDY}.1", probability=0.8)], T0)
    assert upgraded.study(STUDY).shadow == shadow_result()
    (compared,) = upgraded.comparisons(T0)
    assert (compared.bundle, compared.shadow.digest) == (MODEL.label, SHADOW)


def test_the_database_still_refuses_to_lower_a_priority(upgraded, old_url):
    engine = open_engine(old_url)
    with pytest.raises(IntegrityError, match="never lowered"), engine.begin() as connection:
        connection.execute(text("UPDATE studies SET priority = 0"))
    engine.dispose()


def test_a_committed_delivery_goes_back_as_a_sent_one(upgraded, old_url):
    committed = {"artifact_id": 1, "study_instance_uid": STUDY, "revision": 1, "destination": "pacs", "attempts": 1}
    engine = open_engine(old_url)
    with engine.begin() as connection:
        artifact = {"id": 1, "study_instance_uid": STUDY, "revision": 1, "kind": "sr", "uid": "2.25.1", "summary": ""}
        insert(connection, "artifacts", {**artifact, "body": b"", "created_at": T0})
        insert(connection, "outbox", {**committed, "of_decision": True, "state": "committed", "committed_at": T0})
    assert [row.committed_at for row in upgraded.study(STUDY).deliveries] == [T0]
    at_revision(old_url, "0002", command.downgrade)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT state FROM outbox")).scalars().all() == ["sent"]
    with pytest.raises(IntegrityError, match="ck_outbox_state"), engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET state = 'committed'"))
    engine.dispose()


def test_the_way_back_leaves_the_tables_and_rows_of_the_first_version(old_url):
    before = columns(old_url)
    upgrade(old_url)
    assert columns(old_url) != before
    at_revision(old_url, "0001", command.downgrade)
    assert (columns(old_url), current(old_url)) == (before, "0001")
    upgrade(old_url)
    engine = open_engine(old_url)
    assert [one.assessment.reason for one in SqlWorklist(engine).study(STUDY).instances] == ["", "torn"]
    engine.dispose()


def made_by_migrations(url):
    """Tables, columns, indexes, triggers and functions, as the database spells them."""
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        statements = ["SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"]
    else:
        statements = [
            "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT 'function', proname, prosrc FROM pg_proc WHERE proname LIKE 'triage%'",
            "SELECT 'check', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'",
        ]
    with engine.connect() as connection:
        found = {_in_no_order(row) for statement in statements for row in connection.execute(text(statement))}
    engine.dispose()
    return found, columns(url)


def _in_no_order(row):
    """SQLite changes a constraint by writing the table anew, which may put constraints into another order."""
    *named, spelled = row
    lines = spelled.replace('"', "").splitlines()
    return (*named, frozenset(line.strip().rstrip(",") for line in lines))


def test_every_migration_can_be_taken_back_and_made_again_and_leaves_nothing_of_itself(empty_url):
    steps = [script.revision for script in ScriptDirectory(str(migrate.migrations_folder())).walk_revisions()][::-1]
    states = {"base": None}
    for revision in steps:
        at_revision(empty_url, revision)
        states[revision] = made_by_migrations(empty_url)
    for revision in reversed(steps[:-1]):
        at_revision(empty_url, revision, command.downgrade)
        assert made_by_migrations(empty_url) == states[revision], f"what is left of the one after {revision}"
    at_revision(empty_url, "base", command.downgrade)
    _, (tables, indexes) = made_by_migrations(empty_url)
    assert (set(tables), indexes) == ({"alembic_version"}, set())
    upgrade(empty_url)
    assert made_by_migrations(empty_url) == states[steps[-1]]


def test_the_record_of_what_was_received_is_not_taken_back(old_url):
    with pytest.raises(RuntimeError, match="restore a backup"):
        at_revision(old_url, "base", command.downgrade)
    assert current(old_url) == "0001"


def test_what_a_note_of_before_withdrew_counts_as_withdrawn(old_url):
    at_revision(old_url, "0010")
    engine = open_engine(old_url)
    of_study = {"study_instance_uid": STUDY, "revision": 1, "summary": "", "created_at": T0, "body": b"bytes"}
    kinds = ["sr", "hl7-oru", "rejection", "sr-text"]
    with engine.begin() as connection:
        for number, kind in enumerate(kinds, start=1):
            insert(connection, "artifacts", {**of_study, "id": number, "kind": kind, "uid": f"2.25.{number}"})
    upgrade(old_url)
    worklist = SqlWorklist(engine)
    assert [one.uid for one in worklist.withdrawn_of(STUDY, 9)] == ["2.25.1"]
    assert [one.uid for one in worklist.results_of(STUDY, 9)] == ["2.25.4", "2.25.3"]
    assert worklist.last_artifact(STUDY, ArtifactKind.HL7_ORU, 2).uid == "2.25.2"
    engine.dispose()


def test_names_that_were_searched_by_their_beginning_alone_are_found_by_each_of_their_groups(empty_url):
    upgrade(empty_url)
    engine = open_engine(empty_url)
    named = {"1.2.1": "Yamada^Tarou=山田^太郎=やまだ^たろう", "1.2.2": "Phantom, Ivo^", "1.2.3": None, "1.2.4": "Doe"}
    story = Story(SqlWorklist(engine))
    for study, name in named.items():
        story.receive(study=study, image=f"{study}.1", patient_name=name, patient_id=f"P,{study}", accession_number="A")
    keys = select(*(column(name) for name in ("study_instance_uid", *NAME_KEYS, "patient_key")))
    keys = keys.select_from(table("studies")).order_by(column("study_instance_uid"))
    with engine.begin() as connection:
        written = connection.execute(keys).all()
        connection.execute(text("UPDATE studies SET patient_key = 'p,1', name_key = 'phantom, ivo'"))  # as 0016 did
    at_revision(empty_url, "0023", command.downgrade)
    upgrade(empty_url)
    with engine.connect() as connection:
        assert connection.execute(keys).all() == written
    assert written[0][1:7] == ("yamada tarou", "tarou yamada", "山田太郎", "太郎山田", "やまたたろう", "たろうやまた")
    engine.dispose()
