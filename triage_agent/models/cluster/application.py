"""The Ray Serve application: `Replica` as a deployment of several bundles, with a health check and its numbers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from triage_agent.domain.errors import TriageError
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.plan import Model, Plan, deployment_name
from triage_agent.models.cluster.replica import Picture, Replica, load_model
from triage_agent.models.cluster.scaling import IMAGES, by_images, share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.domain.ports import ImageScorer

_BUNDLES = 3  # in one replica: the one that decides, its shadow, and a new one while workers change over
_HEALTH_SECONDS = 5.0
_HEALTH_PATIENCE_SECONDS = 30.0  # a replica that does not answer for so long is replaced
_STOP_SECONDS = 20.0  # for what a replica has in hand when it is to end
_MORE_AFTER_SECONDS = 5.0  # of more load than the replicas take
_LESS_AFTER_SECONDS = 300.0
_REQUESTS = 256  # in one replica at once: they wait there, by urgency, and not on the way, by arrival


class Scoring:
    """A replica."""

    def __init__(self, load: Callable[[Model], ImageScorer] = load_model) -> None:
        """`load` gives the scorer of a bundle."""
        self._load = load
        self._replica = Replica(batch=1, latency_seconds=0.0)
        self._described: dict[str, Model] = {}  # what drivers asked for: a handful, by those who may run anything here

        async def scorer_of(key: str) -> ImageScorer:
            model = self._described[key]
            return await self._replica.on_device(lambda: self._load(model))

        self._scorer_of = serve.multiplexed(max_num_models_per_replica=_BUNDLES)(scorer_of)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Batch so, and load the bundle that decides before the first image comes.

        Raises:
            BundleError: it cannot be loaded; the replica does not start.
        """
        self._replica.change(batch=config["batch"], latency_seconds=config["latency_seconds"])
        model = Model(**config["model"])
        self._described[model.key] = model
        await self._scorer_of(model.key)

    async def score(self, images: Sequence[NDArray[np.float32]], asked: dict[str, Any]) -> tuple[int, list[list[Any]]]:
        """How many others' images wait or are scored here, and an `Answer`, plain, about each of these, [H, W].

        `asked`: model, anatomies, rank, alone.
        """
        model = Model(**asked["model"])
        self._described[model.key] = model
        try:
            scorer = await self._scorer_of(model.key)
        except TriageError as error:
            return 0, [Answer(outcome=Outcome.UNUSABLE, says=error.message).plain()] * len(images)
        pictures = [Picture(image, stated, scorer) for image, stated in zip(images, asked["anatomies"], strict=True)]
        how = {"key": model.key, "rank": asked["rank"], "alone": asked["alone"]}
        answers = await asyncio.gather(*(self._replica.score(picture, **how) for picture in pictures))
        return self._replica.load, [answer.plain() for answer in answers]

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Ray Serve from time to time, where it is to say how many replicas there are."""
        return {IMAGES: self._replica.load}

    def check_health(self) -> None:
        """Asked by Ray Serve from time to time.

        Raises:
            RuntimeError: the device scores nothing; a new replica, and with it a new process, may.
        """
        if self._replica.sick:
            raise RuntimeError(f"the model scores nothing ({self._replica.sick})")


def application(plan: Plan, model: Model, load: Callable[[Model], ImageScorer] = load_model) -> serve.Application:
    """What `serve.run` takes: the deployment that a plan describes, with `model` loaded from the start."""
    scale: dict[str, Any] = {"num_replicas": plan.replicas}
    if plan.max_replicas > plan.replicas:
        scale = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=plan.replicas,
                max_replicas=plan.max_replicas,
                policy=AutoscalingPolicy(policy_function=by_images),
                target_ongoing_requests=share(plan.batch),  # images, to that policy
                upscale_delay_s=_MORE_AFTER_SECONDS,
                downscale_delay_s=_LESS_AFTER_SECONDS,
            )
        }
    deployment = serve.deployment(
        name=deployment_name(plan, model),
        ray_actor_options={"num_cpus": plan.cpus, "num_gpus": plan.gpus},
        max_ongoing_requests=_REQUESTS,
        user_config={
            "batch": plan.batch,
            "latency_seconds": plan.latency_seconds,
            "model": asdict(model),
        },
        health_check_period_s=_HEALTH_SECONDS,
        health_check_timeout_s=_HEALTH_PATIENCE_SECONDS,
        graceful_shutdown_timeout_s=_STOP_SECONDS,
        **scale,
    )(Scoring)
    return deployment.bind(load)
