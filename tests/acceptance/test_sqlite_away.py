"""The SQLite file is locked by somebody else, or gone: nothing is acknowledged that would be lost."""

import json
import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from support.agent import eventually
from support.xrays import radiograph, send

_OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def running(agent, pacs, calm_bundle):
    return agent(bundle=calm_bundle, pacs_port=pacs.port, quiet=0.5)


def problem(running):
    status, body = running.get("readyz")
    return json.loads(body)["problems"].get("database") if status == 503 else None


def test_a_file_that_somebody_keeps_locked_is_refused_and_sigterm_ends_in_time_all_the_same(running):
    image = radiograph(seed=1)
    assert list(send(running.port, image).values()) == [0x0000]
    with closing(sqlite3.connect(running.data_dir / "triage.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert list(send(running.port, radiograph(seed=2)).values()) == [_OUT_OF_RESOURCES]
        assert eventually(lambda: problem(running))
        assert running.stop() == 0
    running.start()
    (item,) = running.settled(image.StudyInstanceUID)
    assert item["status"] == "delivered"


def test_a_file_that_is_removed_is_made_again_from_the_spool_by_one_command_and_nothing_is_taken_before(running, pacs):
    before, meanwhile = radiograph(seed=1), radiograph(seed=2)
    assert list(send(running.port, before).values()) == [0x0000]
    running.settled(before.StudyInstanceUID)
    running.close_worklist()
    (running.data_dir / "triage.db").unlink()
    assert list(send(running.port, meanwhile).values()) == [_OUT_OF_RESOURCES]
    assert "removed or replaced" in eventually(lambda: problem(running))
    assert not (running.data_dir / "triage.db").exists()
    assert running.stop() == 0
    (spool,) = (one for one in json.loads(running.cli("check", "--json").stdout) if one["part"] == "spool")
    assert (spool["ok"], "the database is empty" in spool["says"]) == (False, True)
    refused = running.cli("serve")
    assert (refused.returncode, "`triage-agent db rebuild`" in refused.stderr) == (2, True)
    assert running.cli("db", "rebuild").returncode == 0
    running.start()
    assert list(send(running.port, meanwhile).values()) == [0x0000]
    running.settled(before.StudyInstanceUID, meanwhile.StudyInstanceUID)
    assert set(Counter(each.StudyInstanceUID for each in pacs.objects).values()) == {1}
