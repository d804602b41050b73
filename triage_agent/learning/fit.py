"""The training loop: seeded, evaluated after every epoch, and resumable to the same result."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.augment import augment, mix_up
from triage_agent.learning.crops import cut, draw_crops
from triage_agent.learning.metrics import auroc
from triage_agent.learning.network import UNKNOWN, MovingAverage, Network, loss_of
from triage_agent.learning.optimise import parameter_groups
from triage_agent.learning.pace import Pace
from triage_agent.learning.pixels import at_size, input_scale
from triage_agent.learning.ranks import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from triage_agent.learning.crops import Lesions
    from triage_agent.learning.ranks import Ranks
    from triage_agent.learning.recipe import Recipe

SCORING_BATCH = 64
CROPS = 4  # as many crops in a step as whole images, times this: each costs about as much less


class Pass(NamedTuple):
    """What an epoch shows: whole images of a size, or crops of a side cut from images of that size."""

    size: int
    crop: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave: the mean training loss, and the AUROC of the averaged weights on the held-back images.

    The AUROC is that of whole images after an epoch of crops, too.
    """

    number: int
    of: int
    size: int
    crop: int
    loss: float
    held_back_auroc: float


@dataclass(frozen=True, slots=True)
class Samples:
    """What a fit learns from and is judged by.

    Attributes:
        images: uint8 [N, 1, S, S].
        targets: [N, 1 + levels].
        learn: indices of the reference data to learn from, all of them in every epoch.
        extra: indices of other data to learn from, of which each epoch draws the recipe's share.
        judge: indices whose AUROC chooses the epoch that is kept.
        lesions: where lesions are in the images to learn from, as far as the data says.
    """

    images: Tensor
    targets: Tensor
    learn: Tensor
    extra: Tensor
    judge: Tensor
    lesions: Lesions


def passes_of(recipe: Recipe, image_size: int, *, resizable: bool, lesions: bool) -> list[Pass]:
    """What every epoch shows; epochs of crops are left out where no `lesions` are known."""
    if not resizable or not recipe.stages:
        return [Pass(image_size)] * recipe.epochs
    stages = [stage for stage in recipe.stages if lesions or not stage.crop]
    return [Pass(stage.size, stage.crop) for stage in stages for _ in range(stage.epochs)]


class Fitter:
    """Trains a network in place; at the end it holds the averaged weights of the best epoch.

    Args:
        network: on its device already.
        samples: images, targets and who learns.
        recipe: every number.
        passes: what each epoch shows.
        seed: fixes everything that is drawn.
        checkpoint: where to keep the state after each epoch.
        identity: what a checkpoint must have been made from to be resumed.
        ranks: the processes that train together; each must be given the same of everything else.
        clock: seconds that never go back, for the time left.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        recipe: Recipe,
        *,
        passes: list[Pass],
        seed: int,
        checkpoint: Path,
        identity: str,
        ranks: Ranks = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        torch.manual_seed(seed)
        self.network, self.samples, self.recipe, self.passes = network, samples, recipe, passes
        self.checkpoint, self.identity, self.seed = checkpoint, identity, seed
        self.ranks, self.clock = ranks, clock
        self.device = next(network.parameters()).device
        self.scale = input_scale(network.encoder)
        self.optimiser = torch.optim.AdamW(parameter_groups(network, recipe))
        self.peaks = [float(group["lr"]) for group in self.optimiser.param_groups]
        self.average = MovingAverage(network, recipe.average)
        self.extra_an_epoch = min(len(samples.extra), round(recipe.extra_share * len(samples.learn)))
        labels = samples.targets[torch.cat([samples.learn, samples.extra]), 0]
        self.positive_weight = float((1 - labels).sum() / labels.sum().clamp(min=1)) if recipe.balance else 1.0
        self.last = min(len(passes), recipe.stop_after or len(passes))
        self.history: list[Epoch] = []
        self.best: dict[str, Any] = {"auroc": -1.0, "state": {}}
        self._resized: tuple[int, Tensor] = (samples.images.shape[-1], samples.images)

    def run(self, *, resume: bool, progress: Callable[[Epoch, float], None]) -> list[Epoch]:
        """Train until the recipe or patience ends; returns the epochs, those before a resumption included.

        `progress` is told of each epoch, and how many seconds are left at most.

        Raises:
            ConfigurationError: `resume` finds a checkpoint of another data set, recipe, encoder or seed.
        """
        if resume and self.checkpoint.is_file():
            self._restore()
        pace = Pace(self.clock)
        while len(self.history) < self.last and not self._out_of_patience():
            number = len(self.history)
            loss = self._one_epoch(number)
            with self.average.applied(self.network):
                logits = self.logits(self.samples.judge, self.passes[number].size)
                area = auroc(self.samples.targets[self.samples.judge, 0].double().numpy(), logits.double().numpy())
                self._keep_if_best(area, number)
            self.history.append(Epoch(number + 1, len(self.passes), *self.passes[number], loss, area))
            self._save()
            pace.did(self._cost(number))
            progress(self.history[-1], pace.left(sum(map(self._cost, range(number + 1, self.last)))))
        self.network.load_learning_state(self.best["state"])
        return self.history

    @torch.inference_mode()
    def logits(self, indices: Tensor, size: int) -> Tensor:
        """The network's label logits of some images at an input size: float32 [n], on the CPU."""
        self.network.eval()
        images = self._at(size)
        parts = [torch.zeros(0)]
        mine = indices[self.ranks.share(len(indices))]
        for batch in torch.split(mine, SCORING_BATCH) if len(mine) else ():
            pixels = (images[batch].float() / 255 - self.scale.mean) / self.scale.std
            parts.append(self._forward(pixels)[:, 0].cpu())
        return self.ranks.gathered(torch.cat(parts))

    def _one_epoch(self, number: int) -> float:
        """Train for an epoch; returns the mean loss."""
        shown, first, of = self._phase(number)
        if number == first and number > 0:  # on with whole images, from the best that the crops gave
            self.network.load_learning_state(self.average.state)
            self.average = MovingAverage(self.network, self.recipe.average)
        self.network.train()
        steps = self._crops(shown) if shown.crop else self._whole(shown)
        count, total = self._steps(shown), 0.0
        for step, (pixels, targets) in enumerate(steps):
            self._set_rates((number - first) * count + step, of * count, count)
            with self.ranks.own_draws(self.seed, number, step):
                total += self._one_step(pixels, targets)
        return total / count

    def _phase(self, number: int) -> tuple[Pass, int, int]:
        """What an epoch shows, the first epoch of its phase (crops, or whole images), and how many that has."""
        shown = self.passes[number]
        alike = [place for place, one in enumerate(self.passes) if bool(one.crop) is bool(shown.crop)]
        return shown, alike[0], len(alike)

    def _cost(self, number: int) -> float:
        """About how much an epoch takes beside others: the pixels that go through the network."""
        shown = self.passes[number]
        return self._steps(shown) * (CROPS * shown.crop**2 if shown.crop else shown.size**2)

    def _steps(self, shown: Pass) -> int:
        images = len(self.samples.lesions) if shown.crop else len(self.samples.learn) + self.extra_an_epoch
        return max(1, images // self.recipe.batch_size)

    def _crops(self, shown: Pass) -> Iterator[tuple[Tensor, Tensor]]:
        images, levels = self._at(shown.size), self.samples.targets.shape[1] - 1
        for _ in range(self._steps(shown)):
            count = CROPS * self.recipe.batch_size
            indices, centres, labels = draw_crops(self.samples.lesions, count, shown.crop / shown.size)
            pixels = cut(
                images[indices], centres, shown.crop, self.recipe.augmentation, self.scale.mean, self.scale.std
            )
            yield pixels, torch.cat([labels[:, None], torch.full((count, levels), UNKNOWN)], dim=1)

    def _whole(self, shown: Pass) -> Iterator[tuple[Tensor, Tensor]]:
        recipe, images, extra = self.recipe, self._at(shown.size), self.samples.extra
        drawn = extra[torch.randperm(len(extra))[: self.extra_an_epoch]]
        order = torch.cat([self.samples.learn, drawn])
        order = order[torch.randperm(len(order))]
        for batch in torch.split(order[: self._steps(shown) * recipe.batch_size], recipe.batch_size):
            pixels = augment(images[batch], recipe.augmentation, self.scale.mean, self.scale.std)
            yield mix_up(pixels, self.samples.targets[batch], recipe.augmentation.mix)

    def _one_step(self, pixels: Tensor, targets: Tensor) -> float:
        """Learn from a batch, of which this process computes its share; returns the loss of all of it."""
        recipe, mine = self.recipe, self.ranks.share(len(pixels))
        weight = (mine.stop - mine.start) / len(pixels)
        mine = mine if weight else slice(0, 1)  # whoever has no share still takes part, and counts nothing
        loss = weight * loss_of(
            self._forward(pixels[mine]),
            targets[mine].to(self.device),
            smoothing=recipe.label_smoothing,
            grade_weight=recipe.grade_weight,
            positive_weight=self.positive_weight,
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        whole = loss.detach().clone()
        self.ranks.add_up([whole, *self._gradients(), *self._statistics()])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimiser.step()
        self.average.update(self.network)
        return float(whole)

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]

    def _statistics(self) -> list[Tensor]:
        """The running statistics of tuned modules, each as this process's share of their mean."""
        if self.ranks.size == 1:
            return []
        buffers = [one for module in self.network.tuned for one in module.buffers() if one.is_floating_point()]
        for buffer in buffers:
            buffer.div_(self.ranks.size)
        return buffers

    def _forward(self, pixels: Tensor) -> Tensor:
        batch = pixels.expand(-1, self.scale.channels, -1, -1).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            logits: Tensor = self.network(batch)
        return logits.float()

    def _set_rates(self, step: int, of: int, an_epoch: int) -> None:
        """Linear warm-up, then a cosine to zero at the last step of the phase."""
        rise = min(1.0, (step + 1) / max(1.0, self.recipe.warmup_epochs * an_epoch))
        fall = (1 + math.cos(math.pi * step / of)) / 2
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rise * fall

    def _at(self, size: int) -> Tensor:
        if self._resized[0] != size:
            self._resized = (size, at_size(self.samples.images, size))
        return self._resized[1]

    def _keep_if_best(self, area: float, number: int) -> None:
        """Only epochs that show what the last one does count: it is how the bundle scores."""
        if self.passes[number] == self.passes[self.last - 1] and (math.isnan(area) or area > self.best["auroc"]):
            state = {name: tensor.clone() for name, tensor in self.network.learning_state().items()}
            self.best = {"auroc": -1.0 if math.isnan(area) else area, "state": state, "epoch": number}

    def _out_of_patience(self) -> bool:
        waited = len(self.history) - 1 - int(self.best.get("epoch", len(self.history)))
        return 0 < self.recipe.patience <= waited

    def _save(self) -> None:
        """Write the checkpoint under its final name only when it is whole."""
        if self.ranks.first:
            self._write()
        self.ranks.wait()

    def _write(self) -> None:
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        temporary = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "identity": self.identity,
                "network": self.network.learning_state(),
                "average": self.average.state,
                "average_steps": self.average.steps,
                "optimiser": self.optimiser.state_dict(),
                "history": [asdict(epoch) for epoch in self.history],
                "best": self.best,
                "rng": torch.get_rng_state(),
                "cuda_rng": cuda,
            },
            temporary,
        )
        temporary.replace(self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["identity"] != self.identity:
            raise ConfigurationError(
                f"{self.checkpoint} belongs to another training run (data, recipe, encoder or seed differ)",
                remedy="train without --resume, or to another --out",
            )
        self.network.load_learning_state(state["network"])
        self.average.state = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.average.steps = state["average_steps"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best = state["best"]
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state(state["cuda_rng"][0], self.device)
