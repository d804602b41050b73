"""Records that are older than the chain become links of it; and back, where there is a way."""

import pytest
from alembic import command
from support.auditing import T0, fill, seal_all

from triage_agent.audit.verification import verify
from triage_agent.worklist import SqlAuditLog, SqlWorklist, migrate, open_engine, upgrade


@pytest.mark.parametrize("empty_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.external)], indirect=True)
def test_records_of_before_are_sealed_and_stay_when_the_chain_goes(empty_url):
    upgrade(empty_url)
    engine = open_engine(empty_url)
    worklist = SqlWorklist(engine)
    log = SqlAuditLog(worklist.database)
    fill(worklist, 10)
    seal_all(log)
    for move, revision in ((command.downgrade, "0013"), (command.upgrade, "head")):
        with engine.begin() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            move(config, revision)
        fill(worklist, 10, first=11)  # an earlier version writes the same rows
    assert log.unsealed(0).number == 30
    assert seal_all(log) == 30
    assert verify(log, T0).intact
    engine.dispose()
