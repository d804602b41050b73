"""`reading-queue`, as a person and a program read it."""

import json
import re
from pathlib import Path

import pytest

from triage_agent.cli import options

PAGE = Path(__file__).parents[3] / "docs" / "capacity.md"
FEW = ("--studies", "2000")


def told(run, *arguments):
    done = run("reading-queue", "--json", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_without_arguments_it_gives_the_published_figures(run):
    document = told(run, "--theory-only")
    groups = {
        name: tuple(round(one[key], 3) for key in ("without", "with", "saved"))
        for name, one in document["theory"]["groups"].items()
    }
    assert groups["flagged"] == (40.0, 1.682, 38.318)
    assert groups["unflagged"] == (40.0, 48.411, -8.411)
    assert groups["diseased"] == (40.0, 6.355, 33.645)
    assert groups["non_diseased"] == (40.0, 43.738, -3.738)
    assert document["theory"]["exact"] is True
    assert document["simulation"] is None
    assert document["unit"] == "minutes"
    assert document["flagged_share"] == pytest.approx(0.18)


def test_load_and_studies_an_hour_say_the_same(run):
    by_load = told(run, "--load", "0.8", "--readers", "2", "--theory-only")
    by_hour = told(run, "--per-hour", "9.6", "--readers", "2", "--theory-only")
    assert by_load["inputs"]["per_hour"] == pytest.approx(9.6)
    assert by_hour["inputs"]["load"] == pytest.approx(0.8)
    saved = by_load["theory"]["groups"]["diseased"]["saved"]
    assert by_hour["theory"]["groups"]["diseased"]["saved"] == pytest.approx(saved)


def test_a_program_gets_means_with_intervals_and_percentiles(run):
    document = told(run, "--load", "0.4", *FEW)
    simulation = document["simulation"]
    assert (simulation["studies"], simulation["replications"], simulation["seed"]) == (2000, 20, 1)
    assert simulation["confidence"] == 0.95
    assert simulation["settled"] is True
    assert set(simulation["groups"]) == set(document["theory"]["groups"])
    group = simulation["groups"]["diseased"]
    assert set(group) == {"studies", "without", "with", "saved"}
    assert set(group["with"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert set(group["saved"]) == set(group["with"]["mean"]) == {"value", "low", "high"}
    assert group["without"]["p50"] <= group["without"]["p90"] <= group["without"]["p95"] <= group["without"]["p99"]


def test_several_diseases_are_told_each(run):
    arguments = ("--disease", "fracture:0.1:0.9:0.9:12", "--disease", "dislocation:0.02:0.8:0.97", "--load", "0.4")
    document = told(run, *arguments, *FEW)
    assert [one["read_minutes"] for one in document["inputs"]["diseases"]] == [12.0, 10.0]
    assert set(document["theory"]["diseases"]) == set(document["simulation"]["diseases"]) == {"fracture", "dislocation"}
    waits = {name: one["with"] for name, one in document["theory"]["diseases"].items()}
    assert waits["fracture"] < waits["dislocation"]
    shown = run("reading-queue", *arguments, *FEW).out
    assert "fracture" in shown
    assert "dislocation" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "put aside"),
        (("--non-preemptive",), "finished, whatever comes"),
        (("--readers", "2", "--spread", "0.5"), "an approximation"),
        (("--stat", "0.1"), "ordered STAT"),
        (("--readers", "2"), "2 readers are busy"),
    ],
)
def test_the_page_says_what_was_asked(run, arguments, said):
    shown = run("reading-queue", "--load", "0.4", *FEW, *arguments).out
    assert said in shown
    assert "±" in shown
    assert "true positive" in shown


@pytest.mark.parametrize("load", ["0.4", "0.9999"])
def test_the_tables_fit_the_screen(run, monkeypatch, load):
    monkeypatch.setattr(options.stdout, "_width", 80)
    disease = ("--disease", "f" * 40 + ":0.1:0.9:0.9")
    second = ("--disease", "dislocation:0.1:0.9:0.9")
    shown = run("reading-queue", "--load", load, *FEW, *disease, *second).out
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "…" not in shown


def test_runs_that_are_too_short_are_remarked_on(run):
    done = run("reading-queue", "--load", "0.95", *FEW)
    assert done.code == 0
    assert "too short" in done.err
    assert "too short" not in run("reading-queue", "--load", "0.4", *FEW).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--load", "1"), "less than 1"),
        (("--traffic", "1.5"), "less than 1"),
        (("--per-hour", "7"), "a load of 1.167"),
        (("--load", "-0.1"), "the load is -0.1"),
        (("--load", "nan"), "the load is nan"),
        (("--load", "much"), "--load"),
        (("--load", "0.5", "--per-hour", "3"), "give one of them"),
        (("--readers", "0"), "readers"),
        (("--readers", "1.5"), "--readers"),
        (("--prevalence", "-0.1"), "prevalence"),
        (("--sensitivity", "1.1"), "sensitivity"),
        (("--specificity", "nan"), "specificity"),
        (("--read-minutes", "0"), "minutes"),
        (("--spread", "-1"), "spread"),
        (("--stat", "2"), "STAT"),
        (("--studies", "1"), "studies to simulate"),
        (("--seed", "-1"), "--seed"),
        (("--disease", "knee"), "NAME:PREVALENCE"),
        (("--disease", "knee:0.1:0.9:0.9:10:1"), "NAME:PREVALENCE"),
        (("--disease", "knee:0.1:0.9:high"), "NAME:PREVALENCE"),
        (("--disease", "knee:0.1:0.9:0.9", "--prevalence", "0.1"), "give it alone"),
        (("--disease", "\x1b[2Jknee:0.1"), "NAME:PREVALENCE"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, arguments, said):
    done = run("reading-queue", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "\x1b[2J" not in done.err


def test_a_disease_may_be_called_anything_and_the_terminal_obeys_nothing(run):
    shown = run(
        "reading-queue", "--disease", "\x1b[2J[red]x:0.1:0.9:0.9", "--disease", "y:0.1:0.9:0.9", "--theory-only"
    )
    assert shown.code == 0
    assert "\x1b[2J" not in shown.out
    assert "[red]x" in shown.out


def test_the_page_of_documentation_shows_what_the_command_prints(run, monkeypatch):
    monkeypatch.setattr(options.stdout, "_width", 80)
    examples = re.findall(
        r"```\n\$ triage-agent (reading-queue[^\n]*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(examples) == 2
    for line, shown in examples:
        # The simulation takes seconds, and other versions of numpy may draw other numbers: the theory is compared.
        theory, _, simulated = shown.partition("\nWait in minutes, simulated")
        printed = run(*line.split(), "--theory-only").out
        assert [row.rstrip() for row in printed.strip().splitlines()] == theory.strip().splitlines()
        assert "200000 studies in 20 runs, seed 1" in simulated
