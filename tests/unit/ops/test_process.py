"""What a process tells of itself: whether it is ready, and its clock."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.domain.errors import TriageError
from triage_agent.ops import process
from triage_agent.ops.metrics import Metrics
from triage_agent.ops.process import ClockGauges, Readiness


def shown(metrics):
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


class Parts:
    """A process of two parts, one of which may fail, and a clock; looked at by a scrape."""

    def __init__(self):
        self.wrong = False
        self.now = 100.0
        self.checks = {"disk": lambda: None, "model": self.model}
        self.readiness = Readiness(self.checks, lambda: self.now)
        self.readiness.wanted = self.readiness.step
        self.metrics = Metrics()
        self.metrics.add(self.readiness)

    def model(self):
        if self.wrong:
            raise TriageError("broken")

    def seen(self):
        values = shown(self.metrics)
        return {name: values.get(name) for name in (*values,) if name.startswith(("triage_ready", "triage_part"))}


def test_a_process_that_was_not_looked_at_yet_is_not_ready(monkeypatch):
    monkeypatch.setattr(process, "_FIRST_SECONDS", 0.0)
    parts = Parts()
    parts.readiness.wanted = lambda: None
    assert parts.seen() == {"triage_ready": 0}


def test_nothing_is_looked_at_where_nobody_scrapes():
    parts = Parts()
    looks = []
    parts.checks["disk"] = lambda: looks.append(1)
    for _ in range(3):
        assert parts.readiness.step() is False
    assert looks == []
    parts.seen()
    assert looks == [1]


def test_the_part_that_fails_is_told_by_its_name():
    parts = Parts()
    parts.wrong = True
    names = {'triage_part_ready{part="disk"}': 1, 'triage_part_ready{part="model"}': 0}
    assert parts.seen() == {"triage_ready": 0, **names}
    parts.wrong = False
    assert parts.seen()["triage_ready"] == 1


def test_a_part_that_comes_or_goes_is_seen_at_the_next_look():
    parts = Parts()
    parts.seen()
    del parts.checks["model"]
    assert parts.seen() == {"triage_ready": 1, 'triage_part_ready{part="disk"}': 1}


def test_a_look_that_hangs_is_not_taken_for_ready():
    parts = Parts()
    parts.seen()
    parts.readiness.wanted = lambda: None
    parts.now += 119
    assert parts.seen()["triage_ready"] == 1
    parts.now += 1
    assert parts.seen()["triage_ready"] == 0


def test_clocks_are_told_so_that_they_can_be_compared():
    metrics, here = Metrics(), datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    metrics.add(ClockGauges(lambda: here + timedelta(seconds=7), here.timestamp))
    values = shown(metrics)
    assert values["triage_clock_timestamp_seconds"] == here.timestamp()
    assert values["triage_clock_ahead_seconds"] == pytest.approx(7)


def test_a_process_says_what_it_serves_and_what_it_takes_of_the_machine():
    metrics = Metrics()
    metrics.describe("worker", "1.2", lambda: datetime.now(UTC))
    values = shown(metrics)
    assert values['triage_info{serves="worker",version="1.2"}'] == 1
    assert values["process_resident_memory_bytes"] > 1_000_000
    assert abs(values["triage_clock_ahead_seconds"]) < 60
