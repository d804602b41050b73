"""Attention of SigLIP towers, looked at from outside and head by head.

The weights of all heads and layers of MedGemma's tower at 896 pixels would be 27 x 16 x 4096 x 4096 numbers, 29 GB in
float32. They are never asked for. Hooks keep each layer's queries and keys (27 x 2 x 4096 x 1152 numbers, 1.0 GB), and
what is wanted, one row of the product of all layers, is carried from the last layer to the first through one head's
weights at a time (64 MiB, and as much again in its softmax). The tower runs as it always does, its attention
implementation unchanged. All figures but the shapes are arithmetic from them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from triage_agent.models.encoder import Encoder


def attention_layers(encoder: Encoder) -> list[nn.Module]:
    """The self-attention of each block, first to last; empty for an encoder that has none."""
    layers = [getattr(block, "self_attn", None) for block in encoder.blocks()]
    return [layer for layer in layers if layer is not None] if all(layers) else []


@torch.no_grad()
def rolled_out(encoder: Encoder, batch: Tensor) -> Tensor:
    """How much of the pooled tokens each patch is, [T] with sum 1 (Abnar and Zuidema 2020).

    Each layer passes half of a token on as it is and half by attention, the heads' mean. Pooling by the mean starts
    from equal shares of all tokens (SigLIP has no class token), pooling by the tower's head from its attention.

    Args:
        encoder: a SigLIP tower.
        batch: one image, [1, C, S, S].
    """
    layers = attention_layers(encoder)
    queries: list[Tensor] = []
    keys: list[Tensor] = []
    pooled: list[Tensor] = []
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(_part(layer, "q_proj").register_forward_hook(_keep(queries)).remove)
            hooks.callback(_part(layer, "k_proj").register_forward_hook(_keep(keys)).remove)
        pooling = getattr(getattr(encoder, "tower", None), "head", None)
        if isinstance(pooling, nn.Module):
            hooks.callback(_part(pooling, "attention").register_forward_hook(_keep_weights(pooled)).remove)
        encoder(batch)
    row = pooled[0] if pooled else torch.full_like(keys[0][:, 0], 1 / len(keys[0]))
    for layer, query, key in zip(reversed(layers), reversed(queries), reversed(keys), strict=True):
        heads = _heads(layer)
        through = torch.zeros_like(row)
        for head_query, head_key in zip(query.chunk(heads, 1), key.chunk(heads, 1), strict=True):
            through += row @ _attention(head_query, head_key)
        row = (row + through / heads) / 2
    return row


def last_block_relevance(encoder: Encoder, head: nn.Module, batch: Tensor) -> Tensor:
    """How much attending to each patch in the last block raises the logit, [T] (Chefer et al. 2021, for one block).

    The mean over heads of attention times its gradient, positive parts only, summed over the tokens that attend. The
    gradient of head h's attention is G V', with G the gradient of that head's output and V its values: it needs no
    attention weights that autograd has seen.

    Args:
        encoder: a SigLIP tower.
        head: maps the embedding to logits [B].
        batch: one image, [1, C, S, S].
    """
    layer = attention_layers(encoder)[-1]
    kept: dict[str, list[Tensor]] = {"q_proj": [], "k_proj": [], "v_proj": []}
    outputs: list[Tensor] = []

    def start(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs.append(inputs[0].detach().requires_grad_())
        return (outputs[0], *inputs[1:])

    with ExitStack() as hooks, torch.enable_grad():
        for name, places in kept.items():
            hooks.callback(_part(layer, name).register_forward_hook(_keep(places)).remove)
        hooks.callback(_part(layer, "out_proj").register_forward_pre_hook(start).remove)
        (gradient,) = torch.autograd.grad(head(encoder(batch)).sum(), outputs)
    heads = _heads(layer)
    query, key, value = (kept[name][0].chunk(heads, 1) for name in ("q_proj", "k_proj", "v_proj"))
    relevance = torch.zeros_like(query[0][:, 0])
    for place, slope in enumerate(gradient[0].float().chunk(heads, 1)):
        weights = _attention(query[place], key[place])
        relevance += (weights * (slope @ value[place].T)).clamp(min=0).sum(0)
    return relevance / heads


def _attention(query: Tensor, key: Tensor) -> Tensor:
    """One head's weights: softmax over keys of [T, d] and [T, d], float32 [T, T]."""
    return torch.softmax(query @ key.T * query.shape[1] ** -0.5, dim=1)


def _heads(layer: nn.Module) -> int:
    return int(layer.num_heads)  # type: ignore[arg-type]


def _part(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name)


def _keep(places: list[Tensor]) -> Callable[..., None]:
    """A forward hook that keeps the output of one image, float32 [T, D]."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        places.append(output.detach()[0].float())

    return hook


def _keep_weights(places: list[Tensor]) -> Callable[..., None]:
    """A forward hook that keeps the weights that multi-head attention returns beside its output, float32 [T]."""

    def hook(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        places.append(output[1].detach()[0, 0].float())

    return hook
