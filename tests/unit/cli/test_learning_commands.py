"""`train`, `evaluate` and `bundle` as they are typed."""

import json
from types import SimpleNamespace

import pytest

from triage_agent.cli import learning as commands
from triage_agent.cli.options import stdout
from triage_agent.domain.errors import BundleError
from triage_agent.learning import evaluate as learning
from triage_agent.models.bundle import load_bundle


@pytest.fixture
def asked(monkeypatch):
    """What `evaluate` was called with."""
    told = {}

    def evaluate(data, bundle, **options):
        told.update(options, data=data, bundle=bundle)
        return SimpleNamespace(to_json=lambda: {"n": 0})

    monkeypatch.setattr(learning, "evaluate", evaluate)
    return told


def test_the_configured_place_of_the_encoder_is_where_evaluate_looks_for_it(run, asked, tmp_path):
    config = tmp_path / "agent.toml"
    config.write_text('[model]\nencoder = "/srv/medgemma"\noutlier_limit = 2\n')
    done = run("evaluate", tmp_path, "--bundle", "ours", "--config", config, "--json")
    assert (done.code, json.loads(done.out)) == (0, {"n": 0})
    assert (asked["encoder_source"], asked["bundle"], asked["data"]) == ("/srv/medgemma", "ours", [tmp_path])
    assert asked["outlier_limit"] == 2


def test_without_one_it_looks_where_training_found_it(run, asked, tmp_path):
    assert run("evaluate", tmp_path, "--json").code == 0
    assert asked["encoder_source"] is None


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_bundle_is_told_of_with_a_configuration_too(run, tmp_path, command):
    config = tmp_path / "agent.toml"
    config.write_text("")
    done = run("bundle", command, "embedded", "--config", config, "--json")
    assert done.code == 0
    assert json.loads(done.out)


def test_the_place_of_the_encoder_reaches_the_scorer(monkeypatch, tmp_path):
    def scorer(_bundle, device, encoder_source):
        raise BundleError(f"{encoder_source} on {device}")

    monkeypatch.setattr(learning, "read_roots", lambda *_: [])
    monkeypatch.setattr(learning, "load_scorer", scorer)
    with pytest.raises(BundleError, match="/srv/medgemma on cpu"):
        learning.evaluate(tmp_path, "embedded", device="cpu", encoder_source="/srv/medgemma")


def test_a_model_card_goes_into_a_pipe_as_it_is_written(run, monkeypatch):
    monkeypatch.setattr(stdout, "_width", 40)
    card = load_bundle("embedded").model_card
    assert run("bundle", "show", "embedded").out.startswith(card)


def test_a_model_card_is_a_page_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr(stdout, "_force_terminal", True)
    shown = run("bundle", "show", "embedded").out
    assert not any(line.startswith("# ") for line in shown.splitlines())


@pytest.mark.parametrize(("width", "interval"), [(80, False), (160, False), (220, True)])
def test_figures_have_their_intervals_where_a_line_holds_them(run, monkeypatch, tmp_path, width, interval):
    monkeypatch.setattr(stdout, "_width", width)
    figure = {"value": 0.913, "low": 0.871, "high": 0.942}
    block = {"n": 500} | dict.fromkeys(commands._METRICS, figure)
    report = SimpleNamespace(to_json=lambda: {"anatomies": {"XR_SHOULDER": block}, "overall": block | {"n": 1500}})
    monkeypatch.setattr(learning, "evaluate", lambda *_args, **_options: report)
    shown = run("evaluate", tmp_path).out
    (line,) = [line for line in shown.splitlines() if "overall (n 1500)" in line]
    assert line.count("0.913") == len(commands._METRICS)
    assert line.count("0.913 (0.871-0.942)") == (len(commands._METRICS) if interval else 0)


def test_what_else_is_measured_is_asked_for_by_options(run, asked, tmp_path):
    assert run("evaluate", tmp_path, "--json").code == 0
    plain = asked["extras"]
    assert (plain.compare, plain.robustness, plain.probes, plain.thumbnails) == (None, False, False, True)
    options = ["--compare", "theirs", "--robustness", "--probes", "--sample", "40", "--no-thumbnails"]
    assert run("evaluate", tmp_path, "--json", *options).code == 0
    extras = asked["extras"]
    assert (extras.compare, extras.robustness, extras.probes) == ("theirs", True, True)
    assert (extras.sample, extras.thumbnails) == (40, False)


def test_comparison_robustness_and_probes_are_printed_within_80_columns(run, monkeypatch, tmp_path):
    monkeypatch.setattr(stdout, "_width", 80)
    figure = {"value": 0.913, "low": 0.871, "high": 0.942}
    difference = {"value": -0.013, "low": -0.022, "high": 0.004}
    block = {"n": 500} | dict.fromkeys(commands._METRICS, figure)
    pair = {
        "n": 500,
        "auroc": {"difference": difference, "p": 0.0004},
        "accuracy": {"difference": difference, "p": 0.25},
    }
    cell = {"auroc": figure}
    report = {
        "anatomies": {"XR_SHOULDER": block},
        "overall": block,
        "comparison": {
            "bundle": {"name": "theirs", "version": "2"},
            "anatomies": {"XR_SHOULDER": pair},
            "overall": pair,
        },
        "sample": {"studies": 200},
        "robustness": {
            "clean": figure,
            "mean": figure,
            "drop": figure,
            "corruptions": {"burned_in_text": {"severities": [cell] * 5, "mean": 0.9}},
        },
        "probes": {"background_only": {"auroc": figure, "verdict": "At chance, as it must be: " + 12 * "and so on "}},
    }
    monkeypatch.setattr(learning, "evaluate", lambda *_args, **_options: SimpleNamespace(to_json=lambda: report))
    shown = run("evaluate", tmp_path).out.splitlines()
    assert max(map(len, shown)) <= 80
    lines = [" ".join(line.split()) for line in shown]
    (compared,) = [line for line in lines if line.startswith("shoulder (n 500) -0.013")]
    assert "<0.001" in compared
    assert "0.250" in compared
    assert any(line.startswith("burned in text") and line.count("0.913") == 5 for line in lines)
    assert any(line.startswith("background only") and "At chance" in line for line in lines)
