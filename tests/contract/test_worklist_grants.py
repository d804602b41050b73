"""The agent runs with the role of `deploy/postgres/grants.sql`, which may not do what it does not need."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from support.postgres import postgres_database
from support.story import LEASE, STUDY, Story, flag, in_shadow, scored, shadow_result, shipment

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status
from triage_agent.worklist import SqlWorklist, open_engine, upgrade
from triage_agent.worklist.signals import Signals

pytestmark = pytest.mark.external

GRANTS = Path(__file__).parents[2] / "deploy" / "postgres" / "grants.sql"


@pytest.fixture(scope="module")
def database(postgres):
    """The address of a database that was set up as the file says."""
    with postgres_database(postgres, "granted") as url:
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        for _ in range(2):  # before and after the first upgrade
            with admin.connect() as connection:
                connection.exec_driver_sql(GRANTS.read_text())
            upgrade(as_role(url, "triage_owner"))
        with admin.connect() as connection:
            connection.exec_driver_sql(GRANTS.read_text())
        yield url
        with admin.connect() as connection:
            for role in ("triage_agent", "triage_owner"):
                connection.exec_driver_sql(f"DROP OWNED BY {role} CASCADE")
                connection.exec_driver_sql(f"DROP ROLE {role}")
        admin.dispose()


def as_role(url, role):
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture
def engine(database):
    engine = open_engine(as_role(database, "triage_agent"))
    yield engine
    engine.dispose()


def test_everything_the_agent_does_is_granted(engine, database):
    worklist = SqlWorklist(engine)
    story = Story(worklist)
    worklist.ping()
    story.receive()
    (image,) = worklist.claim_images("w1", story.tick(), LEASE, 1)
    worklist.raise_flag(flag(), [shipment("2.25.1")], story.tick(), scored(image.instance.sop_instance_uid, 0.95))
    story.complete()
    story.claim()
    assert story.decide(shipment("2.25.2"), assessments=[scored(f"{STUDY}.1", 0.8)])
    worklist.record_shadow(STUDY, 1, shadow_result(), [in_shadow(f"{STUDY}.1", probability=0.8)], story.tick())
    assert story.send() == ["2.25.1"]
    assert story.lose() == ["2.25.2"]
    assert worklist.retry_failed("admin", story.tick()) == 1
    assert story.send() == ["2.25.2"]
    assert story.status() is Status.DELIVERED
    story.claimed("1.2.2")
    worklist.renew_leases("w1", story.tick(), LEASE)
    worklist.bring_deadlines_near(story.now, LEASE, LEASE)
    worklist.give_back("w1", story.tick())
    worklist.bury_unrouted(["elsewhere"], story.tick())
    assert len(list(worklist.spool_paths())) == 2
    assert worklist.counts()["status"]["ready"] == 1
    signals = Signals(as_role(database, "triage_agent"), print)
    signals.start()
    signals.stop()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM studies",
        "DELETE FROM audit_events",
        "UPDATE audit_events SET actor = 'nobody'",
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE outbox",
        "ALTER TABLE studies DISABLE TRIGGER ALL",
        "CREATE TABLE mine (n int)",
        "TRUNCATE decisions",
    ],
)
def test_what_the_agent_does_not_need_is_not_granted(engine, statement):
    with pytest.raises(Exception, match=r"permission denied|must be owner"), engine.begin() as connection:
        connection.execute(text(statement))


def test_a_role_without_its_grants_is_a_worklist_that_is_away(engine, database):
    """C-STORE then answers 0xA700: the sender keeps what it has, and an admin mends it."""
    admin = create_engine(database, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("REVOKE INSERT ON instances FROM triage_agent")
        with pytest.raises(WorklistUnavailableError, match="permission denied"):
            Story(SqlWorklist(engine)).receive("1.2.9")
        with pytest.raises(WorklistUnavailableError, match=r"may not write.*grants\.sql"):
            SqlWorklist(engine).ping()
        connection.exec_driver_sql("GRANT INSERT ON instances TO triage_agent")
    admin.dispose()
