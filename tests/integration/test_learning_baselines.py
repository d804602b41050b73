"""The baselines and the unfreezing sweep, from files to bundles and figure, at a tiny size."""

import json

import pytest
import torch
from safetensors.torch import load_file
from support.data import shared_data
from support.radiographs import write_mura
from typer.testing import CliRunner

from triage_agent.cli.app import application
from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.mura import read_display, read_split
from triage_agent.learning.options import TrainOptions
from triage_agent.learning.sweep import SweepPlan, best_of, sweep
from triage_agent.learning.train import train
from triage_agent.models.bundle import load_bundle, verify
from triage_agent.models.scorer import load_scorer

RECIPE = """
batch_size = 8
held_back = 0.25
warmup_epochs = 0.0
learning_rate = 0.01
encoder_learning_rate = 0.01
average = 0.9
members = 1
hidden = [8]
epochs = 6
stages = [{ size = 24, epochs = 2 }, { size = 32, epochs = 3 }]
[compact]
encoder = { widths = [8, 16], depths = [1, 1] }
[densenet]
encoder = { layers = [1, 2], growth = 4, stem = 8 }
[autoencoder]
encoder = { widths = [8, 8], code = 2 }
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return write_mura(tmp_path_factory.mktemp("data") / "mini")


@pytest.fixture(scope="module")
def started(tmp_path_factory, recipe):
    """A compact bundle that has seen other images."""
    folder = tmp_path_factory.mktemp("started")
    hands = write_mura(folder / "hands", anatomies=("XR_HAND",), seed=4)
    return train(TrainOptions(data=(hands,), out=folder / "bundle", recipe=recipe, device="cpu"), quiet)


def quiet(line):
    pass


def options(mini, out, recipe, **changes):
    return TrainOptions(data=(mini,), out=out, recipe=recipe, device="cpu", cache=out.parent / "cache", **changes)


def encoder_of(bundle):
    return load_file(bundle / "encoder.safetensors")


def changed(one, other):
    """The stages in which some weight differs."""
    assert one.keys() == other.keys()
    return {name.split(".")[3] for name in one if not torch.equal(one[name], other[name])}


def losses(lines, start, before):
    return [float(line.split(before)[1].split(",")[0]) for line in lines if line.startswith(start)]


class InterruptedHereError(Exception):
    pass


def interrupting(start):
    def progress(line):
        if start in line:
            raise InterruptedHereError

    return progress


def test_a_densenet_learns_as_a_whole_and_its_bundle_scores(mini, tmp_path, recipe):
    lines = []
    out = train(options(mini, tmp_path / "cnn", recipe, encoder="densenet"), lines.append)
    spec = load_bundle(out).spec
    assert verify(out) == []
    assert (spec.encoder.kind, spec.encoder.source, spec.encoder.image_size) == ("densenet", "bundle", 32)
    assert spec.encoder.config["layers"] == [1, 2]
    seen = losses(lines, "epoch", "loss ")
    assert len(seen) == 5
    assert seen[-1] < seen[0]
    assert spec.metrics["valid"]["mini"]["overall"]["auroc"]["value"] > 0.9
    assert "5 epochs" not in load_bundle(out).model_card
    assert "2 epochs at 24 px, 3 epochs at 32 px" in load_bundle(out).model_card
    assert "--encoder densenet" in load_bundle(out).model_card
    scores = load_scorer(out, "cpu").score([read_display(image.path) for image in read_split(mini, "valid")])
    assert len(scores) == 24
    found = [score.probability for score in scores]
    assert max(found) > spec.thresholds.abnormal > min(found)


def test_an_autoencoder_learns_to_reconstruct_and_then_gets_a_head(mini, tmp_path, recipe):
    lines = []
    out = train(options(mini, tmp_path / "ae", recipe, encoder="autoencoder"), lines.append)
    bundle = load_bundle(out)
    errors = losses(lines, "reconstruction", "squared error ")
    assert len(errors) == 5
    assert errors[-1] < errors[0] / 2
    assert verify(out) == []
    assert not any("decoder" in name for name in encoder_of(out))
    assert bundle.spec.head.input_dim == 2 * 8 * 8
    learned = bundle.spec.training_data["reconstruction"]
    assert learned["epochs"] == 5
    assert 0 < learned["held_back_error"] < errors[0]
    assert f"on the held-back images {learned['held_back_error']:.5f}" in bundle.model_card
    assert "trained here to reconstruct, then frozen" in bundle.model_card
    assert len(load_scorer(out, "cpu").score([read_display(read_split(mini, "valid")[0].path)])) == 1


def test_a_resumed_autoencoder_equals_an_uninterrupted_one(mini, tmp_path, recipe):
    whole = train(options(mini, tmp_path / "whole", recipe, encoder="autoencoder"), quiet)
    with pytest.raises(InterruptedHereError):
        train(options(mini, tmp_path / "ae", recipe, encoder="autoencoder"), interrupting("epoch 3 of 5"))
    torch.manual_seed(99)
    lines = []
    resumed = train(options(mini, tmp_path / "ae", recipe, encoder="autoencoder", resume=True), lines.append)
    first = next(line for line in lines if line.startswith("reconstruction"))
    assert first.startswith("reconstruction epoch 4 of 5")
    for name in ("encoder.safetensors", "head.safetensors"):
        one, other = load_file(whole / name), load_file(resumed / name)
        assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(InterruptedHereError):
        train(options(mini, tmp_path / "ae", recipe, encoder="autoencoder"), interrupting("epoch 3 of 5"))
    with pytest.raises(ConfigurationError, match="belongs to another training run"):
        train(options(mini, tmp_path / "ae", recipe, encoder="autoencoder", resume=True, seed=1), quiet)


def test_of_a_bundle_as_much_learns_as_was_asked_for(mini, tmp_path, recipe, started):
    before = encoder_of(started)
    trained = {
        depth: train(options(mini, tmp_path / f"{depth}", recipe, encoder=str(started), unfreeze=depth), quiet)
        for depth in (0, 1, "all", None)
    }
    assert {depth: changed(before, encoder_of(out)) for depth, out in trained.items()} == {
        0: set(),
        1: {"1"},
        "all": {"0", "1"},
        None: {"0", "1"},
    }
    assert [load_bundle(out).spec.training_data["unfreeze"] for out in trained.values()] == [0, 1, "all", "all"]
    assert any((tmp_path / "cache" / "embeddings").iterdir())
    assert "(frozen)" in load_bundle(trained[0]).model_card
    assert "(last 1 blocks tuned)" in load_bundle(trained[1]).model_card
    assert "--encoder bundle --unfreeze 1" in load_bundle(trained[1]).model_card
    assert load_bundle(trained[1]).spec.training_data["started_from"][0]["digest"] == load_bundle(started).digest


@pytest.mark.parametrize(
    ("encoder", "unfreeze", "message"),
    [("densenet", 1, "densenet starts from fresh"), ("autoencoder", "all", "starts from fresh"), ("", 9, "has 2")],
)
def test_a_depth_that_makes_no_sense_is_refused_at_once(mini, tmp_path, recipe, started, encoder, unfreeze, message):
    with pytest.raises(ConfigurationError, match=message):
        train(options(mini, tmp_path / "out", recipe, encoder=encoder or str(started), unfreeze=unfreeze), quiet)


def test_a_sweep_compares_depths_and_baselines_and_goes_on_where_it_was_stopped(mini, tmp_path, recipe, started):
    base = options(mini, tmp_path / "sweep", recipe, encoder=str(started))
    with pytest.raises(InterruptedHereError):
        sweep(SweepPlan(base, (0, 1, "all"), ("autoencoder",)), interrupting("unfreeze-all (3 of 4): epoch 1 of"))
    assert [row["name"] for row in json.loads((base.out / "sweep.json").read_text())["runs"]] == [
        "unfreeze-0",
        "unfreeze-1",
    ]
    lines = []
    again = options(mini, tmp_path / "sweep", recipe, encoder=str(started), resume=True)
    rows = sweep(SweepPlan(again, (0, 1, "all"), ("autoencoder",)), lines.append)
    assert lines[:2] == ["unfreeze-0 (1 of 4): done before", "unfreeze-1 (2 of 4): done before"]
    assert next(line for line in lines if "unfreeze-all" in line and "epoch" in line).startswith(
        "unfreeze-all (3 of 4): epoch 2 of 5"
    )
    assert [row.name for row in rows] == ["unfreeze-0", "unfreeze-1", "unfreeze-all", "autoencoder"]
    assert all(verify(base.out / row.name) == [] for row in rows)
    assert rows[0].learned < rows[1].learned < rows[2].learned == rows[2].parameters == rows[0].parameters
    content = json.loads((base.out / "sweep.json").read_text())
    assert content["best"] == best_of(rows).name
    assert max(row["held_back_auroc"] for row in content["runs"]) == best_of(rows).held_back_auroc
    table = (base.out / "sweep.md").read_text()
    assert table.count("\n| ") == 4
    assert "Best by AUROC on the held-back training images" in table
    drawn = (base.out / "sweep.svg").read_text()
    assert all(text in drawn for text in ("macro-F1", "AUROC", "autoencoder", "(head only)"))
    digests = [row.digest for row in rows]
    changed_seed = options(mini, tmp_path / "sweep", recipe, encoder=str(started), resume=True, seed=3)
    sweep(SweepPlan(changed_seed, (0,)), lines.append)
    assert lines[-1] != "unfreeze-0 (1 of 1): done before"
    assert load_bundle(base.out / "unfreeze-0").digest != digests[0]


def test_what_is_done_is_known_also_of_several_data_sets_that_calibrate_together(mini, tmp_path, recipe, started):
    hands = write_mura(tmp_path / "hands", patients=12, anatomies=("XR_HAND",), seed=5)
    (tmp_path / "all.toml").write_text(f'calibrate_on = "all"\n{recipe.read_text()}')
    both = TrainOptions(
        data=(mini, hands), encoder=str(started), out=tmp_path / "sweep", recipe=tmp_path / "all.toml", device="cpu",
        cache=tmp_path / "cache", resume=True,
    )  # fmt: skip
    first = sweep(SweepPlan(both, (0,)), quiet)
    lines = []
    assert sweep(SweepPlan(both, (0,)), lines.append) == first
    assert lines == ["unfreeze-0 (1 of 1): done before"]


def test_the_command_sweeps_and_says_what_it_does_not_understand(mini, tmp_path, recipe, started):
    command = ["train", str(mini), "--recipe", str(recipe), "--device", "cpu", "--out", str(tmp_path / "sweep")]
    start = ["--encoder", str(started)]
    assert CliRunner().invoke(application("train"), [*command, "--baselines", "densenet"]).exit_code == 0
    sweep_too = [*command, *start, "--sweep-unfreeze", "0", "--baselines", "densenet", "--resume", "--json"]
    result = CliRunner().invoke(application("train"), sweep_too)
    assert result.exit_code == 0, result.output
    assert "densenet (2 of 2): done before" in result.stderr
    assert [row["encoder"] for row in json.loads(result.stdout)["runs"]] == ["compact", "densenet"]
    for wrong in (
        ["--unfreeze", "some"],
        ["--baselines", "densenet", "--unfreeze", "1"],
        ["--sweep-unfreeze", "0", "--baselines", "vgg"],
    ):
        assert CliRunner().invoke(application("train"), [*command, *start, *wrong]).exit_code == 2


@pytest.mark.shared
@pytest.mark.parametrize(("encoder", "start"), [("densenet", "epoch"), ("autoencoder", "reconstruction")])
def test_the_baselines_learn_from_real_knees_too(tmp_path, recipe, encoder, start):
    knees = slice_of(shared_data("knees"), tmp_path / "knees")
    lines = []
    out = train(options(knees, tmp_path / "out", recipe, encoder=encoder), lines.append)
    seen = losses(lines, start, "loss " if encoder == "densenet" else "squared error ")
    assert min(seen[1:]) < seen[0]
    assert verify(out) == []
    assert load_bundle(out).spec.metrics["valid"]["knees"]["n"] == 20


def slice_of(root, folder):
    """The first studies of each class, as a data set of its own."""
    folder.mkdir()
    for split, count in (("train", 40), ("valid", 10)):
        studies = (root / f"{split}_labeled_studies.csv").read_text().splitlines()
        kept = [line for label in "01" for line in [one for one in studies if one.endswith(f",{label}")][:count]]
        names = {line.rpartition(",")[0] for line in kept}
        paths = (root / f"{split}_image_paths.csv").read_text().splitlines()
        (folder / f"{split}_labeled_studies.csv").write_text("\n".join(kept) + "\n")
        (folder / f"{split}_image_paths.csv").write_text(
            "\n".join(path for path in paths if path.rpartition("/")[0] + "/" in names) + "\n"
        )
        (folder / split).symlink_to(root / split)
    return folder
