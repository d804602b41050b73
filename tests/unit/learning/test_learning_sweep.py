from pathlib import Path

import pytest
import torch

from triage_agent.domain.errors import BundleError, ConfigurationError
from triage_agent.learning.autoencode import Decoder
from triage_agent.learning.mura import DataError
from triage_agent.learning.options import TrainOptions
from triage_agent.learning.recipe import AUTOENCODER, COMPACT, CONTINUED, CONTINUED_PARTLY, DENSENET, FROZEN, recipe_for
from triage_agent.learning.sweep import SweepPlan, SweepRow, best_of, report_of, sweep
from triage_agent.learning.sweep_page import figure, label, table
from triage_agent.models.autoencoder import AutoencoderEncoder


def asked(**changes):
    return TrainOptions(data=(Path("mura"),), out=Path("out"), **changes)


def row(name, depth, held_back, auroc, low=0.7):
    estimate = {"value": auroc, "low": low, "high": 0.95}
    figures = dict.fromkeys(("auroc", "macro_f1", "accuracy", "sensitivity", "specificity"), estimate)
    return SweepRow(
        name=name, encoder="compact", depth=depth, parameters=1200, learned=200, epochs=3,
        minutes=1.25, processor_minutes=0.5,
        held_back_auroc=held_back, digest="d", valid={"n": 9, "overall": {"n": 9, **figures}},
    )  # fmt: skip


ROWS = [row("unfreeze-0", 0, 0.81, 0.9), row("unfreeze-2", 2, 0.84, 0.8), row("densenet", None, 0.79, None, None)]


@pytest.mark.parametrize(
    ("encoder", "unfreeze", "depth"),
    [
        ("compact", None, "all"),
        ("densenet", None, "all"),
        ("autoencoder", None, 0),
        ("embedded", None, "all"),
        ("embedded", 0, 0),
        ("google/medsiglip-448", None, 0),
        ("google/medsiglip-448", 2, 2),
        ("google/medsiglip-448", "all", "all"),
    ],
)
def test_what_learns_is_what_was_asked_for_or_what_is_usual(encoder, unfreeze, depth):
    assert asked(encoder=encoder, unfreeze=unfreeze).depth == depth


def test_an_earlier_runs_folder_named_like_a_kind_does_not_stand_in_for_the_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "densenet").mkdir()
    (tmp_path / "densenet" / "bundle.json").touch()
    assert (asked(encoder="densenet").fresh, asked(encoder="densenet").start) == (True, None)
    assert (asked(encoder="./densenet").fresh, asked(encoder="./densenet").start) == (False, "./densenet")


def test_every_kind_and_depth_has_its_recipe():
    assert recipe_for("densenet", "all") is DENSENET
    assert recipe_for("autoencoder", 0) is AUTOENCODER
    assert recipe_for("compact", "all", started=True) is CONTINUED
    assert recipe_for("compact", 2, started=True) is CONTINUED_PARTLY
    assert recipe_for("compact", 0, started=True) is FROZEN


def test_a_table_named_like_a_kind_holds_for_that_kind_only(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("batch_size = 4\n[densenet]\nbatch_size = 2\nencoder = { growth = 8 }\n")
    assert recipe_for("densenet", "all", path=path).batch_size == 2
    assert recipe_for("densenet", "all", path=path).encoder == {"growth": 8}
    assert recipe_for("compact", "all", path=path).batch_size == 4
    assert recipe_for("compact", "all", path=path).encoder == COMPACT.encoder


def test_a_kind_that_is_no_table_is_a_wrong_recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("densenet = 3\n")
    with pytest.raises(ConfigurationError, match=r"recipe\.toml"):
        recipe_for("densenet", "all", path=path)


@pytest.mark.parametrize("size", [20, 33])
def test_a_decoder_gives_back_the_size_that_went_in(size):
    encoder = AutoencoderEncoder({"image_size": size, "widths": [4, 6, 8], "code": 2})
    images = torch.rand(2, 1, size, size)
    assert Decoder(encoder)(encoder.code(images), size).shape == images.shape


def test_a_plan_gives_each_run_a_folder_and_a_name_of_its_own():
    runs = SweepPlan(asked(encoder="embedded"), (0, 4, "all"), ("densenet",)).runs()
    assert [(run.encoder, run.unfreeze, str(run.out), run.name) for run in runs] == [
        ("embedded", 0, "out/unfreeze-0", "mura-unfreeze-0"),
        ("embedded", 4, "out/unfreeze-4", "mura-unfreeze-4"),
        ("embedded", "all", "out/unfreeze-all", "mura-unfreeze-all"),
        ("densenet", None, "out/densenet", "mura-densenet"),
    ]


@pytest.mark.parametrize(
    "plan", [SweepPlan(asked(), (0, 0)), SweepPlan(asked(), ()), SweepPlan(asked(join=(Path(),)), (0,))]
)
def test_a_sweep_of_nothing_or_of_the_same_twice_is_refused(plan):
    with pytest.raises(ConfigurationError, match="depths that differ"):
        sweep(plan, lambda line: None)


def test_a_sweep_needs_a_valid_split_and_a_folder_that_is_no_bundle(tmp_path):
    plan = SweepPlan(TrainOptions(data=(tmp_path,), out=tmp_path / "out", encoder="embedded"), (0,))
    with pytest.raises(DataError, match="has no valid split"):
        sweep(plan, lambda line: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bundle.json").touch()
    with pytest.raises(ConfigurationError, match="is a bundle"):
        sweep(plan, lambda line: None)


def test_an_encoder_that_cannot_be_had_stops_a_sweep_before_its_first_run(tmp_path):
    (tmp_path / "valid_image_paths.csv").touch()
    plan = SweepPlan(TrainOptions(data=(tmp_path,), out=tmp_path / "out", encoder="embedded"), (0,), ("medgemma",))
    with pytest.raises(BundleError, match="medgemma needs weights"):
        sweep(plan, lambda line: pytest.fail(f"something ran: {line}"))


def test_the_best_is_chosen_on_held_back_images_and_not_on_valid():
    assert best_of(ROWS).name == "unfreeze-2"


def test_the_table_has_a_row_a_run_and_names_the_best():
    lines = table(report_of(SweepPlan(asked(), ()), ROWS)).splitlines()
    assert len(lines) == 7
    assert lines[2].startswith("| head only | compact | 1,200 | 200 | 3 | 1.2 (0.5) | 0.810 | 0.900 (0.700 to 0.950) |")
    assert lines[4].startswith("| densenet | compact | 1,200 | 200 | 3 | 1.2 (0.5) | 0.790 | - |")
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert lines[-1] == "Best by AUROC on the held-back training images: last 2 unfrozen (0.840)."


def test_a_run_is_called_by_what_learns():
    assert [label({"depth": depth, "name": "x"}) for depth in (0, 1, "all", None)] == [
        "head only", "last 1 unfrozen", "all unfrozen", "x",
    ]  # fmt: skip


def test_the_figure_is_the_same_twice_and_leaves_a_gap_where_nothing_was_measured():
    report = report_of(SweepPlan(asked(), ()), ROWS)
    drawn = figure(report)
    assert drawn == figure(report)
    assert all(text in drawn for text in (">AUROC<", ">macro-F1<", ">2<", ">densenet<", "(head only)"))
