"""Records that are older than the chain become links of it; and back, where there is a way."""

from datetime import timedelta

import pytest
from alembic import command
from support.auditing import T0, fill, seal_all

from triage_agent.audit.anchors import open_signer
from triage_agent.audit.verification import verify
from triage_agent.worklist import SqlAuditLog, SqlWorklist, migrate, open_engine, upgrade


@pytest.mark.parametrize("empty_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.external)], indirect=True)
def test_records_of_before_are_sealed_and_stay_when_the_chain_goes_which_anchors_tell(empty_url, tmp_path):
    upgrade(empty_url)
    engine = open_engine(empty_url)
    worklist = SqlWorklist(engine)
    log = SqlAuditLog(worklist.database)
    fill(worklist, 10)
    seal_all(log)
    signer = open_signer(tmp_path / "key", make=True)
    anchors = [signer.sign(log.head(), T0)]
    for move, revision in ((command.downgrade, "0013"), (command.upgrade, "head")):
        with engine.begin() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            move(config, revision)
        fill(worklist, 10, first=11)  # an earlier version writes the same rows
    assert log.unsealed(0).number == 30
    assert [one.what for one in verify(log, T0, anchors=anchors).findings] == ["truncated"]
    assert seal_all(log, T0 + timedelta(days=1)) == 30
    assert verify(log, T0).intact  # as far as the database can tell
    assert [one.what for one in verify(log, T0, anchors=anchors).findings] == ["rewritten"]
    engine.dispose()
