"""What a training run finds out, and says, before it trains."""

import json
from dataclasses import replace

import pytest
from support.bundles import write_tiny_bundle
from support.radiographs import write_mura

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.idle import idle_lines
from triage_agent.learning.mura import DataError, names_of_roots, read_roots
from triage_agent.learning.options import TrainOptions
from triage_agent.learning.train import recipe_of, train

TABLES = "batch_size = 4\n[medsiglip]\nbatch_size = 6\n[siglip]\nbatch_size = 8\n[densenet]\nbatch_size = 2\n"


@pytest.fixture
def ask(tmp_path):
    def options(recipe, **changes):
        (tmp_path / "recipe.toml").write_text(recipe)
        return TrainOptions(data=(tmp_path,), out=tmp_path / "out", recipe=tmp_path / "recipe.toml", **changes)

    return options


@pytest.fixture
def checkpoint(tmp_path):
    """Makes a checkpoint's folder without weights: its kind can be told, and nothing be loaded."""

    def write(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "siglip"}))
        return str(folder)

    return write


@pytest.fixture
def bundle(tmp_path):
    return str(write_tiny_bundle(tmp_path / "start", training_data={"images": 8, "roots": ["elsewhere"]}))


def test_a_table_for_a_kind_of_checkpoint_holds_for_its_checkpoints(ask, checkpoint):
    sizes = {name: recipe_of(ask(TABLES, encoder=checkpoint(name))).batch_size for name in ("medsiglip-448", "other")}
    assert sizes == {"medsiglip-448": 6, "other": 8}
    assert recipe_of(ask(TABLES, encoder="densenet")).batch_size == 2


def test_a_checkpoint_is_not_looked_for_where_no_table_asks_for_it(ask):
    asked = ask("batch_size = 4\n[densenet]\nbatch_size = 2\n", encoder="somebody/elses")
    assert recipe_of(asked).batch_size == 4


def test_what_a_recipe_says_in_vain_is_said(ask, checkpoint, bundle):
    assert idle_lines(ask(TABLES, encoder=checkpoint("medsiglip-448"))) == [
        "[densenet], [siglip] in the recipe: not for a medsiglip encoder, without effect here"
    ]
    recipe = "epochs = 3\nclip = 1.0\naverage = 0.5\n[compact.augmentation]\nnoise = 0.0\n"
    (line,) = idle_lines(ask(recipe, encoder=bundle, unfreeze=0))
    assert line == "augmentation, average, clip in the recipe: without effect on a head alone (--unfreeze 0)"
    assert idle_lines(ask(recipe, encoder=bundle, unfreeze=1)) == []
    assert idle_lines(ask("clip = 1.0\n", encoder="autoencoder")) == []


@pytest.mark.parametrize("unfreeze", [0, 1])
def test_attention_heads_that_cannot_share_the_width_stop_training_at_its_start(tmp_path, ask, bundle, unfreeze):
    root = write_mura(tmp_path / "mini")
    options = ask("held_back = 0.25\nattention_heads = 3\n", encoder=bundle, unfreeze=unfreeze, head="attention")
    lines = []
    with pytest.raises(ConfigurationError, match="3 attention heads cannot share the compact encoder's 8 numbers"):
        train(replace(options, data=(root,), device="cpu"), lines.append)
    assert not any("embedded" in line or "epoch" in line for line in lines)


def test_a_data_set_that_is_named_twice_is_refused(tmp_path):
    root = write_mura(tmp_path / "mini", patients=2)
    with pytest.raises(DataError, match="given twice"):
        read_roots([root, tmp_path / "." / "mini" / ".." / "mini"], "train")


def test_names_of_roots_are_never_alike(tmp_path):
    names = names_of_roots([tmp_path / "a" / "x", tmp_path / "x (2)", tmp_path / "b" / "x", tmp_path / "x"])
    assert names == ["x", "x (2)", "x (3)", "x (4)"]
