"""A SigLIP vision tower as a GPU likes it: the same weights and the same numbers in fewer, larger steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from torch import nn

# Of these the first that takes the shape. cuDNN's is half as fast again as the others on Hopper with heads of 72.
_ATTENTION = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
_TANH_GELU = "gelu_pytorch_tanh"


@dataclass(frozen=True, slots=True)
class _Affine:
    """Weight [out, in] and bias [out] of a product; or weight and bias, [width] each, of a norm."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *modules: Any) -> _Affine:
        """One module's own, or several ones' below each other."""
        if len(modules) == 1:
            return cls(modules[0].weight, modules[0].bias)
        return cls(torch.cat([one.weight for one in modules]), torch.cat([one.bias for one in modules]))


@dataclass(frozen=True, slots=True)
class _Layer:
    """A transformer layer; `qkv` are its queries, keys and values in one product."""

    before: _Affine
    qkv: _Affine
    out: _Affine
    between: _Affine
    widen: _Affine
    narrow: _Affine


class FusedTower:
    """Patches to tokens after the last layer norm, for inference.

    Queries, keys and values are one product, patches are multiplied and not convolved, GELU is done by the product in
    front of it. No weight is changed, and none is copied but those of queries, keys and values. To be made when the
    tower is where it scores, in the type that it scores in.
    """

    def __init__(self, tower: Any) -> None:
        """`tower` is transformers' (`SiglipVisionTransformer`)."""
        config = tower.config
        self._heads = int(config.num_attention_heads)
        self._patch = int(config.patch_size)
        self._epsilon = float(config.layer_norm_eps)
        embeddings = tower.embeddings
        kernel = embeddings.patch_embedding.weight
        self._patches = _Affine(kernel.flatten(1), embeddings.patch_embedding.bias)
        self._positions = embeddings.position_embedding.weight
        self._layers = [_layer(layer) for layer in tower.encoder.layers]
        self._last = _Affine.of(tower.post_layernorm)
        self._activation: nn.Module = tower.encoder.layers[0].mlp.activation_fn
        self._tanh = config.hidden_act == _TANH_GELU

    def __call__(self, pixels: Tensor) -> Tensor:
        """Map [B, 3, S, S] to tokens [B, T, width], in the tower's type."""
        with sdpa_kernel(_ATTENTION, set_priority=True):
            return self._tokens(pixels.to(self._patches.weight.dtype))

    def _tokens(self, pixels: Tensor) -> Tensor:
        count, width = len(pixels), len(self._patches.weight)
        side = pixels.shape[-1] // self._patch
        stream = functional.linear(self._cut(pixels, side), self._patches.weight, self._patches.bias)
        stream = (stream.view(count, side * side, width) + self._positions).view(-1, width)
        norms = [*(layer.before for layer in self._layers[1:]), self._last]
        normed = self._norm(stream, self._layers[0].before)
        for layer, following in zip(self._layers, norms, strict=True):
            seen = self._attend(normed, layer, count)
            stream, normed = self._add_norm(stream, seen, layer.between)
            thought = functional.linear(self._widen(normed, layer.widen), layer.narrow.weight, layer.narrow.bias)
            stream, normed = self._add_norm(stream, thought, following)
        return normed.view(count, -1, width)

    def _cut(self, pixels: Tensor, side: int) -> Tensor:
        """[B, C, S, S] to patches [B * side * side, C * patch * patch], in the order of the convolution's weights."""
        count, channels = pixels.shape[:2]
        extent = side * self._patch
        squares = pixels[..., :extent, :extent].reshape(count, channels, side, self._patch, side, self._patch)
        return squares.permute(0, 2, 4, 1, 3, 5).reshape(count * side * side, -1)

    def _attend(self, normed: Tensor, layer: _Layer, count: int) -> Tensor:
        together = functional.linear(normed, layer.qkv.weight, layer.qkv.bias)
        queries, keys, values = together.view(count, -1, 3, self._heads, normed.shape[-1] // self._heads).permute(
            2, 0, 3, 1, 4
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return functional.linear(mixed.transpose(1, 2).reshape_as(normed), layer.out.weight, layer.out.bias)

    def _add_norm(self, stream: Tensor, more: Tensor, norm: _Affine) -> tuple[Tensor, Tensor]:
        """The sum, and the sum's layer norm."""
        total = stream + more
        return total, self._norm(total, norm)

    def _norm(self, stream: Tensor, norm: _Affine) -> Tensor:
        return functional.layer_norm(stream, (stream.shape[-1],), norm.weight, norm.bias, self._epsilon)

    def _widen(self, normed: Tensor, widen: _Affine) -> Tensor:
        if normed.is_cuda and self._tanh:  # cuBLAS does it before the product leaves the chip
            activated: Tensor = torch._addmm_activation(widen.bias, normed, widen.weight.t(), use_gelu=True)  # noqa: SLF001
            return activated
        thought: Tensor = self._activation(functional.linear(normed, widen.weight, widen.bias))
        return thought


def _layer(layer: Any) -> _Layer:
    attention = layer.self_attn
    return _Layer(
        before=_Affine.of(layer.layer_norm1),
        qkv=_Affine.of(attention.q_proj, attention.k_proj, attention.v_proj),
        out=_Affine.of(attention.out_proj),
        between=_Affine.of(layer.layer_norm2),
        widen=_Affine.of(layer.mlp.fc1),
        narrow=_Affine.of(layer.mlp.fc2),
    )
