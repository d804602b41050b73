"""Joining trained compact bundles: their towers side by side, each with the share that held-back patients give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from triage_agent.domain.errors import BundleError
from triage_agent.learning.evaluate import few_threads, in_windows
from triage_agent.learning.finish import Trained
from triage_agent.learning.mura import DataError
from triage_agent.learning.pixels import read_window, windows
from triage_agent.learning.reference import fit_regions, sample
from triage_agent.models.bundle import Bundle, HeadSpec, load_bundle
from triage_agent.models.checkpoint import read_file
from triage_agent.models.compact import CompactEncoder, joined
from triage_agent.models.registry import build_encoder, tuned_spec
from triage_agent.models.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.options import Material, TrainOptions

WEIGHT, BIAS = "layers.0.weight", "layers.0.bias"
_STEPS = 200
_ALIKE = 0.05  # of the squared deviation from equal weights, beside the mean loss of a data set
_BATCH = 8
_LEAST_SCALE = 1e-6


def join(options: TrainOptions, material: Material, progress: Callable[[str], None]) -> Trained:
    """One network whose logit is a weighted sum of the logits of those bundles of `options.join` that know the region.

    Nothing of them is trained further. The weights are fitted on the held-back images of every data set, which each
    bundle must have held back too: the same data sets, share and seed. Where not every bundle was trained on every
    region, each region gets a line of its own, and a gate tells the regions apart.

    Raises:
        BundleError: a bundle is not a compact one with a linear head.
        DataError: there are images of a region that no bundle knows.
    """
    bundles = [_compact(load_bundle(folder)) for folder in options.join]
    held = [material.images[index] for index in material.reference.tolist()]
    columns = []
    for bundle in bundles:
        progress(f"scoring {len(held)} held-back images by {bundle.spec.name}")
        columns.append(torch.tensor(_logits(bundle, options, held), dtype=torch.float64))
    shares = _shares_by_region(bundles, held, torch.stack(columns, dim=1))
    for region, own in shares.items():
        told = ", ".join(f"{bundle.spec.name} {share:.3f}" for bundle, share in zip(bundles, own, strict=True))
        progress(f"shares for {region}: {told}")
    return _side_by_side(bundles, shares, options, material)


def _shares_by_region(
    bundles: Sequence[Bundle], held: Sequence[LabeledImage], logits: Tensor
) -> dict[str, list[float]]:
    """Each bundle's share in each region's logit; regions that the same bundles know have the same shares."""
    regions = sorted({image.anatomy for image in held})
    knowing = {
        region: tuple(place for place, bundle in enumerate(bundles) if region in bundle.spec.anatomies)
        for region in regions
    }
    if unknown := [region for region, members in knowing.items() if not members]:
        raise DataError(f"no bundle knows {', '.join(unknown)}", remedy="join one that was trained on it")
    shares: dict[str, list[float]] = {}
    for members in sorted(set(knowing.values())):
        rows = [place for place, image in enumerate(held) if knowing[image.anatomy] == members]
        labels = torch.tensor([float(held[row].label) for row in rows], dtype=torch.float64)
        homes = [held[row].patient.rpartition("/")[0] for row in rows]
        fitted = dict(zip(members, fit_shares(logits[rows][:, list(members)], labels, homes), strict=True))
        own = [fitted.get(place, 0.0) for place in range(len(bundles))]
        shares |= {region: own for region in regions if knowing[region] == members}
    return shares


def fit_shares(logits: Tensor, labels: Tensor, homes: Sequence[str]) -> list[float]:
    """Non-negative weights of the members by logistic regression (stacking, Wolpert 1992), pulled towards equal ones.

    A few hundred held-back images do not say which of several good members is best; fitted freely, the weights follow
    their noise, and what is left out is missed on new images. So members count alike, in units of the spread of
    their logits, unless the images say clearly that one is worse.

    Args:
        logits: [N, members].
        labels: [N] of 0 and 1.
        homes: the data set of each; every data set counts alike, however many images it has.
    """
    spread = logits.std(0).clamp(min=_LEAST_SCALE)
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
        counted = functional.softplus(raw) * spread
        total = total + _ALIKE * (counted - counted.mean()).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return [float(share) for share in functional.softplus(raw.detach())]


def _compact(bundle: Bundle) -> Bundle:
    if bundle.spec.encoder.kind != CompactEncoder.kind or bundle.spec.head.kind != "linear":
        raise BundleError(f"{bundle.folder} cannot be joined", remedy="join compact bundles with a linear head")
    return bundle


def _logits(bundle: Bundle, options: TrainOptions, held: Sequence[LabeledImage]) -> list[float]:
    scorer = Scorer(bundle, options.device)
    with few_threads(bundle.spec.encoder.kind):
        return in_windows(held, lambda displays: scorer.logits(displays).tolist(), lambda _done, _of: None)


def _side_by_side(
    bundles: Sequence[Bundle], shares: Mapping[str, Sequence[float]], options: TrainOptions, material: Material
) -> Trained:
    members = [cast("CompactEncoder", build_encoder(one.spec.encoder, one.folder)) for one in bundles]
    heads = [read_file(one.head_path) for one in bundles]
    encoder = joined(members).eval()
    lines = {region: _line(heads, own) for region, own in shares.items()}
    first = bundles[0].spec
    if len({tuple(own) for own in shares.values()}) == 1:
        weight, bias = next(iter(lines.values()))
        state = {WEIGHT: weight, BIAS: bias}
        head_spec = first.head.model_copy(update={"input_dim": encoder.embedding_dim})
    else:
        state = _gate(encoder, options, material) | {
            "experts.weight": torch.cat([lines[region][0] for region in sorted(lines)]),
            "experts.bias": torch.cat([lines[region][1] for region in sorted(lines)]),
        }
        head_spec = HeadSpec(kind="mixture", input_dim=encoder.embedding_dim, regions=tuple(sorted(lines)))
    return Trained(encoder, tuned_spec(encoder, first.encoder), head_spec, state)


def _line(heads: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The weight [1, D] and bias [1] of the weighted sum of linear heads on embeddings side by side."""
    weighted = list(zip(heads, shares, strict=True))
    weight = torch.cat([head[WEIGHT] * share for head, share in weighted], dim=1)
    return weight, torch.stack([head[BIAS] * share for head, share in weighted]).sum(0)


def _gate(encoder: CompactEncoder, options: TrainOptions, material: Material) -> dict[str, Tensor]:
    """The gate of a mixture, fitted on training images: which region an embedding is of."""
    learnt = torch.cat([material.learn, material.extra])
    chosen = [material.images[index] for index in sample(material.images, learnt, options.seed)]
    parts = []
    with few_threads(CompactEncoder.kind), torch.inference_mode():
        for _, window in windows(chosen):
            pixels = torch.stack(read_window(window, encoder.preprocess))
            parts += [encoder(batch) for batch in torch.split(pixels, _BATCH)]
    embeddings = torch.cat(parts).double()
    scale = embeddings.std(0).clamp(min=_LEAST_SCALE)
    line = fit_regions(embeddings / scale, [image.anatomy for image in chosen])
    return {"gate.weight": (line["weight"] / scale).float(), "gate.bias": line["bias"].float()}
