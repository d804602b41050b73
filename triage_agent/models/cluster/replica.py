"""What a replica does, without Ray: one queue for all bundles, one thread on the device, one batch after the other."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import structlog

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.models.cluster.answer import Answer, Outcome, scored
from triage_agent.models.cluster.batcher import Batcher, FullError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.models.cluster.plan import Model

log = structlog.get_logger(__name__)

Loaded = TypeVar("Loaded")

ROOM = 1024  # images that may wait in one replica; more are asked for again

# What every model scores: a replica that fails on it, too, is of no more use.
_TEST_IMAGE = np.linspace(0.0, 1.0, 224 * 224, dtype=np.float32).reshape(224, 224)


@dataclass(frozen=True, slots=True)
class Picture:
    """A display image, what its header says of the region, and who is to score it."""

    image: NDArray[np.float32]
    anatomy: str | None
    scorer: ImageScorer


def load_model(model: Model) -> ImageScorer:
    """The scorer of a bundle, on the device that this process sees.

    Raises:
        BundleError: it cannot be loaded, or is another one than was asked for.
    """
    from triage_agent.domain.errors import BundleError  # noqa: PLC0415 - as the next ones, which bring torch
    from triage_agent.models.bundle import load_bundle  # noqa: PLC0415
    from triage_agent.models.scorer import load_scorer  # noqa: PLC0415
    from triage_agent.models.sharing import SharedScorer  # noqa: PLC0415

    bundle = load_bundle(model.ref)
    if bundle.digest != model.digest:
        raise BundleError(
            f"the bundle at {model.ref} has the digest {bundle.digest[:12]}, asked for was {model.digest[:12]}",
            remedy="put the same bundle on every machine of the cluster",
        )
    scorer = load_scorer(
        bundle,
        model.device,
        model.threads,
        model.batch,
        model.encoder_source,
        outlier_limit=model.outlier_limit,
        compiled=model.compiled,
        latency=0.0,  # the replica has waited for others already
        precision=model.precision,
    )
    return SharedScorer(scorer, scorer.device, yields=False)


class Replica:
    """Scores for whoever asks; see `Batcher` for who goes first."""

    def __init__(self, *, batch: int, latency_seconds: float) -> None:
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._batcher = Batcher[Picture, Answer](
            self._score_batch, batch=batch, latency_seconds=latency_seconds, room=ROOM
        )
        self.sick = ""

    @property
    def load(self) -> int:
        """Images that wait here or are on the device."""
        return self._batcher.load

    def change(self, *, batch: int, latency_seconds: float) -> None:
        """Batch otherwise from now on."""
        self._batcher.change(batch=batch, latency_seconds=latency_seconds)

    async def on_device(self, task: Callable[[], Loaded]) -> Loaded:
        """Do something that is slow, such as loading, when the device is free."""
        return await asyncio.get_running_loop().run_in_executor(self._device, task)

    async def score(self, picture: Picture, *, key: str, rank: int = 0, alone: bool = False) -> Answer:
        """What its scorer, which is that of the bundle `key`, says of one image."""
        try:
            return await self._batcher.ask(picture, group=key, rank=rank, alone=alone)
        except FullError:
            return Answer(outcome=Outcome.BUSY)

    async def _score_batch(self, _key: Hashable, pictures: Sequence[Picture]) -> list[Answer]:
        return await self.on_device(lambda: self._score(pictures[0].scorer, pictures))

    def _score(self, scorer: ImageScorer, pictures: Sequence[Picture]) -> list[Answer]:
        """All together; where that fails one by one, so that each has an answer of its own."""
        try:
            found = scorer.score([one.image for one in pictures], [one.anatomy for one in pictures])
            return [scored(score) for _, score in zip(pictures, found, strict=True)]
        except ModelUnavailableError as error:
            return [Answer(outcome=Outcome.FULL, says=error.message)] * len(pictures)
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is told by its name
            if len(pictures) > 1:
                return [answer for one in pictures for answer in self._score(scorer, [one])]
            return [self._blame(scorer, type(error).__name__)]

    def _blame(self, scorer: ImageScorer, name: str) -> Answer:
        """Whose fault it is that an image was not scored: its own, if the built-in one is."""
        try:
            scorer.score([_TEST_IMAGE])
        except Exception as error:  # noqa: BLE001 - whatever a broken device raises
            self.sick = type(error).__name__
            log.error("replica_scores_nothing", error=self.sick)  # noqa: TRY400 - Ray ends it; the name says enough
            return Answer(outcome=Outcome.SICK, says=self.sick)
        return Answer(outcome=Outcome.FAILED, says=name)
