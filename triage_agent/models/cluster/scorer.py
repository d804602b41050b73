"""A bundle that is scored by the replicas of a Ray cluster. Imports neither torch nor Ray."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import structlog

from triage_agent.domain.errors import ImagesFailedError, MissingPackageError, ModelUnavailableError
from triage_agent.domain.urgency import urgency
from triage_agent.models.bundle import load_bundle
from triage_agent.models.cluster.answer import Outcome
from triage_agent.models.cluster.link import Asked, Link
from triage_agent.models.cluster.wire import Standing, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.domain.study import ImageScore
    from triage_agent.models.cluster.plan import Model, Plan

log = structlog.get_logger(__name__)

_OF_THE_IMAGE = frozenset({Outcome.SCORED, Outcome.FAILED})
_YIELDS = -1  # below every priority: who yields is scored when nobody else waits
_GRACE_SECONDS = 5.0  # at a stop, for what is being scored


class RemoteScoringError(ImagesFailedError):
    """Replicas' models failed on some of the images, and score others."""


class ClusterScorer:
    """Scores display images with a bundle that replicas have; implements `domain.ports.ImageScorer`.

    The images of a call are one question, cut up by how busy the replicas are (`asking.groups`), where those of
    several agents go through the model together. The urgency is that of `domain.urgency` when it is asked.
    """

    part = "ray"

    def __init__(self, identity: ModelIdentity, model: Model, link: Link, *, yields: bool = False) -> None:
        """`yields`: after everybody else's images."""
        self._identity = identity
        self._model = model
        self._link = link
        self._yields = yields

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""
        return self._identity

    def score(self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()) -> list[ImageScore]:
        """What the bundle says of each image; arguments as `scorer.Scorer.score`.

        Raises:
            RemoteScoringError: the model failed on some of them; it has the scores of the others.
            ModelUnavailableError: the cluster is away, or gave no scores in time.
        """
        stated = list(anatomies) or [None] * len(images)
        rank = _YIELDS if self._yields else urgency()
        pixels = [np.ascontiguousarray(image, dtype=np.float32) for image in images]
        answers = self._link.ask(Asked(self._model, pixels, stated, rank))
        for answer in answers:  # what says nothing of any image: then no image is taken for the reason
            if answer.outcome not in _OF_THE_IMAGE:
                remedy = "see `triage-agent check`; the work is tried again"
                raise ModelUnavailableError(f"Ray: {answer.says}", remedy=remedy)
        failed = [answer.says for answer in answers if answer.outcome is Outcome.FAILED]
        if failed:
            log.error("replica_failed", error=failed[0], images=len(failed))
            results = [answer.score or answer.says for answer in answers]
            raise RemoteScoringError(f"the model failed in the cluster ({failed[0]})", results)
        return [answer.score for answer in answers if answer.score is not None]

    def standing(self) -> Standing:
        """How the cluster stands, as far as was heard."""
        return self._link.standing()

    def require(self) -> None:
        """For `/readyz`; asks nobody.

        Raises:
            ModelUnavailableError: no replica is there that could score.
        """
        if (standing := self.standing()).state is not State.READY:
            raise ModelUnavailableError(f"Ray: {standing.says}", remedy="see `triage-agent check`")

    def stop(self) -> None:
        """Have what is being scored end soon, one way or the other; returns at once."""
        self._link.stop(_GRACE_SECONDS)

    def close(self) -> None:
        """Take leave of the cluster; other scorers of the same plan have lost it, too."""
        _LINKS.forget(self._link)
        self._link.close()


@dataclass(frozen=True, slots=True)
class _Links:
    """The links of this process, one a plan: bundles of one agent share the process that speaks with Ray."""

    known: dict[Plan, Link]
    lock: threading.Lock

    def of(self, plan: Plan, model: Model) -> Link:
        with self.lock:
            if plan not in self.known:
                self.known[plan] = Link(plan, model)
            return self.known[plan]

    def forget(self, link: Link) -> None:
        with self.lock:
            for plan in [plan for plan, one in self.known.items() if one is link]:
                del self.known[plan]


_LINKS = _Links({}, threading.Lock())


def cluster_scorer(plan: Plan, model: Model, error_rate: float | None = None, *, yields: bool = False) -> ClusterScorer:
    """The scorer of a bundle, whose digest is filled in here; begins to join the cluster, and does not wait for it.

    Raises:
        MissingPackageError: Ray is not installed.
        BundleError: there is no such bundle here, or it is damaged.
        ConfigurationError: it has no such error rate.
    """
    if find_spec("ray") is None:
        raise MissingPackageError("ray", extra="ray")
    bundle = load_bundle(model.ref)
    known = replace(model, digest=bundle.digest, batch=plan.batch)
    link = _LINKS.of(plan, known)
    link.start()
    return ClusterScorer(bundle.identity_at(error_rate), known, link, yields=yields)
