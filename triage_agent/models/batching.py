"""Images that several threads want scored, gathered into batches: the most urgent first, and none waits for long."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

import torch

from triage_agent.domain.errors import ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from triage_agent.models.engine import Device, Found, Started

_IN_WORKS = 2  # batches: one that is computed, and the next, which is copied meanwhile


@dataclass(order=True, slots=True)
class Waiting:
    """An image that waits; sorts by urgency, then by arrival."""

    order: tuple[int, int]
    image: Tensor = field(compare=False)
    since: float = field(compare=False)
    found: Future[Found] = field(compare=False, default_factory=Future)


class Gathering:
    """The queue, without any thread: what is to be worked on next, and when. Times are seconds of one clock."""

    def __init__(self, batch: int, latency: float) -> None:
        """A batch has `batch` images; an idle device waits for them until one has waited for `latency`."""
        self._batch = batch
        self._latency = latency
        self._waiting: list[Waiting] = []
        self._arrivals = itertools.count()

    def add(self, image: Tensor, rank: int, now: float) -> Waiting:
        """Let an image wait; the higher the rank, the earlier its turn."""
        one = Waiting((-rank, next(self._arrivals)), image, now)
        heapq.heappush(self._waiting, one)
        return one

    def due_in(self, now: float, *, idle: bool) -> float | None:
        """Seconds until a batch is due, 0 where it is; None where time alone makes none due.

        Where the device is not idle only a full batch is: another would not end sooner, and might be fuller.
        """
        if len(self._waiting) >= self._batch:
            return 0.0
        if not self._waiting or not idle:
            return None
        return max(0.0, min(one.since for one in self._waiting) + self._latency - now)

    def take(self) -> list[Waiting]:
        """The next batch, the most urgent first."""
        return [heapq.heappop(self._waiting) for _ in range(min(self._batch, len(self._waiting)))]

    def clear(self) -> list[Waiting]:
        """All that wait, who do so no longer."""
        left, self._waiting = self._waiting, []
        return left


class Batcher:
    """Puts what several threads ask for through a device, in batches over all of them.

    One thread starts batches and one waits for them, so that the next is on its way while one is computed. What waits
    is bounded by who asks: each thread waits for its own answer.
    """

    def __init__(
        self, device: Device, *, batch: int, latency: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`latency`: seconds that an image may wait for others on an idle device."""
        self._device = device
        self._clock = clock
        self._gathering = Gathering(batch, latency)
        self._changed = threading.Condition()
        self._in_works = 0
        self._closed = False
        self._started: SimpleQueue[tuple[Started, list[Waiting]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=target, name=f"model-{name}", daemon=True)
            for name, target in (("starts", self._start_batches), ("ends", self._end_batches))
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, images: Sequence[Tensor], rank: int = 0) -> Found:
        """Logits [N] and embeddings [N, D] of images [C, S, S] each, one at least; waits for them.

        Raises:
            RuntimeError: the device failed on a batch with one of them.
            ModelUnavailableError: closed meanwhile.
        """
        with self._changed:
            if self._closed:
                raise _closed()
            waiting = [self._gathering.add(image, rank, self._clock()) for image in images]
            self._changed.notify_all()
        parts = [one.found.result() for one in waiting]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def close(self) -> None:
        """Begin no other batch; whoever waits for one is told."""
        with self._changed:
            self._closed = True
            left = self._gathering.clear()
            self._changed.notify_all()
        for one in left:
            one.found.set_exception(_closed())
        for thread in self._threads:
            thread.join()

    def _start_batches(self) -> None:
        while taken := self._next():
            try:
                started = self._device.start([one.image for one in taken])
            except Exception as error:  # noqa: BLE001 - whoever asked is told, and the next batch is tried
                self._fail(taken, error)
            else:
                self._started.put((started, taken))
        self._started.put(None)

    def _next(self) -> list[Waiting]:
        """The next batch once one is due; none at the end."""
        with self._changed:
            while not self._closed:
                wait = None
                if self._in_works < _IN_WORKS:
                    wait = self._gathering.due_in(self._clock(), idle=not self._in_works)
                if wait == 0:
                    self._in_works += 1
                    return self._gathering.take()
                self._changed.wait(wait)
        return []

    def _end_batches(self) -> None:
        while (one := self._started.get()) is not None:
            started, taken = one
            try:
                logits, embeddings = started.wait()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(taken, error)
                continue
            self._done()
            for place, waiting in enumerate(taken):
                waiting.found.set_result((logits[place : place + 1], embeddings[place : place + 1]))

    def _fail(self, taken: Sequence[Waiting], error: Exception) -> None:
        self._done()
        for one in taken:
            one.found.set_exception(error)

    def _done(self) -> None:
        with self._changed:
            self._in_works -= 1
            self._changed.notify_all()


def _closed() -> ModelUnavailableError:
    return ModelUnavailableError("the agent is stopping")
