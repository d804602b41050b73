"""Where an image's score comes from, as a map over the image. Off by default: nothing that scores asks for it.

A map is not a finding. It shows what the arithmetic leaned on, it has no error rate of its own, and it looks just as
convincing where the model is wrong; `learning.explained` has the checks that tell how far one may be believed.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from math import isqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.domain.errors import BundleError, TriageError
from triage_agent.models.calibration import apply_platt
from triage_agent.models.checkpoint import read_file
from triage_agent.models.compact import CompactEncoder, Tower
from triage_agent.models.encoder import pooled
from triage_agent.models.head import build_head
from triage_agent.models.registry import build_encoder
from triage_agent.models.rollout import attention_layers, last_block_relevance, rolled_out
from triage_agent.models.scorer import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.models.bundle import Bundle
    from triage_agent.models.encoder import Encoder

_CANVAS = 64  # cells a side on which the map of a tower with a window is laid out
_MAP_NDIM = 4  # [B, C, H, W], against [B, T, D] of tokens


class ExplanationError(TriageError):
    """The encoder has no such map."""


def attention_rollout(encoder: Encoder, display: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a transformer's attention comes from, through all layers (Abnar and Zuidema 2020).

    It does not depend on the label, the head or the logit: the same map belongs to "abnormal" and to "normal". It shows
    where the tower gathers from, not why an image is called abnormal. The least value in the image is taken away before
    scaling, since every patch receives something.

    Args:
        encoder: a SigLIP tower; its attention is averaged over heads in float32, whatever it runs in.
        display: float32 [H, W] in [0, 1], bone bright.

    Returns:
        float32 [H, W] in [0, 1], the largest value 1.

    Raises:
        ExplanationError: the encoder has no attention.
    """
    _need_attention(encoder, "rollout")
    with undisturbed(encoder):
        cells = _square(rolled_out(encoder, _batch(encoder, display)))
    return _placed(encoder, cells, display.shape, from_least=True)


def gradient_map(encoder: Encoder, head: nn.Module, display: NDArray[np.float32]) -> NDArray[np.float32]:
    """What in the last features raises the logit.

    For feature maps it is Grad-CAM (Selvaraju et al. 2017), of all networks that look at the image or its mirror image
    together. For tokens it is gradient times activation after the last layer norm; before it this would be 0 at every
    token, because a layer norm does not see the length of its input. With a mean and a linear head the values are
    proportional to each place's share of the logit. Where no place raises the logit the map is 0 everywhere.

    Args:
        encoder: any encoder whose last stage (see `feature_stages`) gives feature maps or a square of tokens.
        head: maps the embedding to logits [B].
        display: float32 [H, W] in [0, 1], bone bright.

    Returns:
        float32 [H, W] in [0, 1]; scaled by its own maximum, so that maps of two images cannot be compared by
        brightness.

    Raises:
        ExplanationError: the encoder's last stage has no places.
    """
    with undisturbed(encoder, head):
        cells = gradient_cells(encoder, head, _batch(encoder, display))
    return _placed(encoder, cells.clamp(min=0), display.shape)


def relevance_map(encoder: Encoder, head: nn.Module, display: NDArray[np.float32]) -> NDArray[np.float32]:
    """Attention of the last block, weighted by what it does to the logit (Chefer et al. 2021, for one block).

    Arguments, result and errors as `gradient_map`, for a SigLIP tower.
    """
    _need_attention(encoder, "relevance")
    with undisturbed(encoder, head):
        cells = _square(last_block_relevance(encoder, head, _batch(encoder, display)))
    return _placed(encoder, cells, display.shape)


METHODS: Mapping[str, Callable[[Encoder, nn.Module, NDArray[np.float32]], NDArray[np.float32]]] = MappingProxyType(
    {
        "gradient": gradient_map,
        "relevance": relevance_map,
        "rollout": lambda encoder, _head, display: attention_rollout(encoder, display),
    }
)
SEES_NO_HEAD = frozenset({"rollout"})  # methods whose map is the same whatever the head says


def methods_of(encoder: Encoder) -> tuple[str, ...]:
    """The methods that this encoder has a map for."""
    return tuple(METHODS) if attention_layers(encoder) else ("gradient",)


class Explainer:
    """Maps of one bundle, computed on a model of its own, so that the one that scores is never touched."""

    def __init__(self, encoder: Encoder, head: nn.Module, bundle: Bundle | None = None) -> None:
        self.encoder = encoder
        self.head = head
        self.bundle = bundle
        self.methods = methods_of(encoder)

    def map(self, display: NDArray[np.float32], method: str = "gradient") -> NDArray[np.float32]:
        """A map in the display image's geometry: float32 [H, W] in [0, 1].

        Raises:
            ExplanationError: this encoder has no such map.
        """
        if method not in self.methods:
            raise ExplanationError(
                f"a {self.encoder.kind} encoder has no {method!r} map", remedy=f"use one of {', '.join(self.methods)}"
            )
        return METHODS[method](self.encoder, self.head, display)

    def logit(self, display: NDArray[np.float32]) -> float:
        """The uncalibrated logit that the map explains."""
        with undisturbed(self.encoder, self.head), torch.no_grad():
            return float(self.head(self.encoder(_batch(self.encoder, display))))

    def probability(self, display: NDArray[np.float32], anatomy: str | None = None) -> float | None:
        """The calibrated probability, as the scorer gives it; None where there is no bundle to calibrate by."""
        if self.bundle is None:
            return None
        if anatomy is None and (reference := reference_of(self.bundle)) is not None:
            with undisturbed(self.encoder), torch.no_grad():
                embedding = pooled(self.encoder(_batch(self.encoder, display)))
            (anatomy,) = reference.regions(embedding.cpu())
        return float(apply_platt([self.logit(display)], self.bundle.spec.calibration, [anatomy])[0])


def load_explainer(bundle: Bundle, device: str = "auto", encoder_source: str | None = None) -> Explainer:
    """An explainer in float32; arguments and errors as `scorer.Scorer`, and none for a zero-shot bundle."""
    if bundle.spec.zero_shot is not None:
        raise BundleError("a zero-shot bundle has no head whose map could be drawn", remedy="give a trained bundle")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    encoder = build_encoder(bundle.spec.encoder, bundle.folder, encoder_source).to(name).eval()
    head = build_head(bundle.spec.head, read_file(bundle.head_path)).to(name).eval()
    return Explainer(encoder.requires_grad_(requires_grad=False), head.requires_grad_(requires_grad=False), bundle)


def feature_stages(encoder: Encoder) -> list[tuple[nn.Module, nn.Module]]:
    """The networks that look at the image, each with the last stage of it whose output still has places.

    A new convolutional encoder needs no entry: the last of its `blocks()` is taken.
    """
    if isinstance(encoder, CompactEncoder):
        return [(tower, tower.get_submodule(f"stages.{len(tower.stages) - 1}")) for tower in encoder._towers()]  # noqa: SLF001
    tower = getattr(encoder, "tower", None)
    stage = getattr(tower, "post_layernorm", None) or encoder.blocks()[-1]
    return [(encoder, stage)]


def gradient_cells(encoder: Encoder, head: nn.Module, batch: Tensor) -> Tensor:
    """Signed shares of the logit of one image by place, [h, w] over the encoder's square input; see `gradient_map`."""
    seen: list[_Seen] = []
    with ExitStack() as hooks, torch.enable_grad():
        for network, stage in feature_stages(encoder):
            for handle in _watch(network, stage, batch, seen):
                hooks.callback(handle.remove)
        logit = head(encoder(batch)).sum()
        gradients = torch.autograd.grad(logit, [one.features for one in seen])
    parts = [_laid_out(one, slope) for one, slope in zip(seen, gradients, strict=True)]
    side = max(part.shape[-1] for part in parts)
    whole = torch.zeros(side, side)
    for part, one in zip(parts, seen, strict=True):
        sized = _sized(part, side, side)
        whole += sized.flip(1) if one.mirrored else sized
    return whole


class _Seen(NamedTuple):
    """What a network's last stage gave for an image, as a leaf; and whether it was shown the mirror image."""

    network: nn.Module
    features: Tensor
    mirrored: bool


def _laid_out(seen: _Seen, gradient: Tensor) -> Tensor:
    """Shares of the logit over the network's square input, [s, s], where a tower may have looked at a part of it.

    An unfolded tower's second half is mirrored back to its side; a window's shares go to its place, zeros around it.
    """
    features, tower = seen.features.detach(), seen.network
    if not isinstance(tower, Tower):
        return _shares(features, gradient)
    if tower.unfold:
        halves = [_shares(features[half : half + 1], gradient[half : half + 1]) for half in range(2)]
        part = torch.cat([halves[0], halves[1].flip(1)], dim=1)
    else:
        part = _shares(features, gradient)
    if tower.window is None:
        return part if part.shape[0] == part.shape[1] else _sized(part, part.shape[0], part.shape[0])
    left, top, right, bottom = (round(share * _CANVAS) for share in tower.window)
    square = torch.zeros(_CANVAS, _CANVAS)
    square[top:bottom, left:right] = _sized(part, bottom - top, right - left)
    return square


def _sized(part: Tensor, height: int, width: int) -> Tensor:
    """Resized so that the sum stays: shares of a coarse map are spread over more cells."""
    sized = functional.interpolate(part[None, None], size=(height, width), mode="bilinear")[0, 0]
    return sized * (part.numel() / sized.numel())


@contextmanager
def undisturbed(*modules: nn.Module) -> Iterator[None]:
    """Run the body in evaluation mode and outside `torch.inference_mode`; every module's own mode is put back after."""
    modes = [(one, one.training) for module in modules for one in module.modules()]
    try:
        for module in modules:
            module.eval()
        with torch.inference_mode(mode=False):
            yield
    finally:
        for one, training in modes:
            one.training = training


def _watch(
    network: nn.Module, stage: nn.Module, batch: Tensor, seen: list[_Seen]
) -> list[torch.utils.hooks.RemovableHandle]:
    """Hooks that put each of the stage's outputs into `seen` as a leaf, and whether it is of the mirror image.

    An encoder may look at the image and its mirror image in either order: what it is given tells which.
    """
    mirrored = False

    def enter(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal mirrored
        mirrored = not torch.equal(inputs[0], batch) and torch.equal(inputs[0], batch.flip(3))

    def leave(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        seen.append(_Seen(network, leaf, mirrored))
        return leaf

    return [network.register_forward_pre_hook(enter), stage.register_forward_hook(leave)]


def _shares(features: Tensor, gradient: Tensor) -> Tensor:
    """Shares of the logit by place, float32 [h, w] on the CPU, of [1, C, h, w] or [1, h * w, D].

    A channel's weight is the sum of its gradients, not their mean as in Selvaraju et al.: the same for one map, and
    right where maps of different sizes are added.
    """
    features, gradient = features.float().cpu(), gradient.float().cpu()
    if features.ndim == _MAP_NDIM:
        return (gradient.sum((2, 3), keepdim=True) * features).sum(1)[0]
    return _square((gradient * features).sum(-1)[0])


def _square(tokens: Tensor) -> Tensor:
    """One number a token, [T], as [h, w] on the CPU, row by row."""
    side = isqrt(len(tokens))
    if tokens.ndim != 1 or side * side != len(tokens):
        raise ExplanationError("the encoder's last stage has no places", remedy="it needs feature maps or patch tokens")
    return tokens.float().cpu().view(side, side)


def _batch(encoder: Encoder, display: NDArray[np.float32]) -> Tensor:
    device = next(encoder.parameters()).device
    return encoder.preprocess(display)[None].to(device)


def _need_attention(encoder: Encoder, method: str) -> None:
    if not attention_layers(encoder):
        raise ExplanationError(f"a {encoder.kind} encoder has no {method!r} map", remedy="use 'gradient'")


def _placed(
    encoder: Encoder, cells: Tensor, shape: tuple[int, ...], *, from_least: bool = False
) -> NDArray[np.float32]:
    """Cells over the encoder's padded square, upsampled bilinearly to the display image's pixels and scaled to [0, 1].

    A patch grid that does not fill the input (384 pixels in patches of 14) covers its upper left part.
    """
    height, width = shape
    side = max(height, width)
    patch = encoder.config.get("patch_size")
    inner = max(1, round(side * cells.shape[0] * patch / encoder.image_size)) if patch else side
    square = functional.interpolate(cells[None, None], size=(inner, inner), mode="bilinear")[0, 0]
    square = functional.pad(square, (0, side - inner, 0, side - inner))
    top, left = (side - height) // 2, (side - width) // 2
    cut = square[top : top + height, left : left + width].contiguous()
    if from_least:
        cut -= cut.min()
    highest = float(cut.max())
    scaled = (cut / highest).clamp(0, 1) if highest > 0 else torch.zeros_like(cut)
    return scaled.numpy()
