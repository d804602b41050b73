"""Maps on the real classes at a tiny size: where they point, in whose geometry, and what they leave as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from triage_agent.models.bundle import load_bundle
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.encoder import weights_digest
from triage_agent.models.explain import (
    METHODS,
    Explainer,
    ExplanationError,
    attention_rollout,
    gradient_cells,
    gradient_map,
    load_explainer,
    methods_of,
    relevance_map,
    undisturbed,
)
from triage_agent.models.registry import REGISTRY
from triage_agent.models.rollout import attention_layers, last_block_relevance, rolled_out
from triage_agent.models.scorer import load_scorer

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
TOWERS = ["medgemma", "medsiglip"]


def tower(kind="medgemma", **changes):
    torch.manual_seed(0)
    pooling = "mean" if kind == "medgemma" else "head"
    return REGISTRY[kind].load()({**TOWER, "pooling": pooling, **changes}).eval()


def compact(**changes):
    torch.manual_seed(0)
    return CompactEncoder({"image_size": 64, "widths": [4, 8, 8], "depths": [1, 1, 1], **changes}).eval()


class Linear(nn.Module):
    """A linear head of fixed weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, embedding):
        return embedding @ self.weights


def head_of(encoder, seed=3):
    return Linear(torch.randn(encoder.embedding_dim, generator=torch.Generator().manual_seed(seed)))


def bright_spot(height=64, width=64, at=(8, 48), side=12):
    """Black but for one bright square; `at` is its upper left corner (row, column)."""
    display = np.zeros((height, width), dtype=np.float32)
    display[at[0] : at[0] + side, at[1] : at[1] + side] = 1.0
    return display


def noise(height=64, width=48, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


def brightness(encoder):
    """Make a compact encoder whose every feature is the local brightness; a head of ones then wants bright places."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.fill_(1.0 if parameter.ndim == 1 else 1 / parameter[0].numel())
        for name, bias in encoder.named_parameters():
            if name.endswith("bias"):
                bias.zero_()
    return encoder, Linear(torch.ones(encoder.embedding_dim))


def peak(heat):
    return np.unravel_index(heat.argmax(), heat.shape)


@pytest.mark.parametrize("changes", [{}, {"towers": 2}, {"unshuffle": 2, "pooling": "mean-max"}, {"mirror": False}])
@pytest.mark.parametrize("at", [(8, 48), (44, 4)])
def test_grad_cam_points_at_what_raises_the_logit_also_beside_a_mirror_image(changes, at):
    encoder, head = brightness(compact(mean=0.0, **changes))
    row, column = peak(gradient_map(encoder, head, bright_spot(at=at)))
    assert abs(row - (at[0] + 6)) <= 12
    assert abs(column - (at[1] + 6)) <= 12


def test_towers_of_different_sizes_agree_on_the_place():
    encoder = compact(mean=0.0, towers=[{"size": 64}, {"size": 32}])
    row, column = peak(gradient_map(*brightness(encoder), bright_spot(at=(44, 4))))
    assert (abs(row - 50) <= 12, abs(column - 10) <= 12) == (True, True)


@pytest.mark.parametrize(("height", "width", "at"), [(200, 80, (20, 50)), (80, 200, (50, 150))])
def test_padding_and_size_are_undone(height, width, at):
    encoder, head = brightness(compact(mean=0.0))
    heat = gradient_map(encoder, head, bright_spot(height, width, at, side=24))
    assert (heat.shape, heat.dtype) == ((height, width), np.float32)
    row, column = peak(heat)
    assert abs(row - (at[0] + 12)) <= 30
    assert abs(column - (at[1] + 12)) <= 30


def test_what_lowers_the_logit_everywhere_leaves_an_empty_map():
    encoder, head = brightness(compact(mean=0.0))
    against = Linear(-head.weights.detach())
    assert not gradient_map(encoder, against, bright_spot()).any()


@pytest.mark.parametrize("mirror", [False, True])
def test_the_mean_of_the_cells_of_a_mean_and_a_linear_head_is_the_logit(mirror):
    encoder = compact(mirror=mirror)
    head = head_of(encoder)
    batch = encoder.preprocess(noise())[None]
    with undisturbed(encoder, head):
        cells = gradient_cells(encoder, head, batch)
        logit = float(head(encoder(batch)).detach())
    assert float(cells.mean()) == pytest.approx(logit, rel=1e-4)


def test_shares_of_a_tower_s_tokens_add_up_to_the_logit():
    encoder = tower()
    head = head_of(encoder)
    batch = encoder.preprocess(noise())[None]
    with undisturbed(encoder, head):
        cells = gradient_cells(encoder, head, batch)
    assert cells.shape == (4, 4)
    assert float(cells.sum()) == pytest.approx(float(head(encoder(batch)).detach()), rel=1e-4)


@pytest.mark.parametrize("kind", TOWERS)
def test_rollout_equals_the_product_of_the_attentions_that_transformers_gives(kind):
    encoder = tower(kind)
    batch = encoder.preprocess(noise())[None]
    found = rolled_out(encoder, batch)

    encoder.tower.config._attn_implementation = "eager"
    given = []
    for layer in attention_layers(encoder):
        layer.register_forward_hook(lambda _module, _inputs, output: given.append(output[1][0].mean(0)))
    with torch.no_grad():
        hidden = encoder.tower(pixel_values=batch).last_hidden_state
    product = torch.eye(16)
    for weights in given:
        product = (weights + torch.eye(16)) / 2 @ product
    row = torch.full((16,), 1 / 16)
    if kind == "medsiglip":
        pooling = encoder.tower.head
        row = pooling.attention(pooling.probe, hidden, hidden)[1][0, 0].detach()
    assert len(given) == 3
    assert torch.allclose(found, row @ product, atol=1e-6)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_relevance_equals_attention_times_its_gradient_in_autograd():
    encoder = tower()
    head = head_of(encoder)
    batch = encoder.preprocess(noise())[None]
    found = last_block_relevance(encoder, head, batch)

    encoder.tower.config._attn_implementation = "eager"
    given = []

    def keep(_module, _inputs, output):
        given.append(output[1])

    attention_layers(encoder)[-1].register_forward_hook(keep)
    logit = head(encoder(batch)).sum()
    (slope,) = torch.autograd.grad(logit, given)
    expected = (given[0] * slope)[0].clamp(min=0).mean(0).sum(0).detach()
    assert float(expected.max()) > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", TOWERS)
def test_rollout_is_the_same_whatever_the_head_says_and_the_others_are_not(kind):
    encoder, display = tower(kind), noise()
    one, other = (
        {name: method(encoder, head_of(encoder, seed), display) for name, method in METHODS.items()} for seed in (1, 2)
    )
    assert np.array_equal(one["rollout"], other["rollout"])
    assert not np.allclose(one["gradient"], other["gradient"], atol=0.05)
    assert not np.allclose(one["relevance"], other["relevance"], atol=0.05)


def models():
    yield from ((kind, tower(kind)) for kind in TOWERS)
    yield "compact", compact(towers=2)


@pytest.mark.parametrize("kind", [*TOWERS, "compact"])
def test_maps_are_in_range_the_same_each_time_and_of_the_image_s_size(kind):
    encoder = dict(models())[kind]
    explainer = Explainer(encoder, head_of(encoder))
    assert explainer.methods == (("gradient",) if kind == "compact" else ("gradient", "relevance", "rollout"))
    for method in explainer.methods:
        heat = explainer.map(noise(90, 41), method)
        assert (heat.shape, heat.dtype) == ((90, 41), np.float32)
        assert (heat.min() >= 0, heat.max()) == (True, pytest.approx(1))
        assert np.array_equal(heat, explainer.map(noise(90, 41), method))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [*TOWERS, "compact"])
def test_nothing_of_the_model_is_changed(kind, training):
    encoder = dict(models())[kind]
    head = head_of(encoder)
    encoder.train(training)
    encoder.blocks()[0].eval()
    encoder.requires_grad_(requires_grad=False)
    encoder.blocks()[-1].requires_grad_(requires_grad=True)

    def state():
        tower_config = getattr(getattr(encoder, "tower", None), "config", None)
        return (
            weights_digest(encoder),
            weights_digest(head),
            [parameter.requires_grad for parameter in encoder.parameters()],
            [parameter.grad for parameter in [*encoder.parameters(), *head.parameters()]],
            [module.training for module in encoder.modules()],
            [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in encoder.modules()],
            getattr(tower_config, "_attn_implementation", None),
            torch.is_grad_enabled(),
        )

    before = state()
    for method in methods_of(encoder):
        Explainer(encoder, head).map(noise(), method)
    assert state() == before
    assert kind == "compact" or before[-2] == "sdpa"


def test_a_map_can_be_had_inside_inference_mode():
    encoder = compact()
    head = head_of(encoder)
    outside = gradient_map(encoder, head, noise())
    with torch.inference_mode():
        assert np.array_equal(gradient_map(encoder, head, noise()), outside)


def test_hooks_are_gone_after_a_failure():
    encoder = compact()
    with pytest.raises(ZeroDivisionError):
        gradient_map(encoder, Failing(), noise())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


class Failing(nn.Module):
    def forward(self, _embedding):
        raise ZeroDivisionError


@pytest.mark.parametrize("method", [lambda encoder, _head, display: attention_rollout(encoder, display), relevance_map])
def test_an_encoder_without_attention_says_so(method):
    encoder = compact()
    with pytest.raises(ExplanationError, match="compact"):
        method(encoder, head_of(encoder), noise())


def test_patches_that_do_not_fill_the_input_are_placed_where_they_lie():
    encoder = tower(image_size=64)  # 4 patches of 14 and 8 pixels that no patch sees
    heat = gradient_map(encoder, head_of(encoder), noise(64, 64))
    assert not heat[57:].any()
    assert not heat[:, 57:].any()
    assert heat[:56, :56].max() == pytest.approx(1)


def test_a_bundle_s_explainer_gives_the_bundle_s_logit_and_probability():
    explainer = load_explainer(load_bundle("embedded"), "cpu")
    scorer, display = load_scorer("embedded", "cpu"), noise(96, 80)
    assert explainer.logit(display) == pytest.approx(float(scorer.logits([display])[0]), rel=1e-5)
    assert explainer.probability(display) == pytest.approx(scorer.score([display])[0].probability, rel=1e-5)


def test_the_map_of_a_window_lies_in_the_window():
    encoder = compact(window=[0.25, 0.5, 0.75, 0.75])
    found = gradient_map(encoder, head_of(encoder), noise(128, 128))
    assert found.max() == 1
    assert not found[:62].any()
    assert not found[98:].any()
    assert not found[:, :30].any()
    assert not found[:, 98:].any()


def test_an_unfolded_tower_explains_each_half_where_it_lies():
    encoder = compact(unfold=True)
    head, display = head_of(encoder), noise(64, 64)
    found = gradient_map(encoder, head, display)
    mirrored = gradient_map(encoder, head, np.ascontiguousarray(display[:, ::-1]))
    assert mirrored[:, ::-1] == pytest.approx(found, abs=1e-5)
    assert found[:, ::-1] != pytest.approx(found, abs=0.1)
