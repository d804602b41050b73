"""The audit log's chain on SQLite and Postgres: who acts waits for nobody, and nothing committed is left out."""

# ruff: noqa: S608 - the statements are the test's own

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from support.auditing import T0, event, fill, seal_all, unguarded

from triage_agent.audit.chain import link
from triage_agent.audit.verification import verify
from triage_agent.worklist import SqlAuditLog, SqlWorklist
from triage_agent.worklist.rows import append_audit


@pytest.fixture
def site(engine):
    worklist = SqlWorklist(engine)
    return worklist, SqlAuditLog(worklist.database)


def sealed_ids(log):
    return [seal.record_id for seal, _ in log.links(0, 10_000)]


def test_records_are_sealed_in_their_order_and_verify(site):
    worklist, log = site
    fill(worklist, 25)
    assert log.unsealed(0).number == 25
    assert seal_all(log, limit=10) == 25
    report = verify(log, T0)
    assert (report.intact, report.records, report.last, report.unsealed) == (True, 25, 25, 0)
    ids = sealed_ids(log)
    assert ids == sorted(ids)
    fill(worklist, 3, first=26)
    assert verify(log, T0 + timedelta(seconds=60)).lag_seconds == 34
    assert seal_all(log) == 3
    assert verify(log, T0).last == 28


def test_an_empty_log_is_intact(site):
    _, log = site
    assert seal_all(log) == 0
    assert verify(log, T0).intact


def test_nobody_who_acts_waits_for_the_sealer(site, engine):
    """The sealer's locks are held, and records are committed meanwhile."""
    worklist, log = site
    if engine.dialect.name == "sqlite":
        return  # has one writer at a time, whatever is written
    fill(worklist, 3)
    seal_all(log)
    with engine.begin() as holding:
        holding.execute(text("SELECT * FROM audit_head FOR UPDATE"))
        fill(worklist, 2, first=4)
        assert log.seal(link, T0) == 0  # another process is sealing
    assert seal_all(log) == 2


def test_a_late_commit_with_a_lower_id_is_sealed_too(site, engine):
    worklist, log = site
    if engine.dialect.name == "sqlite":
        return  # there transactions commit in the order of their ids
    with Session(engine) as late:
        append_audit(late, event(1))
        late.flush()
        for number in range(2, 30):
            fill(worklist, 1, first=number)
            seal_all(log)
        assert verify(log, T0).intact
        late.commit()
    assert verify(log, T0).unsealed == 1
    assert seal_all(log) == 1
    report = verify(log, T0)
    assert (report.intact, report.last) == (True, 29)
    ids = sealed_ids(log)
    assert ids[-1] < ids[0]


def test_a_rolled_back_id_holds_nothing_up(site, engine):
    worklist, log = site
    with Session(engine) as session:
        append_audit(session, event(1))
        session.flush()
        session.rollback()
    for number in range(2, 12):
        fill(worklist, 1, first=number)
        seal_all(log)
    assert log.head().floor >= sealed_ids(log)[-4]


def test_an_old_id_that_turns_up_is_found_and_not_sealed(site, engine):
    """On Postgres once the transactions of its time have ended; on SQLite at once."""
    worklist, log = site
    for number in range(1, 15):
        fill(worklist, 1, first=number)
        seal_all(log)
    ids = sealed_ids(log)
    with unguarded(engine) as connection:
        connection.execute(text(f"DELETE FROM audit_events WHERE id = {ids[4]}"))
        connection.execute(text(f"UPDATE audit_seals SET record_id = -record_id WHERE record_id = {ids[4]}"))
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_events (id, at, action, actor, detail)"
                f" VALUES ({ids[4]}, '2026-03-01 08:00:04.000000', 'agent_started', 'me', '{{}}')"
            )
        )
    assert seal_all(log) == 0
    assert ("inserted", ids[4]) in [finding[:2] for finding in verify(log, T0).findings]


def test_writers_and_sealers_at_once_leave_nothing_out(site, engine):
    _, log = site
    stop = threading.Event()

    def sealing():
        while not stop.is_set():
            log.seal(link, T0, 7)

    def writing(first):
        for number in range(first, first + 20):
            with Session(engine) as session, session.begin():
                append_audit(session, event(number), event(number + 1000))

    sealers = [threading.Thread(target=sealing) for _ in range(2)]
    writers = [threading.Thread(target=writing, args=(100 * one,)) for one in range(1, 5)]
    for thread in sealers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in sealers:
        thread.join()
    seal_all(log)
    report = verify(log, T0)
    assert (report.intact, report.last, report.unsealed) == (True, 160, 0)
    assert len(set(sealed_ids(log))) == 160


def test_a_database_restored_into_another_server_goes_on(site, engine):
    """Its transactions' numbers begin anew, far below those that are written down."""
    worklist, log = site
    for number in range(1, 6):
        fill(worklist, 1, first=number)
        seal_all(log)
    with unguarded(engine) as connection:
        connection.execute(text("UPDATE audit_head SET mark_xid = 4000000000"))
    for number in range(6, 16):
        fill(worklist, 1, first=number)
        assert seal_all(log) == 1
    assert verify(log, T0).intact
    assert log.head().floor >= 10


@pytest.mark.parametrize("table", ["audit_seals", "audit_events", "audit_head"])
def test_no_sql_takes_the_chain_back(site, engine, table):
    worklist, log = site
    fill(worklist, 3)
    seal_all(log)
    changing = {"audit_seals": "head = 'x'", "audit_events": "actor = 'x'", "audit_head": "position = position - 1"}
    for statement in (f"UPDATE {table} SET {changing[table]}", f"DELETE FROM {table}"):
        with pytest.raises(Exception, match="never"), engine.begin() as connection:
            connection.execute(text(statement))


def test_a_part_of_the_chain_is_verified_by_when_it_was_sealed(site, engine):
    worklist, log = site
    for day in range(4):
        fill(worklist, 5, first=1 + 5 * day)
        seal_all(log, T0 + timedelta(days=day))
    with unguarded(engine) as connection:
        connection.execute(text(f"UPDATE audit_events SET actor = 'x' WHERE id = {sealed_ids(log)[7]}"))
    days = [T0 + timedelta(days=day, hours=-1) for day in range(5)]
    reports = [verify(log, T0, since=since, until=until) for since, until in pairwise(days)]
    assert [report.wrong for report in reports] == [0, 1, 0, 0]
    assert [(report.first, report.last) for report in reports] == [(1, 5), (6, 10), (11, 15), (16, 20)]
    assert verify(log, T0, since=days[4]).records == 0


def test_a_cursor_has_one_reader_at_a_time(site):
    _, log = site
    lease = timedelta(seconds=30)
    assert log.claim_cursor("syslog", "one", T0, lease) == 0
    assert log.claim_cursor("syslog", "two", T0, lease) is None
    assert log.move_cursor("syslog", "one", 5, T0, lease)
    assert log.claim_cursor("syslog", "two", T0 + 2 * lease, lease) == 5
    assert not log.move_cursor("syslog", "one", 9, T0 + 2 * lease, lease)
    log.release_cursor("syslog", "two", "away")
    assert log.behind("syslog").last_error == "away"
    assert log.claim_cursor("syslog", "one", T0, lease) == 5
