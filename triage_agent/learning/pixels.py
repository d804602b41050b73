"""Training images as one block of bytes, so that the loader is never what training waits for."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.nn import functional

from triage_agent.learning.mura import DataError, LabeledImage, read_display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.models.encoder import Encoder

Made = TypeVar("Made")

RAM_LIMIT = 4 << 30  # above so many bytes the block is a memory-mapped temporary file
SHOWN = 5
WORKERS = min(8, os.cpu_count() or 1)
WINDOW = 256  # images in memory at once


@dataclass(frozen=True, slots=True)
class InputScale:
    """An encoder's normalisation: (display - mean) / std, the same in each of its `channels`."""

    mean: float
    std: float
    channels: int


def input_scale(encoder: Encoder) -> InputScale:
    """Learn an encoder's normalisation by showing it a black and a white image.

    Raises:
        ValueError: its channels are not normalised alike.
    """
    side = encoder.image_size
    black = encoder.preprocess(np.zeros((side, side), dtype=np.float32))
    white = encoder.preprocess(np.ones((side, side), dtype=np.float32))
    low, high = float(black.mean()), float(white.mean())
    if float(black.std()) > 1e-4 or float(white.std()) > 1e-4:  # noqa: PLR2004 - float noise of a constant image
        raise ValueError(f"{encoder.kind} does not normalise its channels alike")
    return InputScale(mean=-low / (high - low), std=1 / (high - low), channels=black.shape[0])


def read_window(images: Sequence[LabeledImage], make: Callable[[NDArray[np.float32]], Made]) -> list[Made]:
    """What `make` makes of each display image, in order, read by a few threads; all results are in memory at once.

    Raises:
        DataError: naming the images that could not be read.
    """

    def one(image: LabeledImage) -> Made | DataError:
        try:
            return make(read_display(image.path))
        except DataError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(one, images))
    failures = [result.message for result in results if isinstance(result, DataError)]
    if failures:
        more = f" and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
        raise DataError("; ".join(failures[:SHOWN]) + more, remedy="replace or unlist them")
    return [result for result in results if not isinstance(result, DataError)]


def windows(images: Sequence[LabeledImage]) -> Iterator[tuple[int, Sequence[LabeledImage]]]:
    """The images in runs of `WINDOW`, each with its start."""
    for start in range(0, len(images), WINDOW):
        yield start, images[start : start + WINDOW]


def load_pixels(images: Sequence[LabeledImage], encoder: Encoder) -> Tensor:
    """Every image, padded and resized as the encoder does it: uint8 [N, 1, S, S].

    Raises:
        DataError: images that cannot be read.
    """
    scale = input_scale(encoder)
    side = encoder.image_size
    block = _block((len(images), 1, side, side))
    for start, window in windows(images):
        displays = torch.stack([tensor[:1] for tensor in read_window(window, encoder.preprocess)])
        grey = (displays * scale.std + scale.mean).mul(255).round().clamp(0, 255)
        block[start : start + len(window)] = grey.to(torch.uint8)
    return block


def _block(shape: tuple[int, ...]) -> Tensor:
    if int(np.prod(shape)) <= RAM_LIMIT:
        return torch.zeros(shape, dtype=torch.uint8)
    with TemporaryFile(dir=os.environ.get("TMPDIR")) as file:
        return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="w+", shape=shape))


def at_size(block: Tensor, size: int) -> Tensor:
    """The same images at another size, anti-aliased: uint8 [N, 1, size, size]."""
    if block.shape[-1] == size:
        return block
    return torch.cat([_resized(part, size) for part in torch.split(block, WINDOW)])


def _resized(images: Tensor, size: int) -> Tensor:
    smooth = functional.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return smooth.round().clamp(0, 255).to(torch.uint8)
