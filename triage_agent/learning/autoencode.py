"""Teaching an autoencoder to reconstruct the training images; what is kept of it is the encoder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.augment import augment
from triage_agent.learning.fit import SCORING_BATCH, passes_of
from triage_agent.learning.members import device_of
from triage_agent.learning.pixels import at_size, input_scale, load_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

    from triage_agent.learning.options import Material, TrainOptions
    from triage_agent.learning.recipe import Recipe
    from triage_agent.models.autoencoder import AutoencoderEncoder

CHECKPOINT = "autoencoder.pt"


@dataclass(frozen=True, slots=True)
class Round:
    """What one epoch gave: squared error of grey values in [0, 1], in training and on the held-back images."""

    number: int
    of: int
    size: int
    error: float
    held_back_error: float


class Decoder(nn.Module):
    """From an autoencoder's code back to the image: the encoder's convolutions in reverse.

    Enlarging by repetition and convolving leaves no checkerboard, as transposed convolutions do (Odena et al. 2016).
    """

    def __init__(self, encoder: AutoencoderEncoder) -> None:
        super().__init__()
        widths = [int(width) for width in encoder.config["widths"]]
        reversed_widths = widths[::-1]
        self.from_code = nn.Conv2d(int(encoder.config["code"]), reversed_widths[0], 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in zip(reversed_widths, [*reversed_widths[1:], reversed_widths[-1]], strict=True)
        )
        self.to_image = nn.Conv2d(reversed_widths[-1], 1, 3, padding=1)

    def forward(self, code: Tensor, size: int) -> Tensor:
        """Map [B, code, side, side] to [B, 1, size, size], normalised as the encoder's input is."""
        sides = [size]
        for _ in self.stages:
            sides.append((sides[-1] + 1) // 2)
        features = self.from_code(code)
        for stage, side in zip(self.stages, sides[-2::-1], strict=True):
            features = stage(functional.interpolate(features, size=(side, side), mode="nearest"))
        image: Tensor = self.to_image(features)
        return image


class Reconstruction:
    """Trains encoder and decoder in place, on images alone; at the end they are those of the best epoch.

    Args:
        encoder: on its device already.
        images: uint8 [N, 1, S, S].
        learn: indices to learn from.
        judge: indices whose error chooses the epoch that is kept.
        recipe: stages (or epochs), rate, batch size, patience, augmentation.
        seed: fixes everything that is drawn.
        checkpoint: where to keep the state after each epoch.
        identity: what a checkpoint must have been made from to be resumed.
    """

    def __init__(
        self,
        encoder: AutoencoderEncoder,
        images: Tensor,
        learn: Tensor,
        judge: Tensor,
        recipe: Recipe,
        *,
        seed: int,
        checkpoint: Path,
        identity: str,
    ) -> None:
        torch.manual_seed(seed)
        self.device = next(encoder.parameters()).device
        self.model = nn.ModuleDict({"encoder": encoder, "decoder": Decoder(encoder).to(self.device)})
        self.encoder, self.images, self.learn, self.judge, self.recipe = encoder, images, learn, judge, recipe
        self.checkpoint, self.identity = checkpoint, identity
        self.scale = input_scale(encoder)
        # The convolutions take every size; only the length of the flattened code depends on it.
        self.sizes = [one.size for one in passes_of(recipe, encoder.image_size, resizable=True, lesions=False)]
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.encoder_learning_rate, weight_decay=recipe.weight_decay
        )
        self.history: list[Round] = []
        self.best: dict[str, Any] = {"error": math.inf, "epoch": 0, "state": {}}

    def run(self, *, resume: bool, progress: Callable[[Round], None]) -> list[Round]:
        """Train until the stages or patience end; returns the epochs, those before a resumption included.

        Raises:
            ConfigurationError: `resume` finds a checkpoint of another data set, recipe or seed.
        """
        if resume and self.checkpoint.is_file():
            self._restore()
        while len(self.history) < len(self.sizes) and not self._out_of_patience():
            number, images = len(self.history), at_size(self.images, self.sizes[len(self.history)])
            error = self._one_epoch(images, number)
            held = self._held_back_error(images)
            if self.sizes[number] == self.sizes[-1] and (held < self.best["error"] or not self.best["state"]):
                state = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                self.best = {"error": held, "epoch": number, "state": state}
            self.history.append(Round(number + 1, len(self.sizes), self.sizes[number], error, held))
            self._save()
            progress(self.history[-1])
        self.model.load_state_dict(self.best["state"])
        return self.history

    def _one_epoch(self, images: Tensor, number: int) -> float:
        self.model.train()
        batch_size = self.recipe.batch_size
        steps, total = max(1, len(self.learn) // batch_size), 0.0
        order = self.learn[torch.randperm(len(self.learn))]
        for step, batch in enumerate(torch.split(order[: steps * batch_size], batch_size)):
            self._set_rate(number * steps + step, len(self.sizes) * steps, steps)
            loss = self._error(augment(images[batch], self.recipe.augmentation, self.scale.mean, self.scale.std))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.optimiser.step()
            total += float(loss.detach())
        return total / steps * self.scale.std**2

    @torch.inference_mode()
    def _held_back_error(self, images: Tensor) -> float:
        self.model.eval()
        total = 0.0
        for batch in torch.split(self.judge, SCORING_BATCH):
            pixels = (images[batch].float() / 255 - self.scale.mean) / self.scale.std
            total += float(self._error(pixels)) * len(batch)
        return total / len(self.judge) * self.scale.std**2

    def _error(self, pixels: Tensor) -> Tensor:
        """Mean squared error of a normalised batch [B, 1, S, S], in normalised units."""
        batch = pixels.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            made = self.model["decoder"](self.encoder.code(batch), batch.shape[-1])
        return functional.mse_loss(made.float(), batch)

    def _set_rate(self, step: int, of: int, an_epoch: int) -> None:
        """Linear warm-up, then a cosine to zero."""
        rise = min(1.0, (step + 1) / max(1.0, self.recipe.warmup_epochs * an_epoch))
        fall = (1 + math.cos(math.pi * step / of)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.encoder_learning_rate * rise * fall

    def _out_of_patience(self) -> bool:
        waited = len(self.history) - 1 - int(self.best["epoch"]) if self.best["state"] else 0
        return 0 < self.recipe.patience <= waited

    def _save(self) -> None:
        """Write the checkpoint under its final name only when it is whole."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "history": [asdict(one) for one in self.history],
                "best": self.best,
                "rng": torch.get_rng_state(),
            },
            temporary,
        )
        temporary.replace(self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["identity"] != self.identity:
            raise ConfigurationError(
                f"{self.checkpoint} belongs to another training run (data, recipe or seed differ)",
                remedy="train without --resume, or to another --out",
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = [Round(**one) for one in state["history"]]
        self.best = state["best"]
        torch.set_rng_state(state["rng"])


def reconstruct(
    encoder: AutoencoderEncoder,
    options: TrainOptions,
    recipe: Recipe,
    material: Material,
    work: Path,
    progress: Callable[[str], None],
) -> dict[str, JsonValue]:
    """Teach `encoder`, in place, the images to learn from; returns what the bundle says of it.

    Raises:
        DataError: images that cannot be read.
        ConfigurationError: a checkpoint in `work` that is not this run's.
    """
    encoder.to(device_of(options.device))
    training = Reconstruction(
        encoder,
        load_pixels(material.images, encoder),
        torch.cat([material.learn, material.extra]),
        material.reference,
        recipe,
        seed=options.seed,
        checkpoint=work / CHECKPOINT,
        identity=_identity(options, recipe, material),
    )
    history = training.run(resume=options.resume, progress=lambda one: progress(_describe(one)))
    encoder.to("cpu").eval()
    return {"epochs": len(history), "held_back_error": training.best["error"]}


def _describe(one: Round) -> str:
    return (
        f"reconstruction epoch {one.number} of {one.of} at {one.size} px: squared error {one.error:.5f}, "
        f"on held-back patients {one.held_back_error:.5f}"
    )


def _identity(options: TrainOptions, recipe: Recipe, material: Material) -> str:
    digest = hashlib.sha256(recipe.model_dump_json().encode())
    digest.update(json.dumps([options.seed, options.encoder]).encode())
    for image in material.images:
        digest.update(f"{image.study}/{image.path.name}\n".encode())
    return digest.hexdigest()
