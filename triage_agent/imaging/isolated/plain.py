"""A header and an image's facts as JSON and back: what a decoder process says is data, never code.

Pickle would let a decoder that a hostile file took over run anything in the process that asked it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import MutableSequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag

from triage_agent.domain.quiet import quiet
from triage_agent.imaging.isolated.headers import LARGEST
from triage_agent.imaging.load import Displayable, Facts, Skipped
from triage_agent.imaging.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

_BYTES = "bytes"  # the key under which binary values stand
_BETWEEN = b"\n"  # what is loaded and its header; JSON spells a line's end otherwise


def pack_header(header: Dataset) -> bytes:
    """A header whose every element has been converted (`read_headers`), as JSON."""
    meta = getattr(header, "file_meta", None) or Dataset()
    return json.dumps({"meta": _elements(meta), "header": _elements(header)}).encode()


def unpack_header(packed: bytes) -> Dataset:
    """The header again.

    Raises:
        ValueError: that is not what `pack_header` makes.
    """
    try:
        found = json.loads(packed)
        with quiet():
            header: Dataset = _filled(Dataset(), found["header"])
            header.file_meta = _filled(FileMetaDataset(), found["meta"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a packed header") from error
    return header


def pack_loaded(loaded: Displayable | Skipped) -> bytes:
    """All of what loading gave but the pixels."""
    said: dict[str, object] = {"region": asdict(loaded.region), "laterality": loaded.laterality}
    if isinstance(loaded, Skipped):
        return json.dumps(said | {"reason": loaded.reason}).encode()
    return json.dumps(said | {"facts": asdict(loaded.facts), "shape": loaded.image.shape}).encode()


def with_header(packed: bytes, header: Dataset) -> bytes:
    """What `pack_loaded` made, with the header of the same file after it unless that is large."""
    beside = pack_header(header)
    return packed + _BETWEEN + beside if len(beside) <= LARGEST else packed


def parted(packed: bytes) -> tuple[bytes, bytes]:
    """What `pack_loaded` made, and the packed header that came with it; empty where none did."""
    loaded, _, header = packed.partition(_BETWEEN)
    return loaded, header


def unpack_skipped(packed: bytes) -> Skipped:
    """An instance that is not to be scored.

    Raises:
        ValueError: that is not what `pack_loaded` makes.
    """
    try:
        said = json.loads(packed)
        return Skipped(reason=str(said["reason"]), region=Region(**said["region"]), laterality=said["laterality"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed reason") from error


def shape_of(packed: bytes) -> tuple[int, int]:
    """Height and width of the image that `packed` is about.

    Raises:
        ValueError: that is not what `pack_loaded` makes.
    """
    try:
        height, width = (int(side) for side in json.loads(packed)["shape"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed image") from error
    if min(height, width) < 1:
        raise ValueError("an image without pixels")
    return height, width


def unpack_displayable(packed: bytes, image: NDArray[np.float32]) -> Displayable:
    """What `packed` says of `image`.

    Raises:
        ValueError: that is not what `pack_loaded` makes.
    """
    try:
        said = json.loads(packed)
        facts, region = Facts(**said["facts"]), Region(**said["region"])
        return Displayable(image=image, region=region, laterality=said["laterality"], facts=facts)
    except (KeyError, TypeError) as error:
        raise ValueError("not a packed image") from error


def _elements(dataset: Dataset) -> list[list[Any]]:
    return [[int(element.tag), str(element.VR), _plain(element.value)] for element in dataset]


def _plain(value: Any) -> Any:
    """Text, whole numbers, decimals and lists; sequences become lists of lists of elements."""
    if value is None or type(value) in {str, int, float}:
        return value
    if isinstance(value, Dataset):
        return _elements(value)
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, BaseTag):
        return int(value)
    if isinstance(value, list | tuple | MutableSequence):
        return [_plain(one) for one in value]
    return str(value)  # names, UIDs, and numbers as they were written


def _filled(dataset: Any, elements: Iterable[list[Any]]) -> Any:
    """`dataset` with the elements that pydicom takes; one that it does not is left out, as in `read_headers`."""
    for tag, vr, value in elements:
        try:
            dataset[tag] = DataElement(tag, vr, _restored(vr, value), validation_mode=IGNORE)
        except Exception:  # noqa: BLE001, S112 - pydicom raises anything over a value
            continue
    return dataset


def _restored(vr: str, value: Any) -> Any:
    if vr == "SQ":
        return [_filled(Dataset(), item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value[_BYTES])
    if isinstance(value, list):
        return [_restored(vr, one) for one in value]
    return value
