"""What is watched beside whoever receives: workers that are away, the disk, the quarantine."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.story import T0, Story, shipment

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.figures import BINS, Drift
from triage_agent.ops.gauges import BacklogGauges, Disk, DiskGauges, DriftGauges, RefusedConnections
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.watching import TOO_LONG, DiskLook, WorkerWatch, watch_site
from triage_agent.worklist import MemoryWorklist

MINUTE = timedelta(minutes=1)


class Watched:
    """A worklist with a study that is ready, and looks at it at times of our choosing."""

    def __init__(self):
        self.story = Story(MemoryWorklist())
        self.story.receive()
        self.story.complete()
        (item,) = self.story.worklist.items()
        self.start = item.received_at
        self.now = self.start
        self.watch = WorkerWatch(self.story.worklist, lambda: self.now)

    def look(self, after):
        self.now = self.start + after
        with capture_logs() as logs:
            assert self.watch.step() is False
        return logs


def test_a_study_that_waits_for_too_long_is_told_at_every_look_from_the_second_on():
    watched = Watched()
    assert watched.look(TOO_LONG) == []
    assert watched.look(TOO_LONG + MINUTE) == []
    (told,) = watched.look(TOO_LONG + 2 * MINUTE)
    assert told == {
        "event": "studies_wait_for_a_worker",
        "log_level": "error",
        "waiting": 1,
        "longest_seconds": (TOO_LONG + 2 * MINUTE).total_seconds(),
        "held": 0,
    }
    assert len(watched.look(TOO_LONG + 3 * MINUTE)) == 1


def test_once_a_worker_has_taken_it_up_that_is_said_once():
    watched = Watched()
    for minutes in (6, 7):
        watched.look(minutes * MINUTE)
    watched.story.claim()
    assert [entry["event"] for entry in watched.look(8 * MINUTE)] == ["studies_are_taken_up_again"]
    assert watched.look(9 * MINUTE) == []


def test_a_study_that_was_put_back_and_is_taken_up_within_a_look_is_no_alarm():
    watched = Watched()
    assert watched.look(timedelta(days=3)) == []
    watched.story.claim()
    assert watched.look(timedelta(days=3) + MINUTE) == []


def shown(metrics):
    """{series: value} of what a scrape shows."""
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_scrape_shows_what_waits_and_since_when():
    story, metrics = Story(MemoryWorklist()), Metrics()
    story.decided(shipment("2.25.1"), shipment("2.25.2", "ris"), study="1.2.1")
    made = story.worklist.study("1.2.1").item.decided_at
    story.receive("1.2.2")
    last = story.worklist.study("1.2.2").item.received_at
    story.complete("1.2.2")
    story.worklist.want_retrieval("1.2.9", "pacs", story.tick(), requested_by="admin")
    now = last + 10 * MINUTE
    story.lose(destinations=["pacs"])
    metrics.add(BacklogGauges(story.worklist.backlog, lambda: now, ["pacs", "fhir"]))
    values = shown(metrics)
    assert values["triage_waiting_studies"] == 1
    assert values["triage_oldest_waiting_seconds"] == 600
    assert values["triage_held_studies"] == 0
    assert values["triage_open_retrievals"] == 1
    assert values['triage_pending_deliveries{destination="ris"}'] == 1
    assert values['triage_pending_deliveries{destination="pacs"}'] == 0
    assert values['triage_dead_deliveries{destination="pacs"}'] == 1
    assert values['triage_dead_deliveries{destination="fhir"}'] == 0, "a route of which nothing waits is told, too"
    assert values['triage_backlog_studies{priority="routine"}'] == 1
    assert values['triage_backlog_oldest_seconds{priority="routine"}'] == 600
    assert values['triage_backlog_studies{priority="stat"}'] == 0
    age = (now - made).total_seconds()
    assert values['triage_oldest_pending_delivery_seconds{destination="ris"}'] == age


def test_a_database_that_is_away_is_asked_once_a_scrape():
    asked = []

    def away(*arguments):
        asked.append(arguments)
        raise WorklistUnavailableError("away")

    metrics = Metrics()
    metrics.watch(away, BacklogGauges(away, lambda: T0))
    assert shown(metrics)["triage_worklist_up"] == 0
    assert len(asked) == 1


def test_while_the_database_is_away_a_scrape_shows_the_rest():
    def away(_now):
        raise WorklistUnavailableError("away")

    metrics = Metrics()
    metrics.add(BacklogGauges(away, lambda: T0))
    metrics.flagged.inc()
    values = shown(metrics)
    assert "triage_waiting_studies" not in values
    assert values["triage_flagged_studies_total"] == 1


def test_the_disk_and_the_quarantine_are_shown(tmp_path):
    quarantine = tmp_path / "quarantine" / "2026-03-01"
    quarantine.mkdir(parents=True)
    (quarantine / "a.dcm").write_bytes(b"x" * 1000)
    (quarantine / "a.json").write_bytes(b"{}")
    look = DiskLook(tmp_path)
    disk = look()
    assert (disk.quarantine_files, disk.quarantine_bytes) == (1, 1002)
    assert 0 <= disk.free_percent <= 100
    assert disk.free_bytes > 0
    (quarantine / "b.dcm").write_bytes(b"y")
    assert look().quarantine_files == 1, "it is walked once a minute, not at every scrape"


def test_a_disk_that_cannot_be_looked_at_costs_its_own_numbers_only(tmp_path):
    metrics = Metrics()
    metrics.add(DiskGauges(DiskLook(tmp_path / "away"), 10))
    values = shown(metrics)
    assert values["triage_disk_low_water_percent"] == 10
    assert "triage_disk_free_bytes" not in values
    other = Metrics()
    full = Disk(free_bytes=5, free_percent=0.5, quarantine_files=2, quarantine_bytes=7)
    other.add(DiskGauges(lambda: full, 10))
    values = shown(other)
    names = ("disk_free_bytes", "disk_free_percent", "quarantine_files", "quarantine_bytes")
    assert [values[f"triage_{name}"] for name in names] == [5, 0.5, 2, 7]


def test_connections_that_were_turned_away_are_counted_by_why():
    metrics, refused = Metrics(), {}
    metrics.add(RefusedConnections(lambda: refused))
    refused["too_many_connections"] = 3
    assert shown(metrics)['triage_refused_connections_total{reason="too_many_connections"}'] == 3


@pytest.mark.parametrize("name", ["triage_oldest_waiting_seconds", "triage_disk_free_bytes"])
def test_the_site_is_watched_whole(tmp_path, name):
    (tmp_path / "spool").mkdir()
    metrics = Metrics()
    watch_site(Settings(data_dir=tmp_path), MemoryWorklist(), metrics, lambda: T0)
    assert name in shown(metrics)


def test_drift_is_told_of_regions_that_have_enough_and_looked_at_seldom():
    looks, now = [], [0.0]

    def look():
        looks.append(now[0])
        return [Drift("XR_KNEE", [1] * BINS, [1] * BINS, 0.25), Drift("XR_HAND", [1] * BINS, [1] * BINS, None)]

    metrics = Metrics()
    metrics.add(DriftGauges(look, lambda: now[0]))
    assert looks == []  # a database that is away keeps nobody from starting
    for now[0] in (1.0, 2.0, 300.0, 301.0):
        text = metrics.exposition().decode()
    assert 'triage_drift_psi{region="XR_KNEE"} 0.25' in text
    assert "XR_HAND" not in text
    assert looks == [1.0, 301.0]


def test_while_the_database_is_away_there_is_no_drift_to_tell():
    def away():
        raise WorklistUnavailableError("away")

    assert list(DriftGauges(away).collect()) == []
