"""Several processes on one Postgres: they wake each other, outlive each other, and outlive the database's absence."""

import itertools
import json
import threading
import time
from collections import Counter

import pytest
from sqlalchemy import create_engine, text
from support.agent import eventually
from support.postgres import postgres_cluster, postgres_database
from support.xrays import radiograph, send

from triage_agent.worklist import upgrade

pytestmark = pytest.mark.external

_numbers = itertools.count(1)
_POLL_SECONDS = 120.0  # so seldom that whatever happens soon was not found by looking
_SOON = 30.0
_OUT_OF_RESOURCES = 0xA700


@pytest.fixture(scope="module")
def server():
    with postgres_cluster() as cluster:
        yield cluster


@pytest.fixture
def database(server):
    with postgres_database(server.url, f"hospital_{next(_numbers)}") as url:
        upgrade(url)
        yield url


@pytest.fixture
def sql(database):
    """Runs a statement in a transaction of its own, past the agent."""
    engine = create_engine(database)

    def run(statement, **values):
        with engine.begin() as connection:
            found = connection.execute(text(statement), values)
            return found.all() if found.returns_rows else None

    yield run
    engine.dispose()


@pytest.fixture
def process(agent, database):
    """Starts a process of the site: `process("worker", shares_data_with=other, ...)`."""

    def make(role, *, poll=0.25, **site):
        tables = f'[database]\nurl = "{database}"\n[worker]\nlease_seconds = 3\npoll_seconds = {poll}\n'
        return agent(name=role, role=role, tables=tables, **site)

    return make


def assessed_after(sql, image):
    """Seconds from an image's registration to its score, by the database's clock; None while there is none."""
    ((seconds,),) = sql(
        "SELECT EXTRACT(epoch FROM assessed_at - received_at) FROM instances WHERE sop_instance_uid = :uid",
        uid=image.SOPInstanceUID,
    )
    return seconds


# --- waking each other ------------------------------------------------------------------------------------------------
def test_a_worker_begins_with_an_image_when_another_process_has_registered_it_and_not_when_it_looks_next(
    process, sql, pacs, calm_bundle
):
    site = {"bundle": calm_bundle, "pacs_port": pacs.port, "quiet": 600, "poll": _POLL_SECONDS}
    listener = process("listener", **site)
    process("worker", shares_data_with=listener, **site)
    first, second = radiograph(seed=1), radiograph(seed=2)
    send(listener.port, first)
    eventually(lambda: assessed_after(sql, first), _SOON, every=0.02)

    sql("ALTER TABLE instances DISABLE TRIGGER instances_wake")
    send(listener.port, second)
    time.sleep(5.0)
    assert assessed_after(sql, second) is None, "polling alone would have been as quick"
    sql("NOTIFY triage_work, 'worker'")
    eventually(lambda: assessed_after(sql, second), _SOON)


# --- several of each --------------------------------------------------------------------------------------------------
def held_by(sql, process):
    """Studies that a process holds."""
    owner = f"%:{process._process.pid}:%"
    statement = "SELECT study_instance_uid FROM studies WHERE status = 'scoring' AND lease_owner LIKE :owner"
    return [uid for (uid,) in sql(statement, owner=owner)]


def send_all(ports, images, answers):
    """From two senders at once, each to a listener of its own, an association an image."""

    def one_sender(port, share):
        for image in share:
            answers.update(send(port, image))

    threads = [
        threading.Thread(target=one_sender, args=(port, images[number :: len(ports)]), daemon=True)
        for number, port in enumerate(ports)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_two_listeners_and_two_workers_share_the_work_and_one_s_death_or_restart_costs_nothing(
    process, sql, database, pacs, tiny_bundle
):
    site = {"bundle": tiny_bundle, "pacs_port": pacs.port, "quiet": 0.5}
    first = process("listener", **site)
    second = process("listener", shares_data_with=first, **site)
    dying = process("worker", shares_data_with=first, **site)
    images, answers = [radiograph(seed=n) for n in range(24)], {}
    living = process("worker", shares_data_with=first, **site)

    engine = create_engine(database)
    with engine.begin() as connection:  # nobody can decide: both workers hold a study and wait
        connection.execute(text("LOCK TABLE decisions IN SHARE MODE"))
        senders = send_all([first.port, second.port], images, answers)
        eventually(lambda: held_by(sql, dying) and held_by(sql, living), 60, every=0.02)
        orphaned = held_by(sql, dying)
        dying.kill()
        # A replica that starts looks at the whole spool while the other one writes to it.
        third = process("listener", shares_data_with=first, start=False, **site).start(wait=False)
    engine.dispose()
    for sender in senders:
        sender.join(120)
    eventually(third.ready)
    assert answers == {image.SOPInstanceUID: 0x0000 for image in images}

    items = first.settled(*(image.StudyInstanceUID for image in images))
    assert {(item["status"], item["revision"], item["instances"]) for item in items} == {("delivered", 1, 1)}
    decided = Counter(uid for (uid,) in sql("SELECT study_instance_uid FROM decisions"))
    assert decided == Counter(image.StudyInstanceUID for image in images)
    reports = [each for each in pacs.objects if each.get("Modality") == "SR"]
    assert Counter(each.StudyInstanceUID for each in reports) == decided
    assert {pacs.times_stored(each.SOPInstanceUID) for each in reports} == {1}

    moved = {uid for uid, detail in changes(sql) if detail["event"] == "given_back"}
    assert set(orphaned) <= moved, "the dead worker's study went back to the queue"
    odd = sql("SELECT action FROM audit_events WHERE action IN ('instance_conflict', 'instance_quarantined')")
    assert odd == []
    assert not list((first.data_dir / "spool" / "quarantine").rglob("*"))
    assert len(list((first.data_dir / "spool" / "incoming").rglob("*.dcm"))) == len(images)


def changes(sql):
    """Every change of status: the study, and what the audit trail says of it."""
    rows = sql("SELECT study_instance_uid, detail FROM audit_events WHERE action = 'status_changed'")
    return [(uid, detail if isinstance(detail, dict) else json.loads(detail)) for uid, detail in rows]


def test_a_replica_that_starts_and_ends_takes_nothing_from_one_that_works(process, sql, database, pacs, calm_bundle):
    site = {"bundle": calm_bundle, "pacs_port": pacs.port, "quiet": 0.5}
    working, image = process("all", **site), radiograph(seed=1)
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE decisions IN SHARE MODE"))
        send(working.port, image)
        eventually(lambda: held_by(sql, working), every=0.02)
        other = process("worker", shares_data_with=working, **site)
        assert other.stop() == 0
    engine.dispose()
    working.settled(image.StudyInstanceUID)
    owners = {owner for (owner,) in sql("SELECT decided_by FROM decisions")}
    assert len(owners) == 1
    assert f":{working._process.pid}:" in owners.pop()


# --- without the database ---------------------------------------------------------------------------------------------
def test_while_the_database_is_away_senders_keep_what_they_have_and_everything_goes_on_after_it(
    process, server, pacs, calm_bundle
):
    running = process("all", bundle=calm_bundle, pacs_port=pacs.port, quiet=0.5, poll=_POLL_SECONDS)
    before, meanwhile = radiograph(seed=1), radiograph(seed=2)
    assert list(send(running.port, before).values()) == [0x0000]
    with server.stopped():
        started = time.monotonic()
        assert list(send(running.port, meanwhile).values()) == [_OUT_OF_RESOURCES]
        assert time.monotonic() - started < _SOON
        status, body = running.get("readyz")
        assert (status, "did not answer" in json.loads(body)["problems"]["database"]) == (503, True)
        assert running.get("healthz")[0] == 200
    eventually(running.ready, _SOON)
    assert list(send(running.port, meanwhile).values()) == [0x0000]
    items = running.settled(before.StudyInstanceUID, meanwhile.StudyInstanceUID)
    assert {(item["status"], item["instances"], item["revision"]) for item in items} == {("delivered", 1, 1)}
    assert Counter(each.StudyInstanceUID for each in pacs.objects) == Counter(
        [before.StudyInstanceUID, meanwhile.StudyInstanceUID]
    )


@pytest.mark.parametrize("away", ["stopped", "frozen"])
def test_senders_are_told_and_sigterm_ends_in_time_while_the_database_is_away(process, server, pacs, calm_bundle, away):
    running = process("all", bundle=calm_bundle, pacs_port=pacs.port, quiet=60)
    assert list(send(running.port, radiograph(seed=1)).values()) == [0x0000]
    with getattr(server, away)():
        assert list(send(running.port, radiograph(seed=2)).values()) == [_OUT_OF_RESOURCES]
        assert running.stop() == 0
    assert "store_refused" in running.log_text
