from datetime import UTC, datetime, timedelta

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.ops.metrics import Metrics


def test_the_backlog_gauge_moves_when_the_worklist_does():
    counts = {"status": {"ready": 2}}
    metrics = Metrics()
    metrics.watch(lambda: counts)
    assert b'triage_worklist_status{status="ready"} 2.0' in metrics.exposition()
    counts["status"]["ready"] = 5
    assert b'triage_worklist_status{status="ready"} 5.0' in metrics.exposition()


def test_while_the_database_is_away_the_metrics_say_so_and_the_process_s_own_go_on():
    away, metrics = [], Metrics()

    def counts():
        if away:
            raise away[0]
        return {"status": {"ready": 2}}

    metrics.watch(counts)
    metrics.flagged.inc()
    assert b"triage_worklist_up 1.0" in metrics.exposition()
    away.append(WorklistUnavailableError("away"))
    exposition = metrics.exposition()
    assert b"triage_worklist_up 0.0" in exposition
    assert b"triage_flagged_studies_total 1.0" in exposition
    assert b"triage_worklist_status" not in exposition


def test_two_agents_in_one_process_do_not_share_counters():
    first, second = Metrics(), Metrics()
    first.flagged.inc()
    assert b"triage_flagged_studies_total 1.0" in first.exposition()
    assert b"triage_flagged_studies_total 0.0" in second.exposition()


def test_answers_and_rejections_are_counted_by_status_and_reason():
    metrics = Metrics()
    for status in ("0x0000", "0x0000", "0xA700"):
        metrics.stores.labels(status).inc()
    metrics.rejected.labels("too many associations").inc()
    shown = metrics.exposition()
    assert b'triage_store_answers_total{status="0x0000"} 2.0' in shown
    assert b'triage_store_answers_total{status="0xA700"} 1.0' in shown
    assert b'triage_rejected_associations_total{reason="too many associations"} 1.0' in shown


def test_certificates_are_told_where_there_are_any():
    metrics, current = Metrics(), [True]
    assert b"triage_certificate" not in metrics.exposition()
    at = datetime(2030, 1, 1, tzinfo=UTC)
    metrics.watch_certificates(lambda: {"own": at, "ca": at + timedelta(days=1)}, lambda: current[0])
    told = metrics.exposition().decode().splitlines()
    assert 'triage_certificate_expires_timestamp_seconds{certificate="own"} 1.893456e+09' in told
    assert 'triage_certificate_expires_timestamp_seconds{certificate="ca"} 1.8935424e+09' in told
    assert "triage_certificate_current 1.0" in told
    current[0] = False
    assert "triage_certificate_current 0.0" in metrics.exposition().decode().splitlines()
