"""The queue of a replica: the most urgent first, several at once, none for longer than it must."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class FullError(Exception):
    """There is no room for more."""


@dataclass(order=True, slots=True)
class _Waiting(Generic[Item, Result]):
    """One that waits; sorts by urgency, then by arrival."""

    order: tuple[int, int]
    item: Item = field(compare=False)
    group: Hashable = field(compare=False)
    alone: bool = field(compare=False)
    since: float = field(compare=False)
    future: asyncio.Future[Result] = field(compare=False)


class Batcher(Generic[Item, Result]):
    """Gathers what is asked for one by one into batches of one group each, on one event loop.

    A batch begins with the most urgent that waits, is filled with the next of its group, and is worked on when it is
    full, or its oldest has waited for the latency budget. While one is worked on all others wait, and may be overtaken.
    """

    def __init__(
        self,
        work: Callable[[Hashable, Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        batch: int,
        latency_seconds: float,
        room: int,
    ) -> None:
        """`work` gives one result for each item of a group, in order. `room` is how many may wait."""
        self._work = work
        self._batch = batch
        self._latency = latency_seconds
        self._room = room
        self._waiting: list[_Waiting[Item, Result]] = []
        self._in_hand = 0
        self._arrivals = itertools.count()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        """How many wait for a result, with those that are worked on."""
        return self._in_hand + sum(not one.future.done() for one in self._waiting)

    def change(self, *, batch: int, latency_seconds: float) -> None:
        """Batch otherwise from now on."""
        self._batch, self._latency = batch, latency_seconds

    async def ask(self, item: Item, *, group: Hashable, rank: int = 0, alone: bool = False) -> Result:
        """The result for one item; higher ranks go first. `alone`: in a batch of its own.

        Raises:
            FullError: as many wait as may, and none that is less urgent: that one would be refused in its place.
            Exception: whatever the work on its batch raised.
        """
        if len(self._waiting) >= self._room:
            self._refuse_less_than(rank)
        loop = asyncio.get_running_loop()
        one = _Waiting[Item, Result](
            (-rank, next(self._arrivals)), item, group, alone, loop.time(), loop.create_future()
        )
        heapq.heappush(self._waiting, one)
        self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run())
        return await one.future

    def _refuse_less_than(self, rank: int) -> None:
        """Make room for one more by whoever is least urgent, and came last of those.

        Raises:
            FullError: that is who asks.
        """
        last = max(self._waiting)
        if last.order[0] <= -rank:
            raise FullError
        self._waiting.remove(last)
        heapq.heapify(self._waiting)
        if not last.future.done():
            last.future.set_exception(FullError())

    async def _run(self) -> None:
        """Work until nothing waits; the next question begins it again."""
        while self._waiting:
            await self._fill()
            chosen = self._take()
            if chosen:
                await self._do(chosen)

    async def _fill(self) -> None:
        """Wait for company, as long as the budget of who has waited longest allows."""
        while not self._is_full():
            left = min(one.since for one in self._waiting) + self._latency - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _is_full(self) -> bool:
        first = self._waiting[0]
        return first.alone or sum(one.group == first.group for one in self._waiting) >= self._batch

    def _take(self) -> list[_Waiting[Item, Result]]:
        """The next batch, out of the queue; who no longer waits for an answer is left out."""
        chosen: list[_Waiting[Item, Result]] = []
        rest: list[_Waiting[Item, Result]] = []
        for one in sorted(self._waiting):
            if one.future.done():
                continue
            fits = not chosen or not (one.alone or chosen[0].alone or one.group != chosen[0].group)
            (chosen if fits and len(chosen) < self._batch else rest).append(one)
        self._waiting = rest  # sorted, and so a heap
        return chosen

    async def _do(self, chosen: Sequence[_Waiting[Item, Result]]) -> None:
        self._in_hand = len(chosen)
        try:
            results = await self._work(chosen[0].group, [one.item for one in chosen])
            pairs = list(zip(chosen, results, strict=True))
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for one in chosen:
                if not one.future.done():
                    one.future.set_exception(error)
            return
        finally:
            self._in_hand = 0
        for one, result in pairs:
            if not one.future.done():
                one.future.set_result(result)
