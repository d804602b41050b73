"""The benchmarks of whole agents and of growth, for a few studies: everything came, and has its figures."""

import json

import pytest
from support import benchplots
from support.benchexamples import documents
from support.benchpictures import measured, quick_pair
from support.benchreading import Bench
from support.daybench import Day, capacity
from support.daybench import measure as measure_day
from support.faultsite import FaultAgent
from support.flagbench import measure, running_site
from support.growthbench import fitted, with_studies
from support.growthwork import with_backlog, with_images, with_loops
from support.launcher import SLOW, SLOW_SECONDS, Launcher, QuickScorer
from support.ports import free_port
from support.quietpeers import stable_study_waits


@pytest.fixture
def launcher():
    running = Launcher()
    yield running
    running.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    pair = quick_pair(tmp_path_factory.mktemp("pictures"), rows=72, columns=64)
    return measured([pair], QuickScorer())


@pytest.fixture
def site(launcher, tmp_path):
    class Slow(FaultAgent):
        def start(self, *, wait=True):
            return super().start(wait=wait, mutations=[SLOW])

    def make(tables):
        return Slow(tmp_path / "agent", launcher, pacs_port=free_port(), sends=(), tables=tables)

    with running_site(make, quiet=1) as running:
        yield running


def test_a_compressed_day_has_its_backlog_and_each_abnormal_study_its_time_to_flag(site, pictures):
    agent, peers = site
    can = capacity(agent, pictures, studies=3, images=1)
    day = Day(studies=4_000, images=1, compress=40_000, load=2.0, burst=2)
    found = measure_day(agent, pictures, day, can, before=3)
    assert found["studies_sent"] >= 2 * day.burst
    assert found["backlog_most_s"] >= 0
    assert len(found["looks"]) >= 1

    before = 3 + found["studies_sent"]
    flags = measure(agent, peers, pictures, seconds=2.0, rate=3.0, images=2, before=before)
    assert flags["studies"] >= flags["flagged"] == len(flags["waits_s"]) > 0
    assert 0 < flags["wait_s"]["p50"] <= flags["wait_s"]["p95"] <= flags["wait_s"]["max"]
    assert flags["stages_s"]["scored"]["p50"] > SLOW_SECONDS


def test_every_picture_is_drawn_of_what_was_measured(tmp_path):
    for name, document in documents().items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    bench, out = Bench(tmp_path), tmp_path / "pictures"
    assert benchplots.time_to_flag(bench, out / "flag.svg")
    assert benchplots.day(bench, out / "day.svg")
    assert benchplots.ingest(bench, out / "ingest.svg")
    assert benchplots.scale(bench, out / "scale.svg")
    assert benchplots.growth(bench, out / "growth.svg", [("studies on sqlite", "studies", None)])
    assert all(file.read_text().startswith("<?xml") for file in out.iterdir())
    (out / "empty").mkdir()
    assert not benchplots.day(Bench(out / "empty"), out / "none.svg")


@pytest.mark.external
def test_orthanc_waits_for_its_quiet_period(pictures, tmp_path):
    found = stable_study_waits(tmp_path, pictures.pairs, studies=2, images=1, stable_age=1)
    assert len(found["waits_s"]) == 2
    assert found["wait_s"]["p50"] >= 1


def test_growth_is_measured_of_every_kind_of_work(tmp_path):
    runs = [with_studies(f"sqlite:///{tmp_path / str(size)}.db", size, 4) for size in (20, 40)]
    assert fitted(runs, "studies").keys() == runs[0]["work"].keys()
    assert runs[1]["database_mb"] > 0
    images = with_images(f"sqlite:///{tmp_path / 'images.db'}", tmp_path / "spool", 3)
    assert images["report_kb"] > 1
    assert with_backlog(f"sqlite:///{tmp_path / 'waiting.db'}", 5, 3)["work"]["claim a study"]["p50_ms"] > 0


def test_loops_share_images_and_score_each_once(tmp_path):
    assert with_loops(f"sqlite:///{tmp_path / 'loops.db'}", 3, 12)["images"] == 12
