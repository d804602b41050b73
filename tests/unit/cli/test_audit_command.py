"""`audit`: verify, export and tail, as an admin types them."""

import csv
import getpass
import io
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from support.auditing import T0, fill, seal_all, unguarded
from support.migrated import migrated

from triage_agent.audit.anchors import append, open_signer
from triage_agent.auditing import build_anchorer
from triage_agent.cli.auditing import look_at_audit
from triage_agent.cli.ports import Noteworthy
from triage_agent.settings import Settings
from triage_agent.worklist import SqlAuditLog, SqlWorklist, open_engine

NOW = datetime.now(UTC)


@pytest.fixture
def worklist(tmp_path, monkeypatch):
    """A database that the commands find."""
    monkeypatch.setenv("TRIAGE_AGENT__DATA_DIR", str(tmp_path))
    migrated(tmp_path / "triage.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'triage.db'}")
    yield SqlWorklist(engine)
    engine.dispose()


@pytest.fixture
def log(worklist):
    log = SqlAuditLog(worklist.database)
    fill(worklist, 20)
    seal_all(log, NOW)
    return log


def tamper(worklist, statement):
    with unguarded(worklist.database.engine) as connection:
        connection.execute(text(statement))


def test_an_intact_log_is_said_to_be_intact(run, log):
    said = run("audit", "verify")
    assert said.code == 0
    assert "audit log intact; 20 records, seals 1 to 20; all are sealed" in said.out
    report = json.loads(run("audit", "verify", "--json").out)
    assert (report["intact"], report["records"], report["wrong"], report["findings"]) == (True, 20, 0, [])
    assert report["unsealed"] == 1  # that it was verified before is recorded, too
    assert report["head"] == log.head().head


def test_a_changed_record_is_named_and_the_exit_status_is_1(run, log, worklist):
    tamper(worklist, "UPDATE audit_events SET actor = 'x' || char(27) WHERE id = 4")
    said = run("audit", "verify")
    assert said.code == 1
    assert "record 4" in said.out
    said = run("audit", "verify", "--json")
    assert said.code == 1
    (finding,) = json.loads(said.out)["findings"]
    assert (finding["what"], finding["record_id"], finding["position"]) == ("changed", 4, 4)


@pytest.fixture
def anchored(log, worklist):
    """The log, anchored as a running agent does it."""
    assert build_anchorer(Settings(), worklist, log, lambda: NOW).anchor(NOW)
    return log


def test_a_log_whose_seals_a_downgrade_took_is_found_by_the_agents_own_anchors(run, anchored, worklist):
    assert run("audit", "verify").code == 0
    assert "1 anchor compared" in run("audit", "verify").out
    tamper(worklist, "DELETE FROM audit_seals")
    tamper(worklist, "UPDATE audit_head SET position = 0, floor = 0, seen_id = 0, mark_id = 0, mark_xid = 0")
    said = run("audit", "verify")
    assert said.code == 1
    assert "truncated: nothing is sealed, and the chain was anchored at 20" in said.out
    tamper(worklist, "UPDATE audit_head SET head = '" + "0" * 64 + "'")
    assert seal_all(anchored, NOW.replace(year=2031)) > 20
    said = run("audit", "verify", "--json")
    assert [finding["what"] for finding in json.loads(said.out)["findings"]] == ["rewritten"]


def test_anchors_that_cannot_be_read_are_said_to_be_left_out(run, anchored, tmp_path):
    (tmp_path / "keys" / "audit-anchor.pub").write_text("")
    said = run("audit", "verify")
    assert said.code == 0
    assert "not compared with the agent's own anchors" in said.err
    assert "anchors compared" not in said.out


def test_a_log_that_was_made_anew_as_a_whole_is_found_by_its_anchors(run, log, worklist, tmp_path):
    signer = open_signer(tmp_path / "keys" / "anchor.key", make=True)
    append(tmp_path / "anchors", signer.sign(log.head(), T0))
    named = ["--anchors", str(tmp_path / "anchors"), "--public-key", str(tmp_path / "keys" / "anchor.pub")]
    assert run("audit", "verify", *named).code == 0
    tamper(worklist, "UPDATE audit_events SET actor = 'x' WHERE id = 4")
    tamper(worklist, "DELETE FROM audit_seals")
    tamper(worklist, "DELETE FROM audit_head")
    seal_all(log, NOW)
    assert run("audit", "verify").code == 0
    said = run("audit", "verify", *named)
    assert said.code == 1
    assert "was made anew" in said.out


def test_anchors_that_somebody_else_signed_are_no_anchors(run, log, tmp_path):
    signers = [open_signer(tmp_path / f"{one}.key", make=True) for one in ("ours", "theirs")]
    append(tmp_path / "anchors", signers[1].sign(log.head(), T0))
    named = ["--anchors", str(tmp_path / "anchors"), "--public-key", str(tmp_path / "ours.pub")]
    said = run("audit", "verify", *named)
    assert (said.code, "line 1" in said.err) == (1, True)
    assert run("audit", "verify", "--anchors", str(tmp_path / "anchors")).code == 2
    assert run("audit", "verify", "--from", "yesterday").code == 2


def test_records_are_exported_and_that_they_were_is_recorded(run, log):
    said = run("audit", "export", "--study", "1.2.3", "--from", "2026-03-01T08:00:05Z", "--to", "2026-03-02")
    assert said.code == 0
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert {row["study_instance_uid"] for row in rows} == {"1.2.3"}
    assert min(row["at"] for row in rows) >= "2026-03-01T08:00:05"
    said = run("audit", "export", "--format", "xml")
    assert said.out.rstrip().endswith("</AuditMessages>")
    (last,) = json.loads(run("audit", "tail", "--limit", "1", "--json").out)
    assert (last["action"], json.loads(last["detail"])["command"]) == ("audit_read", "tail")
    assert run("audit", "export", "--study", "x").code == 2


def test_check_says_that_the_receiver_is_away_and_that_anchors_cannot_be_written(log, tmp_path):
    with pytest.raises(Noteworthy, match=r"20 to be sent to tcp://127\.0\.0\.1:1: syslog: Connection refused"):
        look_at_audit(Settings(audit={"syslog": "tcp://127.0.0.1:1"}))
    (tmp_path / "file").write_text("")
    settings = Settings(audit={"anchors": str(tmp_path / "file" / "anchors")})
    anchorer = build_anchorer(settings, SqlWorklist(log._database.engine), log, lambda: NOW)
    assert anchorer.anchor(NOW)
    with pytest.raises(Noteworthy, match=r"not anchored: .*file/anchors: Not a directory|not anchored: .*File exists"):
        look_at_audit(settings)


def test_check_says_how_far_the_chain_is(log, worklist):
    assert look_at_audit(Settings()) == "20 records sealed, 0 not yet"
    fill(worklist, 1, first=21)
    with pytest.raises(Noteworthy, match="20 records sealed, 1 not yet, the oldest since 2026-03-01"):
        look_at_audit(Settings())


def test_whoever_types_is_one_person_whatever_the_command(run, log):
    run("audit", "tail")
    run("user", "list")
    assert {record.actor for record in log.latest(2)} == {f"command:{getpass.getuser()}"}
