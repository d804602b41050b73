"""Whatever is done to a sealed log is found. `make tampering` does it ten thousand times."""

# ruff: noqa: S608 - the statements are the test's own

import os
import random
import shutil
from collections import Counter

import pytest
from sqlalchemy import text
from support.auditing import T0, fill, seal_all, unguarded
from support.tampering import Tamperer

from triage_agent.audit.anchors import open_signer
from triage_agent.audit.verification import verify
from triage_agent.worklist import SqlAuditLog, SqlWorklist, open_engine

RECORDS = 40
TIMES = int(os.environ.get("TRIAGE_TAMPERINGS", "150"))
SEED = int(os.environ.get("TRIAGE_TAMPERING_SEED", "7"))


@pytest.fixture
def signer(tmp_path):
    return open_signer(tmp_path / "anchor.key", make=True)


def prepare(engine, first=2000):
    """A sealed log, some ids of whose past were never taken."""
    worklist = SqlWorklist(engine)
    log = SqlAuditLog(worklist.database)
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM sqlite_sequence"))
            connection.execute(text(f"INSERT INTO sqlite_sequence VALUES ('audit_events', {first})"))
    for number in range(0, RECORDS, 8):
        fill(worklist, 8, first=number)
        seal_all(log)
    return log


def test_every_tampering_is_found(sqlite_url, tmp_path, signer):
    engine = open_engine(sqlite_url)
    anchor = signer.sign(prepare(engine).head(), T0)
    engine.dispose()
    whole = tmp_path / "whole.db"
    shutil.copy(sqlite_url.removeprefix("sqlite:///"), whole)
    rng, tally = random.Random(SEED), Counter()
    for number in range(TIMES):
        path = tmp_path / "tampered.db"
        shutil.copy(whole, path)
        engine = open_engine(f"sqlite:///{path}")
        try:
            with unguarded(engine) as connection:
                tamperer = Tamperer(connection, rng)
                tamperer.once()
            log = SqlAuditLog(SqlWorklist(engine).database)
            assert not verify(log, T0, anchors=[anchor]).intact, (number, tamperer.what)
        finally:
            engine.dispose()
            for left in tmp_path.glob("tampered.db-*"):
                left.unlink()
        tally[tamperer.what] += 1
    assert sum(tally.values()) == TIMES
    print(dict(sorted(tally.items())))  # noqa: T201 - what `make tampering` shows


@pytest.mark.external
@pytest.mark.parametrize("seed", range(12))
def test_every_tampering_is_found_on_postgres_too(postgres_url, signer, seed):
    engine = open_engine(postgres_url)
    log = prepare(engine)
    anchor = signer.sign(log.head(), T0)
    assert verify(log, T0, anchors=[anchor]).intact
    rng = random.Random(seed)
    with unguarded(engine) as connection:
        tamperer = Tamperer(connection, rng)
        ways = ("delete_record", "delete_seal", "delete_both", "swap_records", "swap_seals", "truncate_both")
        way = rng.choice(ways)
        getattr(tamperer, way)()
        if seed % 3 == 0:
            connection.execute(
                text("UPDATE audit_events SET actor = 'x' WHERE id = (SELECT max(id) FROM audit_events)")
            )
    assert not verify(log, T0, anchors=[anchor]).intact, way
    engine.dispose()


def findings_of(sqlite_url, statement):
    engine = open_engine(sqlite_url)
    log = prepare(engine, first=0)
    with unguarded(engine) as connection:
        connection.execute(text(statement))
    found = verify(log, T0).findings
    engine.dispose()
    return [finding[:3] for finding in found]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_events SET actor = 'x' WHERE id = 7", ("changed", 7, 7)),
        ("DELETE FROM audit_events WHERE id = 7", ("deleted", 7, 7)),
        ("DELETE FROM audit_seals WHERE position = 7", ("seal_missing", None, 7)),
        ("DELETE FROM audit_seals WHERE position > 30", ("truncated", None, 31)),
        ("DELETE FROM audit_head", ("head_missing", None, None)),
        ("UPDATE audit_events SET actor = CAST(actor AS BLOB) WHERE id = 7", ("changed", 7, 7)),
        ("UPDATE audit_events SET at = 5 WHERE id = 7", ("changed", 7, 7)),
    ],
)
def test_it_is_said_which_record_it_is(sqlite_url, statement, found):
    findings = findings_of(sqlite_url, statement)
    assert findings[0] == found
    assert len(findings) <= 2 + 10 * ("position > 30" in statement)


def test_a_record_and_its_seal_taken_out_together_are_found(sqlite_url):
    engine = open_engine(sqlite_url)
    log = prepare(engine, first=0)
    with unguarded(engine) as connection:
        connection.execute(text("DELETE FROM audit_events WHERE id = 9"))
        connection.execute(text("DELETE FROM audit_seals WHERE record_id = 9"))
    assert [finding[:3] for finding in verify(log, T0).findings] == [("seal_missing", None, 9)]
    engine.dispose()
