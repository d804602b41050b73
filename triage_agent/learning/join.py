"""Joining trained compact bundles: their towers side by side, each with the share that held-back patients give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from triage_agent.domain.errors import BundleError
from triage_agent.learning.evaluate import few_threads, in_windows
from triage_agent.learning.finish import Trained
from triage_agent.models.bundle import Bundle, load_bundle
from triage_agent.models.checkpoint import read_file
from triage_agent.models.compact import CompactEncoder, joined
from triage_agent.models.registry import build_encoder, tuned_spec
from triage_agent.models.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from triage_agent.learning.options import Material, TrainOptions

WEIGHT, BIAS = "layers.0.weight", "layers.0.bias"
_STEPS = 200


def join(options: TrainOptions, material: Material, progress: Callable[[str], None]) -> Trained:
    """One network whose logit is a weighted sum of the logits of the bundles in `options.join`.

    Nothing of them is trained further. The weights are fitted on the held-back images of every data set, which each
    bundle must have held back too: the same data sets, share and seed.

    Raises:
        BundleError: a bundle is not a compact one with a linear head.
    """
    bundles = [_compact(load_bundle(folder)) for folder in options.join]
    columns = []
    for bundle in bundles:
        progress(f"scoring {len(material.reference)} held-back images by {bundle.spec.name}")
        columns.append(torch.tensor(_logits(bundle, options, material), dtype=torch.float64))
    labels = torch.tensor([float(material.images[index].label) for index in material.reference.tolist()])
    homes = [material.images[index].patient.rpartition("/")[0] for index in material.reference.tolist()]
    shares = fit_shares(torch.stack(columns, dim=1), labels.double(), homes)
    for bundle, share in zip(bundles, shares, strict=True):
        progress(f"share of {bundle.spec.name}: {share:.3f}")
    return _side_by_side(bundles, shares)


def fit_shares(logits: Tensor, labels: Tensor, homes: Sequence[str]) -> list[float]:
    """Non-negative weights of the members that fit the labels best by logistic regression (stacking, Wolpert 1992).

    Args:
        logits: [N, members].
        labels: [N] of 0 and 1.
        homes: the data set of each; every data set counts alike, however many images it has.
    """
    counts = {home: homes.count(home) for home in set(homes)}
    weights = torch.tensor([1 / counts[home] for home in homes], dtype=logits.dtype)
    raw = torch.zeros(logits.shape[1], dtype=logits.dtype, requires_grad=True)
    bias = torch.zeros(len(counts), dtype=logits.dtype, requires_grad=True)
    place = torch.tensor([sorted(counts).index(home) for home in homes])
    optimiser = torch.optim.LBFGS([raw, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        values = logits @ functional.softplus(raw) + bias[place]
        total = (functional.binary_cross_entropy_with_logits(values, labels, reduction="none") * weights).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return [float(share) for share in functional.softplus(raw.detach())]


def _compact(bundle: Bundle) -> Bundle:
    if bundle.spec.encoder.kind != CompactEncoder.kind or bundle.spec.head.kind != "linear":
        raise BundleError(f"{bundle.folder} cannot be joined", remedy="join compact bundles with a linear head")
    return bundle


def _logits(bundle: Bundle, options: TrainOptions, material: Material) -> list[float]:
    scorer = Scorer(bundle, options.device)
    held = [material.images[index] for index in material.reference.tolist()]
    with few_threads(bundle.spec.encoder.kind):
        return in_windows(held, lambda displays: scorer.logits(displays).tolist(), lambda _done, _of: None)


def _side_by_side(bundles: Sequence[Bundle], shares: Sequence[float]) -> Trained:
    members = [cast("CompactEncoder", build_encoder(one.spec.encoder, one.folder)) for one in bundles]
    heads = [read_file(one.head_path) for one in bundles]
    encoder = joined(members).eval()
    state = {
        WEIGHT: torch.cat([head[WEIGHT] * share for head, share in zip(heads, shares, strict=True)], dim=1),
        BIAS: torch.stack([head[BIAS] * share for head, share in zip(heads, shares, strict=True)]).sum(0),
    }
    first = bundles[0].spec
    head_spec = first.head.model_copy(update={"input_dim": encoder.embedding_dim})
    return Trained(encoder, tuned_spec(encoder, first.encoder), head_spec, state)
