"""Any SigLIP vision tower (Zhai et al. 2023); MedGemma's and MedSigLIP's are kinds of it.

Only the tower is ever built or read: of MedGemma-4B that is 417 million parameters of 4.3 billion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipVisionConfig, SiglipVisionModel

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import check_names, read_config, read_tensors, tower_name
from triage_agent.models.encoder import DEFAULT_GRID, GRID, Encoder, Precision, grid_tokens, pooled
from triage_agent.models.fused import FusedTower

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

POOLINGS = ("mean", "head", "grid")
CHANNELS = 3
_MEAN = _STD = 0.5
# What decides the architecture; spelled out in a bundle, so that it does not hang on a library's defaults.
_CONFIG_KEYS = (
    "attention_dropout", "hidden_act", "hidden_size", "image_size", "intermediate_size", "layer_norm_eps",
    "num_attention_heads", "num_channels", "num_hidden_layers", "patch_size",
)  # fmt: skip


def pad_and_resize(display: NDArray[np.float32], size: int) -> Tensor:
    """Zero-pad to a centred square and resize, bilinear without antialiasing as Google's own evaluation does.

    Args:
        display: float32 [H, W] in [0, 1], bone bright: MONOCHROME1 is inverted, so that the padding is background.
        size: side of the result in pixels.

    Returns:
        float32 [size, size] in [0, 1].
    """
    image = torch.from_numpy(display).to(torch.float32)
    height, width = image.shape
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = functional.pad(image, (left, side - width - left, top, side - height - top))[None, None]
    if side != size:  # as it is where it has been sampled before
        square = functional.interpolate(
            square, size=(size, size), mode="bilinear", align_corners=False, antialias=False
        )
    return square[0, 0].clamp(0.0, 1.0)


class SiglipEncoder(Encoder):
    """A SigLIP vision tower with a choice of pooling.

    `config` holds the Hugging Face vision configuration and "pooling": "mean" of the patch tokens after the last layer
    norm; "head", the tower's own attention pooling; or "grid", the same patch tokens averaged to "grid" x "grid" ones
    (8 unless it says otherwise, and never finer than the patches), row by row from the top left.
    """

    kind: ClassVar[str] = "siglip"
    default_pooling: ClassVar[str | None] = None  # None: the head where the checkpoint has one, else the mean

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        settings = dict(config)
        self.pooling: str = settings.pop("pooling", "mean")
        grid = settings.pop("grid", None)
        if self.pooling not in POOLINGS:
            raise BundleError(f"no pooling {self.pooling!r} in a SigLIP tower", remedy=f"use one of {POOLINGS}")
        vision = SiglipVisionConfig(
            **{key: settings[key] for key in _CONFIG_KEYS if key in settings},
            vision_use_head=self.pooling == "head",
            attn_implementation="sdpa",
        )
        if vision.num_channels != CHANNELS:
            raise BundleError(f"a tower for {vision.num_channels} channels", remedy="use one for 3 channels")
        self.config = {**{key: getattr(vision, key) for key in _CONFIG_KEYS}, "pooling": self.pooling}
        if self.pooling == GRID:
            self.config[GRID] = _grid(grid, vision.image_size // vision.patch_size)
        self.image_size = self.sampled_side = vision.image_size
        self.embedding_dim = vision.hidden_size
        model = SiglipVisionModel(vision)
        self.tower = getattr(model, "vision_model", model)  # early transformers 5 wraps the tower once more

    @classmethod
    def restore(cls, config: Mapping[str, Any], state: Mapping[str, Tensor], where: object = "the bundle") -> Self:
        """As `Encoder.restore`, without filling half a billion numbers at random first."""
        with torch.device("meta"):
            encoder = cls(config)
        check_names(where, state, encoder.state_dict())
        # A copy each: what safetensors hands out lies unaligned in the file's mapping, where sums round otherwise.
        floats = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
        encoder.load_state_dict(floats, assign=True)
        positions = encoder.tower.embeddings.position_ids  # the one buffer that no checkpoint carries
        encoder.tower.embeddings.position_ids = torch.arange(positions.shape[-1], device="cpu").expand((1, -1))
        return encoder

    @classmethod
    def from_checkpoint(cls, folder: Path, pooling: str | None = None, grid: int | None = None) -> Self:
        """The tower of a checkpoint in `folder`: of a Gemma3, a SigLIP, or a SigLIP vision tower alone.

        Raises:
            BundleError: it is another architecture, or its tensors do not fill the tower exactly.
        """
        content = read_config(folder)
        vision = content.get("vision_config", content)
        if vision.get("model_type", "siglip_vision_model") != "siglip_vision_model":
            raise BundleError(f"{folder} has a {vision['model_type']} tower", remedy="give a SigLIP or MedGemma one")
        pooling = pooling or cls.default_pooling or ("head" if vision.get("vision_use_head", True) else "mean")
        tensors = read_tensors(folder, tower_name)
        state = {f"tower.{name}": tensor for name, tensor in tensors.items()}
        if pooling != "head":
            state = {name: tensor for name, tensor in state.items() if not name.startswith("tower.head.")}
        return cls.restore({**vision, "pooling": pooling, "grid": grid}, state, folder)

    def preprocess(self, display: NDArray[np.float32]) -> Tensor:
        """Display image, float32 [H, W] in [0, 1], bone bright, to float32 [3, image_size, image_size] in [-1, 1]."""
        grey = (pad_and_resize(display, self.image_size) - _MEAN) / _STD
        return grey.expand(CHANNELS, -1, -1)

    def forward(self, batch: Tensor) -> Tensor:
        """Map [B, 3, image_size, image_size] to float32 [B, embedding_dim], or [B, tokens, embedding_dim] of a grid."""
        output = self.tower(pixel_values=batch.to(self.tower.post_layernorm.weight.dtype))
        if self.pooling == "head":
            embedding: Tensor = output.pooler_output.float()
            return embedding
        return self._pooled(output.last_hidden_state)

    def _pooled(self, last: Tensor) -> Tensor:
        """The embedding of the tokens [B, T, width] after the last layer norm."""
        if self.pooling == "head":
            asked: Tensor = self.tower.head(last)
            return asked.float()
        tokens = last.float()
        if self.pooling == GRID:
            side = self.image_size // self.config["patch_size"]
            return grid_tokens(tokens.transpose(1, 2).view(len(tokens), -1, side, side), self.config[GRID])
        return pooled(tokens)

    def blocks(self) -> list[nn.Module]:
        """The transformer layers from first to last."""
        return list(self.tower.encoder.layers)

    def for_inference(self, device: torch.device, precision: Precision = "auto") -> Self:
        """As `Encoder.for_inference`, by itself in bfloat16 on CUDA: Google publishes the weights in it."""
        placed = super().for_inference(device, precision)
        return placed.to(torch.bfloat16) if device.type == "cuda" and precision == "auto" else placed

    def accelerated(self, *, compiled: bool = False) -> Callable[[Tensor], Tensor]:  # noqa: ARG002 - see below
        """As `Encoder.accelerated`, by `FusedTower`: what compilers add to that was measured, and is nothing."""
        tower = FusedTower(self.tower)
        return lambda batch: self._pooled(tower(batch))


def _grid(asked: int | None, side: int) -> int:
    """How many tokens a side of the grid has, of at most `side`."""
    grid = min(DEFAULT_GRID, side) if asked is None else asked
    if not 0 < grid <= side:
        raise BundleError(f"a grid of {grid} on {side} x {side} patches", remedy=f"set grid to 1 up to {side}")
    return grid
