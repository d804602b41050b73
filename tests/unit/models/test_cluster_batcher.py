"""The queue of a replica: who goes first, how batches are filled, and what waits how long."""

import asyncio

import pytest

from triage_agent.models.cluster.batcher import Batcher, FullError

SOON = 20.0  # seconds; everything here takes milliseconds


class Work:
    """Takes down its batches; the first one goes on until it is told to end."""

    def __init__(self):
        self.batches = []
        self.go = asyncio.Event()

    async def __call__(self, group, items):
        self.batches.append((group, list(items)))
        await self.go.wait()
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


def run(story):
    async def within():
        async with asyncio.timeout(SOON):
            await story()

    asyncio.run(within())


def asked(batcher, *items, **how):
    return [asyncio.ensure_future(batcher.ask(item, **{"group": "one", **how})) for item in items]


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for is inside the unit under test
        await asyncio.sleep(0)


def test_what_waits_goes_through_together_as_soon_as_a_batch_is_full():
    async def story():
        work = Work()
        work.go.set()
        batcher = Batcher(work, batch=2, latency_seconds=SOON, room=10)
        assert await asyncio.gather(*asked(batcher, "a", "b", "c", "d")) == ["A", "B", "C", "D"]
        assert work.batches == [("one", ["a", "b"]), ("one", ["c", "d"])]

    run(story)


def test_a_batch_that_nobody_fills_goes_when_its_oldest_has_waited_for_the_budget():
    async def story():
        work = Work()
        work.go.set()
        batcher = Batcher(work, batch=8, latency_seconds=0.01, room=10)
        assert await asyncio.gather(*asked(batcher, "a", "b")) == ["A", "B"]
        assert work.batches == [("one", ["a", "b"])]

    run(story)


def test_stat_overtakes_what_came_before_it():
    async def story():
        work = Work()
        batcher = Batcher(work, batch=2, latency_seconds=0.0, room=10)
        first = asked(batcher, "a")
        await until(lambda: work.batches)
        rest = [
            *asked(batcher, "shadow", rank=-1),
            *asked(batcher, "routine-1", "routine-2", rank=0),
            *asked(batcher, "stat", rank=2),
            *asked(batcher, "urgent", rank=1),
        ]
        await until(lambda: len(batcher._waiting) == 5)
        work.go.set()
        await asyncio.gather(*first, *rest)
        assert [items for _, items in work.batches] == [
            ["a"],
            ["stat", "urgent"],
            ["routine-1", "routine-2"],
            ["shadow"],
        ]

    run(story)


def test_a_batch_is_of_one_bundle_and_that_of_the_most_urgent():
    async def story():
        work = Work()
        work.go.set()
        batcher = Batcher(work, batch=3, latency_seconds=0.001, room=10)
        await asyncio.gather(*asked(batcher, "a"), *asked(batcher, "x", group="two", rank=1), *asked(batcher, "b"))
        assert work.batches == [("two", ["x"]), ("one", ["a", "b"])]

    run(story)


def test_what_is_asked_for_alone_is_with_nobody():
    async def story():
        work = Work()
        work.go.set()
        batcher = Batcher(work, batch=3, latency_seconds=0.001, room=10)
        await asyncio.gather(*asked(batcher, "a"), *asked(batcher, "poison", alone=True), *asked(batcher, "b"))
        assert sorted(items for _, items in work.batches) == [["a", "b"], ["poison"]]

    run(story)


def test_who_no_longer_waits_is_not_worked_for():
    async def story():
        work = Work()
        batcher = Batcher(work, batch=1, latency_seconds=0.0, room=10)
        first, gone, last = asked(batcher, "a", "gone", "last")
        await until(lambda: work.batches)
        gone.cancel()
        work.go.set()
        assert [await first, await last] == ["A", "LAST"]
        assert [items for _, items in work.batches] == [["a"], ["last"]]

    run(story)


def test_there_is_room_for_so_many():
    async def story():
        work = Work()
        batcher = Batcher(work, batch=1, latency_seconds=0.0, room=2)
        waiting = asked(batcher, "a", "b", "c")
        await until(lambda: work.batches)
        with pytest.raises(FullError):
            await waiting[2]
        work.go.set()
        assert await asyncio.gather(*waiting[:2]) == ["A", "B"]

    run(story)


def test_a_batch_that_fails_fails_for_all_of_it_and_the_next_one_goes_on():
    async def story():
        work = Work()
        work.go.set()
        batcher = Batcher(work, batch=2, latency_seconds=0.001, room=10)
        results = await asyncio.gather(*asked(batcher, "a", "bad", "c"), return_exceptions=True)
        assert [type(one).__name__ for one in results[:2]] == ["ValueError", "ValueError"]
        assert results[2] == "C"
        assert await batcher.ask("d", group="one") == "D"

    run(story)


def test_its_load_is_what_waits_and_what_is_worked_on_but_not_who_no_longer_waits():
    async def story():
        work = Work()
        batcher = Batcher(work, batch=2, latency_seconds=0.0, room=10)
        assert batcher.load == 0
        waiting = asked(batcher, "a", "b", "c", "d", "gone")
        await until(lambda: work.batches)
        assert batcher.load == 5
        waiting[-1].cancel()
        await asyncio.sleep(0)
        assert batcher.load == 4
        work.go.set()
        await asyncio.gather(*waiting[:4])
        assert batcher.load == 0

    run(story)


def test_where_there_is_no_room_whoever_is_least_urgent_is_refused():
    async def story():
        work = Work()
        batcher = Batcher(work, batch=1, latency_seconds=0.0, room=2)
        waiting = asked(batcher, "a", "routine", "later")
        await until(lambda: work.batches)
        (stat,) = asked(batcher, "stat", rank=2)
        (shadow,) = asked(batcher, "shadow", rank=-1)
        for refused in (waiting[2], shadow):
            with pytest.raises(FullError):
                await refused
        (other,) = asked(batcher, "other", rank=2)
        with pytest.raises(FullError):
            await waiting[1]
        work.go.set()
        assert await asyncio.gather(waiting[0], stat, other) == ["A", "STAT", "OTHER"]

    run(story)
