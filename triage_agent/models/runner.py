"""Where a bundle runs: in this process, in one of its own, or in the replicas of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from triage_agent.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from triage_agent.domain.ports import ImageScorer
    from triage_agent.models.cluster.plan import Plan


LANES = 4
"""Questions that a process of its own takes at once, where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how a bundle runs: arguments of `scorer.Scorer`, and whether it `yields` a shared device to others.

    `apart`: in a process of its own, for the runner "local", which takes so many questions at once as it has `lanes`.
    `plan` is of the cluster, for the runner "ray".
    """

    device: str = "auto"
    threads: int | None = None
    batch: int = 8
    encoder_source: str | None = None
    error_rate: float | None = None
    outlier_limit: float = 1.0
    compiled: bool = False
    latency: float = 0.02
    precision: Literal["auto", "float32"] = "auto"
    yields: bool = False
    apart: bool = False
    lanes: int = LANES
    plan: Plan | None = None


def _local(ref: str, placement: Placement) -> ImageScorer:
    if placement.apart:
        from triage_agent.models.apart.scorer import ApartScorer  # noqa: PLC0415 - it knows this module

        return ApartScorer(ref, replace(placement, apart=False))
    from triage_agent.models.scorer import load_scorer  # noqa: PLC0415 - brings torch
    from triage_agent.models.sharing import SharedScorer  # noqa: PLC0415 - brings torch

    scorer = load_scorer(
        ref,
        placement.device,
        placement.threads,
        placement.batch,
        placement.encoder_source,
        placement.error_rate,
        outlier_limit=placement.outlier_limit,
        compiled=placement.compiled,
        latency=placement.latency,
        precision=placement.precision,
    )
    return SharedScorer(scorer, scorer.device, yields=placement.yields)


def _ray(ref: str, placement: Placement) -> ImageScorer:
    from triage_agent.models.cluster.plan import Model, Plan  # noqa: PLC0415 - as the next line, for this runner alone
    from triage_agent.models.cluster.scorer import cluster_scorer  # noqa: PLC0415

    plan = placement.plan or Plan()
    # Without a share of a GPU a replica must not use one that others have reserved.
    device = placement.device if plan.gpus or placement.device != "auto" else "cpu"
    model = Model(
        ref=ref,
        digest="",
        device=device,
        threads=placement.threads,
        encoder_source=placement.encoder_source,
        outlier_limit=placement.outlier_limit,
        compiled=placement.compiled,
        precision=placement.precision,
    )
    return cluster_scorer(plan, model, placement.error_rate, yields=placement.yields)


REGISTRY: Mapping[str, Callable[[str, Placement], ImageScorer]] = MappingProxyType({"local": _local, "ray": _ray})


def start(runner: str, ref: str, placement: Placement) -> ImageScorer:
    """A scorer for the bundle `ref`, as `[model] runner` chose.

    Raises:
        ConfigurationError: there is no such runner.
        BundleError: the bundle cannot be loaded.
    """
    if runner not in REGISTRY:
        raise ConfigurationError(f"no runner {runner!r}", remedy=f"set [model] runner to one of {', '.join(REGISTRY)}")
    return REGISTRY[runner](ref, placement)
