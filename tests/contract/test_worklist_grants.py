"""The agent runs with the role of `deploy/postgres/grants.sql`, which may not do what it does not need."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from support.auditing import fill, seal_all
from support.postgres import postgres_database
from support.story import DX, LEASE, REPORT, STUDY, Story, flag, in_shadow, scored, shadow_result, shipment

from triage_agent.audit.verification import verify
from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest, Reference
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import SqlWorklist, audit_log_of, open_engine, upgrade
from triage_agent.worklist.privileges import missing_grants
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
    worklist.bring_deadlines_near(story.now, LongestWaits())
    worklist.give_back("w1", story.tick())
    worklist.bury_unrouted(["elsewhere"], story.tick())
    assert {f"{STUDY}.1.dcm", "1.2.2.1.dcm"} <= set(worklist.spool_paths())
    assert worklist.counts()["status"]["ready"] == 1
    signals = Signals(as_role(database, "triage_agent"), print)
    signals.start()
    signals.stop()


def test_commitment_fetching_and_retention_are_granted_too(engine):
    worklist = SqlWorklist(engine)
    story = Story(worklist)
    asked = CommitmentRequest(peer="pacs", transaction_uid="2.25.9", references=(Reference(DX, "1.2.3.1"),))
    assert worklist.keep_commitment_request(asked, story.tick(), story.now)
    request = worklist.claim_commitment_request(story.tick(), story.now + LEASE)
    worklist.commitment_answered(request, 0, story.tick())
    story.decided(shipment("2.25.3"), study="1.2.3")
    (delivery,) = story.deliveries()
    worklist.delivery_sent(delivery, story.tick(), commit=True)
    assert len(worklist.claim_commitments("pacs", "2.25.7", story.tick(), story.now + LEASE, 10, 3)) == 1
    report = CommitmentReport(transaction_uid="2.25.7", committed=(Reference(REPORT, "2.25.3"),))
    assert worklist.commitment_reported(["pacs"], report, 3, story.tick()).committed == 1
    assert worklist.want_retrieval("1.2.4", "pacs", story.tick(), requested_by="admin")
    retrieval = worklist.claim_retrieval("w1", story.tick(), LEASE)
    assert worklist.retrieval_learnt(retrieval, 1, ["1.2.4.1"])
    assert worklist.retrieval_ended(retrieval, story.tick(), error=None, retry_at=None)
    now = story.tick()
    assert worklist.forget_originals("1.2.3", now, now) == ["1.2.3.1.dcm"]
    worklist.originals_gone("1.2.3", story.tick())


def test_the_audit_log_is_sealed_and_read(engine):
    worklist = SqlWorklist(engine)
    log = audit_log_of(worklist)
    fill(worklist, 5)
    seal_all(log)
    assert verify(log, Story(worklist).now).unsealed == 0
    assert log.claim_cursor("syslog", "me", Story(worklist).now, LEASE) is not None
    assert log.move_cursor("syslog", "me", 1, Story(worklist).now, LEASE)


def test_check_says_that_nothing_is_missing(engine):
    assert missing_grants(engine) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM studies",
        "DELETE FROM audit_events",
        "UPDATE audit_seals SET head = 'x'",
        "DELETE FROM audit_seals",
        "SET session_replication_role = replica",
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
