"""Training in real processes: one that is killed half-way, and several that train together."""

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.checkpoints import tiny_gemma
from support.children import SOON, child, train_and_tell, train_as
from support.radiographs import write_mura

from triage_agent.learning.options import TrainOptions
from triage_agent.learning.train import train
from triage_agent.models.bundle import load_bundle

RECIPE = """
held_back = 0.25
epochs = {epochs}
patience = 0
batch_size = 10
dropout = 0.0
bfloat16 = false
learning_rate = 0.003
encoder_learning_rate = 0.003
hidden = [16]
"""
WAYS = {"a head": {}, "one block": {"unfreeze": 1}, "an attention head": {"head": "attention"}}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return write_mura(tmp_path_factory.mktemp("data") / "mini", splits=("train",))


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-medgemma"
    tiny_gemma().save_pretrained(folder)
    return folder


@pytest.fixture
def ask(mini, gemma, tmp_path):
    def options(name, way, epochs=6, **changes):
        recipe = tmp_path / f"{epochs}.toml"
        recipe.write_text(RECIPE.format(epochs=epochs))
        return TrainOptions(
            data=(mini,),
            out=tmp_path / name,
            encoder=str(gemma),
            recipe=recipe,
            device="cpu",
            cache=tmp_path / "cache",
            **WAYS[way],
            **changes,
        )

    return options


def epochs_in(lines):
    return [line for line in lines.read_text().splitlines() if line.startswith("epoch")] if lines.exists() else []


def wait_for(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_resumes_to_the_same_weights(ask, tmp_path, way):
    whole = load_bundle(train(ask("whole", way), lambda line: None))
    killed, lines = ask("killed", way), tmp_path / "lines"
    with child(train_and_tell, killed, lines) as process:
        wait_for(lambda: len(epochs_in(lines)) >= 2)
        process.kill()  # somewhere in epoch 3, 4 or 5, or while a checkpoint is written
    assert process.exitcode == -9
    assert not killed.out.exists()
    heard = []
    resumed = load_bundle(train(ask("killed", way, resume=True), heard.append))
    assert resumed.spec.files["head.safetensors"] == whole.spec.files["head.safetensors"]
    assert resumed.spec.encoder.digest == whole.spec.encoder.digest
    if way == "one block":
        assert sum(line.startswith("epoch") for line in heard) < 6
        assert resumed.spec.files["encoder.safetensors"] == whole.spec.files["encoder.safetensors"]


def train_in_two(options, port, folder, shard=16):
    folder.mkdir()
    with (
        child(train_as, 0, 2, port, options, folder, shard) as first,
        child(train_as, 1, 2, port, options, folder, shard) as second,
    ):
        for process in (first, second):
            process.join(SOON)
            assert process.exitcode == 0
    return options.out


def close(one, other):
    """Alike but for rounding. Keys' biases cancel out in a softmax: their gradient is rounding and nothing else."""
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one if not name.endswith("k_proj.bias"))


def test_two_processes_train_what_one_trains_and_hold_the_same_weights(ask, tmp_path, free_port):
    alone = train(ask("alone", "one block"), lambda line: None)
    both = train_in_two(ask("both", "one block"), free_port, tmp_path / "ranks")
    for file in ("head.safetensors", "encoder.safetensors"):
        close(load_file(alone / file), load_file(both / file))
    first, second = (torch.load(tmp_path / "ranks" / f"{rank}.pt") for rank in (0, 1))
    for part in ("encoder", "head"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    start = load_file(Path(ask("x", "one block").encoder) / "model.safetensors")
    moved = load_file(both / "encoder.safetensors")
    name = "tower.encoder.layers.2.mlp.fc1.weight"
    assert not torch.allclose(moved[name], start[name.replace("tower.", "vision_tower.")], atol=1e-3)
    assert (tmp_path / "ranks" / "1.txt").read_text() == ""
    assert "epoch 6 of 6" in (tmp_path / "ranks" / "0.txt").read_text()


def test_two_processes_share_the_embedding(ask, tmp_path, free_port, monkeypatch):
    monkeypatch.setattr("triage_agent.learning.frozen.SHARD", 16)
    both = train_in_two(ask("both", "a head"), free_port, tmp_path / "ranks")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "embeddings").iterdir()}
    alone = train(ask("alone", "a head"), lambda line: None)
    assert len(kept) == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "embeddings").iterdir()} == kept
    close(load_file(alone / "head.safetensors"), load_file(both / "head.safetensors"))
