"""A running agent seals, anchors and sends by itself, whatever else it does."""

import stat
import time

import pytest
from support.auditing import fill
from support.ports import free_port
from support.rsyslog import Rsyslog

from triage_agent import bootstrap
from triage_agent.audit.anchors import load_public_key, read_anchors
from triage_agent.audit.verification import verify
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.settings import build_settings
from triage_agent.worklist import audit_log_of

SOON = 30.0


def settings_of(tmp_path, **audit):
    values = {"data_dir": str(tmp_path / "var"), "web": {"port": free_port()}, "audit": audit}
    return build_settings(values, "test")


def eventually(look):
    deadline = time.monotonic() + SOON
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_recorded_is_sealed_within_seconds_and_the_end_too(tmp_path):
    settings = settings_of(tmp_path)
    with bootstrap.build_agent(settings, "web") as agent:
        log = audit_log_of(agent.worklist)
        fill(agent.worklist, 30)
        eventually(lambda: log.head().position >= 31 and log.unsealed(log.head().floor).number == 0)
        assert b"triage_audit_sealed_records_total" in agent.metrics.exposition()
        assert b"triage_audit_seal_lag_seconds 0.0" in agent.metrics.exposition()
    report = verify(log, bootstrap.utc_now())
    assert (report.intact, report.unsealed) == (True, 0)
    last = [record.event.action for _, record in log.links(0, 1000)][-1]
    assert last is AuditAction.AGENT_STOPPED


def test_the_chain_is_anchored_with_a_key_that_only_its_owner_reads(tmp_path):
    settings = settings_of(tmp_path, anchor_minutes=0.001)
    with bootstrap.build_agent(settings, "web") as agent:
        log = audit_log_of(agent.worklist)
        fill(agent.worklist, 5)
        anchors = tmp_path / "var" / "audit-anchors.jsonl"
        eventually(lambda: anchors.exists() and anchors.read_text().endswith("\n"))
    key = tmp_path / "var" / "keys" / "audit-anchor.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    signed = read_anchors(anchors, load_public_key(key.with_suffix(".pub")))
    report = verify(log, bootstrap.utc_now(), anchors=signed)
    assert report.intact
    assert report.anchors == len(signed) >= 1
    assert AuditAction.AUDIT_ANCHORED in [record.event.action for _, record in log.links(0, 1000)]


@pytest.mark.external
def test_a_running_agent_sends_what_it_records(tmp_path):
    with Rsyslog(tmp_path / "rsyslog", free_port()) as receiver:
        settings = settings_of(tmp_path, syslog=f"tcp://127.0.0.1:{receiver.port}")
        with bootstrap.build_agent(settings, "web") as agent:
            eventually(lambda: any("Application Start" in line[4] for line in receiver.lines()))
            assert [line[1] for line in receiver.lines()[:3]] == ["1", "2", "3"]
            assert b"triage_audit_unsent_records" in agent.metrics.exposition()


def test_a_key_that_cannot_be_made_costs_the_anchors_and_nothing_else(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "keys").write_text("no folder")
    with bootstrap.build_agent(settings_of(tmp_path), "web") as agent:
        log = audit_log_of(agent.worklist)
        eventually(lambda: log.head().position >= 1)


def test_a_key_that_the_site_names_and_is_not_there_is_a_wrong_configuration(tmp_path):
    settings = settings_of(tmp_path, anchor_key=str(tmp_path / "missing.key"))
    with pytest.raises(ConfigurationError, match="anchor_key"), bootstrap.build_agent(settings, "web"):
        pass
