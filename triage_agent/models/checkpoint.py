"""Checkpoints of other people's making: where they are, what they are, and the few tensors of them that we need.

Only safetensors are read: a pickle can run code when it is opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage_agent.domain.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
LOGIT_SCALE = "logit_scale"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors", re.ASCII)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_SHOWN = 5
_TEXT = re.compile(r"(?:.*\.)?text_model\.(.+)")
_TOWER = re.compile(r"(?:.*\.)?(?:vision_tower\.vision_model|vision_tower|vision_model)\.(.+)")
_BARE = re.compile(r"(?:embeddings|encoder|post_layernorm|head)\..+")


def tower_name(name: str) -> str | None:
    """A checkpoint tensor's name inside the vision tower, None where it belongs to something else.

    `[model.]vision_tower.vision_model.x`, `[model.]vision_tower.x`, `vision_model.x` and (a tower saved alone) `x` all
    mean `x`. `position_ids`, which old checkpoints carry, is no weight.
    """
    match = _TOWER.fullmatch(name) or _BARE.fullmatch(name)
    inner = match.group(match.lastindex or 0) if match else None
    return None if inner is None or inner.endswith("position_ids") else inner


def text_name(name: str) -> str | None:
    """A checkpoint tensor's name inside SigLIP's text tower; "logit_scale" stands beside it. None for all else."""
    match = _TEXT.fullmatch(name)
    inner = match.group(1) if match else (name if name == LOGIT_SCALE else None)
    return None if inner is None or inner.endswith("position_ids") else inner


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as `owner/name`, and no folder of that name is here."""
    return _HUB_ID.fullmatch(source) is not None and not source.startswith(".") and not Path(source).exists()


def locate(
    source: str, revision: str | None, wanted: Callable[[str], str | None] | None, others: Sequence[str] = ()
) -> Path:
    """The folder of a checkpoint, downloaded first where `source` is a hub id (only the shards with wanted tensors).

    A local folder is never looked up on the network.

    Args:
        source: a folder or a hub id.
        revision: the hub's commit, branch or tag; None is its main branch.
        wanted: as in `read_tensors`; None where no tensor is.
        others: names or patterns of what else is needed: a tokenizer's files.

    Raises:
        BundleError: there is no such folder, or the hub does not give it to us; the remedy says what to do.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not is_hub_id(source):
        raise BundleError(f"there is no folder {source}", remedy="give a checkpoint's folder or a hub id (owner/name)")
    described = _download(source, revision, [CONFIG_FILE, INDEX_FILE, *others])
    if wanted is None:
        return described
    if (described / INDEX_FILE).is_file():
        shards = sorted({shard for name, shard in _index(described).items() if wanted(name) is not None})
    else:
        shards = [SINGLE_FILE]
    return _download(source, described.name, [CONFIG_FILE, INDEX_FILE, *others, *shards])


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's `config.json`.

    Raises:
        BundleError: it is absent or no JSON object.
    """
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder} has no readable {CONFIG_FILE}", remedy="give a checkpoint's folder") from error
    if not isinstance(content, dict):
        raise BundleError(f"{folder / CONFIG_FILE} is no JSON object", remedy="give a checkpoint's folder")
    return content


def read_tensors(folder: Path, wanted: Callable[[str], str | None]) -> dict[str, Tensor]:
    """The tensors that `wanted` gives a name to, by that name, on the CPU and as stored; no other tensor is read.

    Raises:
        BundleError: there are no safetensors, a shard is missing or broken, or two tensors get the same name.
    """
    tensors: dict[str, Tensor] = {}
    for path in _shards(folder, wanted):
        for name, tensor in read_file(path, wanted).items():
            if name in tensors:
                raise BundleError(f"{folder} has {name} twice", remedy="give an unmixed checkpoint")
            tensors[name] = tensor
    return tensors


def read_file(path: Path, wanted: Callable[[str], str | None] = str) -> dict[str, Tensor]:
    """As `read_tensors`, from one safetensors file; every tensor under its own name where `wanted` is left out."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - brings torch

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = [(name, new) for name in file.keys() if (new := wanted(name)) is not None]  # noqa: SIM118 - no dict
            if len({new for _, new in names}) < len(names):
                raise BundleError(f"{path} has a tensor twice", remedy="give an unmixed checkpoint")
            return {new: file.get_tensor(name) for name, new in names}
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}", remedy="copy or download the file again") from error


def check_names(where: object, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse a state that lacks, exceeds or misshapes what a module expects.

    Raises:
        BundleError: names the first few culprits.
    """
    missing = sorted(set(expected) - set(found))
    foreign = sorted(set(found) - set(expected))
    shapes = [
        f"{name} is {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in sorted(set(found) & set(expected))
        if found[name].shape != expected[name].shape
    ]
    parts = [f"missing {_some(missing)}"] * bool(missing) + [f"not expected {_some(foreign)}"] * bool(foreign)
    parts += [_some(shapes)] * bool(shapes)
    if parts:
        raise BundleError(
            f"the weights in {where} do not fill the encoder: {'; '.join(parts)}",
            remedy="give a complete checkpoint whose config.json is its own",
        )


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of a checkpoint's configuration, index and weights, by file name.

    For models that are used whole: the files of an 8.6 GB one are read once, a second a gigabyte and core, in parallel,
    where `weights_digest` would turn every tensor into float32 first and hash twice as many bytes on one core.

    Raises:
        BundleError: as `read_tensors`.
    """
    # Also what lies beside them and would be loaded instead, or on top: a whole file beside shards, adapters.
    there = {path.name for pattern in ("*.safetensors", "*.index.json", "adapter_*") for path in folder.glob(pattern)}
    names = sorted({CONFIG_FILE, *there, *(path.name for path in _shards(folder, str))})
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        return dict(zip(names, pool.map(file_digest, (folder / name for name in names)), strict=True))


def file_digest(path: Path) -> str:
    """SHA-256 of one file, hex.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}", remedy="copy or download the file again") from error


def _shards(folder: Path, wanted: Callable[[str], str | None]) -> list[Path]:
    if (folder / INDEX_FILE).is_file():
        names = sorted({shard for name, shard in _index(folder).items() if wanted(name) is not None})
        paths = [folder / name for name in names]
    else:
        paths = [folder / SINGLE_FILE]
    absent = [path.name for path in paths if not path.is_file()]
    if absent and any(next(folder.glob(pattern), None) for pattern in _PICKLES):
        raise BundleError(
            f"{folder} holds pickled weights, which can run code when they are opened",
            remedy="save the model again with save_pretrained (safetensors)",
        )
    if absent:
        raise BundleError(f"{folder} lacks {_some(absent)}", remedy="copy or download the whole checkpoint")
    return paths


def _index(folder: Path) -> dict[str, str]:
    try:
        weights = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"]
        plain = all(_SHARD.fullmatch(shard) for shard in weights.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder / INDEX_FILE} is no index of shards", remedy="download it again") from error
    if not plain:
        raise BundleError(f"{folder / INDEX_FILE} names a file outside its folder", remedy="download it again")
    return dict(weights)


def _download(source: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415 - slow, and needed for hub ids only

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError as error:
        raise BundleError(
            f"the weights of {source} are gated",
            remedy=f"accept the terms at https://huggingface.co/{source}, then run `hf auth login` or set HF_TOKEN; "
            "or give a local folder",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise BundleError(
            f"the hub shows us no {source} at revision {revision or 'main'}",
            remedy="check the id and revision; where it is private or gated, run `hf auth login` or set HF_TOKEN; "
            "or give a local folder",
        ) from error
    except Exception as error:  # each HTTP library that the hub's client has used has its own errors
        raise BundleError(
            f"{source} cannot be downloaded ({type(error).__name__}) and is not in the local cache",
            remedy="check the network and HF_HUB_OFFLINE, or give a local folder",
        ) from error


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
