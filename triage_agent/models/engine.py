"""What puts images through a model: one by one on a CPU, batch after batch on a GPU, the next on its way meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
import torch
from torch import Tensor

log = structlog.get_logger(__name__)

Found = tuple[Tensor, Tensor]
"""Logits [N] and embeddings [N, D], float64 on the CPU."""

Model = Callable[[Tensor], Found]
"""Maps [B, C, S, S] to logits [B] and embeddings [B, D], on its device and in its types."""

_SLOTS = 2  # batches on their way to the device or on it
_WARM_UP = 3  # runs before a graph is captured: libraries choose their kernels in the first ones


class Started(Protocol):
    """A batch in the works."""

    def wait(self) -> Found:
        """What came of it.

        Raises:
            RuntimeError: the device failed.
        """


class Device(Protocol):
    """Takes batches of up to so many images, and works on one after the other."""

    def start(self, images: Sequence[Tensor]) -> Started:
        """Begin with a batch of [C, S, S] each; returns before it is done. For one thread at a time."""


def one_by_one(model: Model, images: Sequence[Tensor]) -> Found:
    """Each image by itself: on a CPU nothing is gained by batches, and kernels for other shapes round otherwise."""
    with torch.inference_mode():
        parts = [_first(model(image[None]), 1) for image in images]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


class CudaDevice:
    """A GPU that works on batches of one shape, so that an image gets the same numbers whatever is beside it.

    Images are gathered in pinned memory and copied on a stream of their own while the batch before is computed. The
    model's kernels are started as one CUDA graph, since each of hundreds of starts would wait for Python, which reads
    answers of decoders at the same time; where the model cannot be captured they are started one by one.
    """

    def __init__(self, model: Model, device: torch.device, batch: int, example: Tensor) -> None:
        """`example` is an image as the encoder's `preprocess` makes them; channels that are one memory travel once.

        Raises:
            RuntimeError: the device failed, or its memory is too small for that.
        """
        self._model = model
        self._device = device
        self._channels = len(example)
        self._is_grey = self._channels > 1 and example.stride(0) == 0
        shape = (batch, *self._thin(example).shape)
        with torch.cuda.device(device), torch.inference_mode():
            self._copies, self._computes = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call] # as below
            self._slots = deque(_Slot(shape, example.dtype, device) for _ in range(_SLOTS))
            self._input = torch.zeros(shape, dtype=example.dtype, device=device)
            self._output, self._graph = self._prepared()

    @property
    def is_captured(self) -> bool:
        """Whether the kernels are started as one graph."""
        return self._graph is not None

    def start(self, images: Sequence[Tensor]) -> Started:
        """See `Device.start`. Places that are left over keep earlier images, and nobody is told what comes of them."""
        slot, count = self._slots[0], len(images)
        self._slots.rotate(-1)
        slot.done.synchronize()  # the batch before the last: its memory is free
        with torch.cuda.device(self._device), torch.inference_mode():
            for place, image in enumerate(images):
                slot.pinned[place].copy_(self._thin(image))
            with torch.cuda.stream(self._copies):
                slot.near[:count].copy_(slot.pinned[:count], non_blocking=True)
                slot.copied.record(self._copies)
            with torch.cuda.stream(self._computes):
                slot.copied.wait(self._computes)
                self._input[:count].copy_(slot.near[:count])
                logits, embeddings = self._run()
                found = logits.to("cpu", non_blocking=True), embeddings.to("cpu", non_blocking=True)
                slot.done.record(self._computes)
        return _Running(slot.done, found, count)

    def _thin(self, image: Tensor) -> Tensor:
        return image[:1] if self._is_grey else image

    def _run(self) -> Found:
        if self._graph is None:
            return self._forward()
        self._graph.replay()
        return self._output

    def _forward(self) -> Found:
        return self._model(self._input.expand(-1, self._channels, -1, -1))

    def _prepared(self) -> tuple[Found, torch.cuda.CUDAGraph | None]:
        """The first, slow runs; then the graph, and where it leaves its output."""
        torch.cuda.synchronize(self._device)  # weights have been copied on another stream
        with torch.cuda.stream(self._computes):
            for _ in range(_WARM_UP):
                output = self._forward()
        self._computes.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._computes, capture_error_mode="thread_local"):
                output = self._forward()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            log.warning("model_not_captured", error=type(error).__name__)
            torch.cuda.synchronize(self._device)
            return output, None
        return output, graph


class _Slot:
    """Where one batch lies on both sides, and what tells that it has got there and that it is done with."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.pinned = torch.empty(shape, dtype=dtype, pin_memory=True)
        self.near = torch.empty(shape, dtype=dtype, device=device)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch has no type for it
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call] # blocking: who waits leaves the core


@dataclass(frozen=True, slots=True)
class _Running:
    done: torch.cuda.Event
    found: Found
    count: int

    def wait(self) -> Found:
        self.done.synchronize()
        return _first(self.found, self.count)


def _first(found: Found, count: int) -> Found:
    """The first `count` of a batch, as those who ask get them."""
    return found[0][:count].to("cpu", torch.float64), found[1][:count].to("cpu", torch.float64)
