"""The report of the benchmarks: a goal is met, missed by so much, or was not measured; nothing is made up."""

import json
import os
import sys
from pathlib import Path

import pytest
from support.benchexamples import documents
from support.benchgoals import Goal, at, fixed
from support.benchnote import note, stamp
from support.benchreading import MISSING, Bench, exponent
from support.benchtables import GOALS, SECTIONS
from support.sizing import Input, Inputs, size_of, tables

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report  # noqa: PLC0415 - a program of its own

    yield report
    sys.modules.pop("report", None)


@pytest.fixture
def bench(tmp_path):
    """Files of benchmarks, from documents."""

    def write(**documents):
        for name, document in documents.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(document))
        return Bench(tmp_path)

    return write


SLOW = Goal("time", at("flag", "p95"), fixed(2.0), unit=" s")
FAST = Goal("speed", at("flag", "rate"), fixed(10.0), least=True)


class TestGoals:
    def test_what_is_within_the_bound_is_met(self, bench):
        assert SLOW.verdict(bench(flag={"p95": 2.0})) == "met"
        assert FAST.verdict(bench(flag={"rate": 10.0})) == "met"

    def test_a_gap_is_told_as_a_factor(self, bench):
        assert SLOW.verdict(bench(flag={"p95": 3.0})) == "missed by a factor of 1.50"
        assert FAST.verdict(bench(flag={"rate": 4.0})) == "missed by a factor of 2.50"

    def test_what_was_not_measured_is_neither(self, bench):
        assert SLOW.row(bench()) == ("time", "at most 2.00 s", MISSING, MISSING)

    def test_every_goal_and_table_can_do_without_its_files(self, bench):
        nothing = bench()
        assert all(goal.verdict(nothing) == MISSING for goal in GOALS)
        assert all(MISSING in make(nothing) for make in SECTIONS.values())


class TestTables:
    def test_every_table_shows_the_figures_of_its_file(self, bench):
        full = bench(**documents())
        shown = {name: make(full) for name, make in SECTIONS.items()}
        for name in ("flag", "day", "ingest", "scale", "store", "routes", "queue"):
            assert MISSING not in shown[name], name
        assert "2026-11-23, 2 cores of some CPU, commit abc; `make bench`" in shown["flag"]
        assert "The GPU: a GPU." in shown["model"]

    def test_every_goal_has_its_verdict(self, bench):
        full = bench(**documents())
        verdicts = {goal.what: goal.verdict(full) for goal in GOALS}
        assert verdicts["receiving 10 MB images: time over storescp's"] == "met"
        assert verdicts["receiving 10 MB images: time over Orthanc's"] == "missed by a factor of 1.80"
        assert verdicts["time to flag, 95 %, embedded bundle, 5 studies a second"] == "met"
        assert verdicts["MedGemma's tower, 896 px: share of the bf16 ceiling"] == "missed by a factor of 1.25"
        assert verdicts["workers on Postgres: share of linear"] == "met"

    def test_a_site_is_sized_from_the_files(self, bench):
        assert MISSING not in tables(bench(**documents()))


class TestNotes:
    def test_a_file_says_where_when_and_how_it_was_made(self, tmp_path):
        file, old = tmp_path / "flag.json", tmp_path / "old.json"
        for one in (file, old):
            one.write_text('{"p95": 1}')
        written = file.stat().st_mtime
        old_time = written - 100
        os.utime(old, (old_time, old_time))
        stamp(tmp_path, written - 1, note(["tests/benchmarks"]))
        made = json.loads(file.read_text())["made"]
        assert made["cores"] > 0
        assert made["cpu"]
        assert made["command"].endswith("python -m pytest tests/benchmarks")
        assert "made" not in json.loads(old.read_text())


class TestPages:
    def test_the_pages_have_the_marks_of_every_table(self, report, tmp_path):
        for page in ("performance.md", "capacity.md"):
            (tmp_path / page).write_text((DOCS / page).read_text())
        report.main(["--results", str(tmp_path), "--docs", str(tmp_path)])
        assert MISSING in (tmp_path / "performance.md").read_text()

    def test_a_page_that_lost_its_marks_is_refused(self, report, tmp_path):
        page = tmp_path / "page.md"
        page.write_text("# Page\n")
        with pytest.raises(ValueError, match="marks of goals"):
            report.fill(page, {"goals": "table"})

    def test_what_stands_around_the_marks_stays(self, report, tmp_path):
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- begin a -->\nold\n<!-- end a -->\nafter\n")
        report.fill(page, {"a": "new \\1"})
        assert page.read_text() == "before\n<!-- begin a -->\nnew \\1\n<!-- end a -->\nafter\n"


class TestExponents:
    def test_in_proportion_is_one_and_flat_is_zero(self):
        assert exponent([1, 10, 100], [2, 20, 200]) == 1
        assert exponent([1, 10, 100], [3, 3, 3]) == 0

    def test_one_size_says_nothing(self):
        assert exponent([10], [1]) is None


class TestSizes:
    @staticmethod
    def inputs(**known):
        values = {
            "images_a_study": 2.0,
            "peak": 2.0,
            "busy": 0.5,
            "images_a_core_second": 10.0,
            "images_a_gpu_second": 100.0,
            "core_seconds_a_study": 0.1,
            "megabytes_an_image": 10.0,
            "database_kb_a_study": 5.0,
            "retention_days": 30.0,
        }
        return Inputs(**{name: Input(name, value, "here") for name, value in (values | known).items()})

    def test_a_site_is_reckoned_from_its_busiest_hour(self):
        size = size_of(43_200, self.inputs())  # one study a second there, two images
        assert size.images_a_second == 2.0
        assert size.cores == 1  # 2 / (10 * 0.5) of the model and 1 * 0.1 / 0.5 beside it
        assert size.gpus == 1
        assert size.disk_tb == pytest.approx(43_200 * 2 * 10 * 30 / 1e6)
        assert size.database_gb_a_year == pytest.approx(43_200 * 365 * 5 / 1e6)

    def test_ten_times_the_studies_need_ten_times_the_cores(self):
        assert size_of(4_320_000, self.inputs()).cores == 60
        assert size_of(4_320_000, self.inputs()).gpus == 4

    def test_what_was_not_measured_is_not_reckoned(self):
        size = size_of(10_000, self.inputs(images_a_gpu_second=None, core_seconds_a_study=None))
        assert (size.gpus, size.cores, size.cores_beside_gpu) == (None, None, None)

    def test_each_input_names_its_source(self, bench):
        shown = tables(bench())
        assert "`gpu.json`" in shown
        assert MISSING in shown
