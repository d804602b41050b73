"""Heads on embeddings that are kept on disk."""

import numpy as np
import pytest
import torch

from triage_agent.learning.frozen import embed, fit_head
from triage_agent.learning.mura import read_split
from triage_agent.learning.ranks import Ranks
from triage_agent.learning.recipe import FROZEN
from triage_agent.models.bundle import HeadSpec
from triage_agent.models.compact import CompactEncoder, with_grid

TINY = {"image_size": 32, "widths": [4, 8], "depths": [1, 1]}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def needles(count=160, tokens=6, width=8):
    """One token of each abnormal image says so, quietly; the other tokens and normal images are noise."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(count, tokens, width, generator=generator)
    labels = (torch.arange(count) % 2).float()
    places = torch.randint(tokens, (count,), generator=generator)
    embeddings[torch.arange(count), places, 0] = 4 * labels
    return embeddings * torch.linspace(0.1, 10, width), labels


def best_auroc(kind, embeddings, labels):
    spec = HeadSpec(kind=kind, input_dim=8, attention_heads=2 if kind == "attention" else 1)
    recipe = FROZEN.model_copy(update={"epochs": 12, "batch_size": 20, "learning_rate": 0.02, "patience": 0})
    indices = torch.arange(len(labels))
    learn, judge = indices[:100], indices[100:]
    head, history = fit_head(embeddings, labels, learn, judge, spec, recipe, seed=0, progress=lambda *_: None)
    assert history[-1].loss < history[0].loss
    return max(epoch.held_back_auroc for epoch in history), head


def test_an_attention_head_finds_what_the_mean_of_tokens_hides():
    embeddings, labels = needles()
    attention, _ = best_auroc("attention", embeddings, labels)
    linear, _ = best_auroc("linear", embeddings, labels)
    assert attention > 0.9
    assert attention > linear + 0.05


def test_tokens_kept_in_half_precision_train_the_same_head_in_float32():
    embeddings, labels = needles()
    whole, head = best_auroc("attention", embeddings, labels)
    halves, _ = best_auroc("attention", embeddings.half(), labels)
    assert halves == pytest.approx(whole, abs=0.02)
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}


def test_grids_are_kept_in_half_precision_under_a_name_of_their_own(layout, tmp_path):
    images = read_split(layout([("train", "XR_HAND", f"p{i}", "s1", i % 2, None) for i in range(4)]), "train")
    encoder = CompactEncoder(TINY).eval()
    cache = tmp_path / "cache"
    vectors = embed(images, encoder, cache, lambda *_: None)
    tokens = embed(images, with_grid(encoder, 2).eval(), cache, lambda *_: None)
    finer = embed(images, with_grid(encoder, 4).eval(), cache, lambda *_: None)
    assert (vectors.dtype, vectors.shape) == (torch.float32, (4, 8))
    assert (tokens.dtype, tokens.shape, finer.shape) == (torch.float16, (4, 4, 8), (4, 16, 8))
    assert torch.allclose(tokens.float().mean(1), vectors, atol=1e-2)
    assert len(list(cache.iterdir())) == 3
    assert sorted(np.load(path).dtype.name for path in cache.iterdir()) == ["float16", "float16", "float32"]


def test_processes_take_turns_with_the_shards_and_none_is_made_twice(layout, tmp_path, monkeypatch):
    monkeypatch.setattr("triage_agent.learning.frozen.SHARD", 2)
    monkeypatch.setattr(Ranks, "wait", lambda self: None)
    images = read_split(layout([("train", "XR_HAND", f"p{i}", "s1", i % 2, None) for i in range(5)]), "train")
    encoder, cache = CompactEncoder(TINY).eval(), tmp_path / "cache"
    told = {0: [], 1: []}
    with pytest.raises(FileNotFoundError):  # the other's shards are not there yet, which `wait` would see to
        embed(images, encoder, cache, lambda done, _: told[1].append(done), Ranks(1, 2))
    whole = embed(images, encoder, cache, lambda done, _: told[0].append(done), Ranks(0, 2))
    assert told == {0: [2, 5], 1: [4]}
    assert torch.allclose(whole, embed(images, encoder, tmp_path / "alone", lambda *_: None))
