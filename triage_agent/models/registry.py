"""Every kind of encoder, and how to get one from a bundle or from a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import is_hub_id, locate, read_config, read_file, tower_name
from triage_agent.models.spec import ENCODER_FILE, IN_BUNDLE, BaseWeights, EncoderSpec

if TYPE_CHECKING:
    from triage_agent.models.encoder import Encoder

_HAI_DEF = "Health AI Developer Foundations terms of use"
_HAI_DEF_NOTICE = (
    "HAI-DEF is provided under and subject to the Health AI Developer Foundations Terms of Use found at "
    "https://developers.google.com/health-ai-developer-foundations/terms"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderKind:
    """One row of the registry.

    Attributes:
        load: imports and returns the class, so that listing kinds needs no torch.
        learns_from: where its weights come from: somebody's "checkpoint", or fresh ones that our training fills, with
            the head from "labels", or before the head by "reconstruction" of the images.
        licence: terms that a bundle made with it inherits; empty where they are ours to choose or the checkpoint's own.
        notice: what those terms ask to be said.
    """

    load: Callable[[], type[Encoder]]
    learns_from: Literal["checkpoint", "labels", "reconstruction"] = "checkpoint"
    licence: str = ""
    notice: str = ""


def _medgemma() -> type[Encoder]:
    from triage_agent.models.medgemma import MedGemmaEncoder  # noqa: PLC0415

    return MedGemmaEncoder


def _medsiglip() -> type[Encoder]:
    from triage_agent.models.medsiglip import MedSiglipEncoder  # noqa: PLC0415

    return MedSiglipEncoder


def _siglip() -> type[Encoder]:
    from triage_agent.models.siglip import SiglipEncoder  # noqa: PLC0415

    return SiglipEncoder


def _compact() -> type[Encoder]:
    from triage_agent.models.compact import CompactEncoder  # noqa: PLC0415

    return CompactEncoder


def _densenet() -> type[Encoder]:
    from triage_agent.models.densenet import DenseNetEncoder  # noqa: PLC0415

    return DenseNetEncoder


def _autoencoder() -> type[Encoder]:
    from triage_agent.models.autoencoder import AutoencoderEncoder  # noqa: PLC0415

    return AutoencoderEncoder


REGISTRY: Mapping[str, EncoderKind] = MappingProxyType(
    {
        "medgemma": EncoderKind(load=_medgemma, licence=_HAI_DEF, notice=_HAI_DEF_NOTICE),
        "medsiglip": EncoderKind(load=_medsiglip, licence=_HAI_DEF, notice=_HAI_DEF_NOTICE),
        "siglip": EncoderKind(load=_siglip),
        "compact": EncoderKind(load=_compact, learns_from="labels"),
        "densenet": EncoderKind(load=_densenet, learns_from="labels"),
        "autoencoder": EncoderKind(load=_autoencoder, learns_from="reconstruction"),
    }
)


def build_encoder(spec: EncoderSpec, folder: Path | None = None, source: str | None = None) -> Encoder:
    """The encoder that a bundle describes, on the CPU in float32, its weights checked against the recorded digest.

    Args:
        spec: the bundle's `encoder`.
        folder: the bundle's folder, for weights that are in it.
        source: where this site keeps the base weights, instead of where training found them; the digest still decides.

    Raises:
        BundleError: the kind is unknown, or the weights are not there, do not fit, or are not the recorded ones.
    """
    kind = _kind(spec.kind)
    where = source or spec.source
    if spec.source == IN_BUNDLE:
        if folder is None:
            raise BundleError("the encoder's weights are in its bundle", remedy="give the bundle's folder")
        path = folder / ENCODER_FILE
        encoder = kind.load().restore(spec.config, read_file(path), path)
    else:
        if is_hub_id(where) and not spec.revision:
            raise BundleError(f"no revision is pinned for {where}", remedy="record the hub's commit")
        encoder = kind.load().from_checkpoint(locate(where, spec.revision, tower_name), spec.pooling, _grid_of(spec))
    if encoder.image_size != spec.image_size:
        raise BundleError(
            f"the encoder takes {encoder.image_size} pixels, the bundle says {spec.image_size}",
            remedy="give the checkpoint that the bundle was trained on",
        )
    if spec.digest is not None and (found := encoder.digest()) != spec.digest:
        raise BundleError(
            f"the encoder weights at {where} have digest {found[:12]}, the bundle was trained on {spec.digest[:12]}",
            remedy="give the checkpoint that the bundle was trained on, or train again",
        )
    return encoder


def starts_fresh(source: str) -> bool:
    """Whether `source` is a kind whose weights our training fills.

    A folder of that name is `./densenet`: what a first run left under `--out densenet` must not change what a second
    one starts from.
    """
    return source in REGISTRY and REGISTRY[source].learns_from != "checkpoint"


def encoder_from_source(
    source: str, pooling: str | None = None, grid: int | None = None
) -> tuple[Encoder, EncoderSpec]:
    """What `train --encoder` names, and its description.

    Args:
        source: "compact", "densenet" or "autoencoder" (fresh weights), a checkpoint's folder, or a hub id, `owner/name`
            or `owner/name@revision`; the description pins the commit that was found.
        pooling: of a checkpoint's tokens, see `siglip`; what suits it if None.
        grid: tokens a side where the pooling is "grid".

    Raises:
        BundleError: there is no such thing, or it is no architecture that we know.
    """
    if starts_fresh(source):
        encoder = REGISTRY[source].load()({})
        return encoder, _describe(encoder, IN_BUNDLE, None)
    name, folder = _checkpoint(source)
    hub = is_hub_id(name)
    encoder = REGISTRY[detect_kind(folder, name)].load().from_checkpoint(folder, pooling, grid)
    spec = _describe(encoder, name if hub else str(folder), folder.name if hub else None)
    return encoder, spec.model_copy(update={"digest": encoder.digest()})


def kind_of_source(source: str) -> str:
    """The registry key for what `train --encoder` names, without reading weights; arguments and errors as above."""
    if starts_fresh(source):
        return source
    name, folder = _checkpoint(source)
    return detect_kind(folder, name)


def _checkpoint(source: str) -> tuple[str, Path]:
    """A checkpoint's name without its revision, and its folder on this machine."""
    if source in REGISTRY and not Path(source).is_dir():
        raise BundleError(f"{source} needs weights", remedy="give their folder or hub id, google/medsiglip-448")
    name, _, revision = (source, "", "") if Path(source).is_dir() else source.partition("@")
    return name, locate(name, revision or None, tower_name)


def tuned_spec(encoder: Encoder, base: EncoderSpec) -> EncoderSpec:
    """The description of an encoder whose weights training has changed, so that the bundle stores them itself."""
    described = _describe(encoder, IN_BUNDLE, None)
    started = None
    if base.source != IN_BUNDLE:
        started = BaseWeights(source=base.source, revision=base.revision, digest=base.digest)
    return described.model_copy(update={"digest": encoder.digest(), "base": started or base.base})


def detect_kind(folder: Path, source: str = "") -> str:
    """The registry key for a checkpoint's folder, by its `config.json`; `source` tells MedSigLIP from other SigLIPs.

    Raises:
        BundleError: it is no architecture that we know.
    """
    architecture = read_config(folder).get("model_type")
    if architecture == "gemma3":
        return "medgemma"
    if architecture in {"siglip", "siglip_vision_model"}:
        return "medsiglip" if "medsiglip" in Path(source or folder).name.lower() else "siglip"
    raise BundleError(f"{folder} is a {architecture} model", remedy="give a MedGemma (gemma3) or SigLIP checkpoint")


def _kind(name: str) -> EncoderKind:
    if name not in REGISTRY:
        raise BundleError(f"there is no encoder kind {name!r}", remedy=f"use one of {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]


def _grid_of(spec: EncoderSpec) -> int | None:
    grid = spec.config.get("grid")
    return grid if isinstance(grid, int) else None


def _describe(encoder: Encoder, source: str, revision: str | None) -> EncoderSpec:
    return EncoderSpec(
        kind=encoder.kind,
        source=source,
        revision=revision,
        config=encoder.config,
        image_size=encoder.image_size,
        pooling=encoder.config.get("pooling", "mean"),
    )
