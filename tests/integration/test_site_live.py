"""A page that is open hears of what changes; many pages of one view cost one look."""

import asyncio
import json

import pytest

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.web.site.live import Live


class Looks:
    def __init__(self):
        self.state = {"order": ["a"], "rows": {"a": "1"}}
        self.count = 0
        self.away = False

    def __call__(self):
        self.count += 1
        if self.away:
            raise WorklistUnavailableError("away", remedy="wait")
        return self.state


async def next_event(events):
    while True:
        said = await asyncio.wait_for(anext(events), 10)
        if said.startswith("event"):
            name, data = said.strip().split("\n")
            return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def run(story):
    asyncio.run(asyncio.wait_for(story, 60))


def test_a_browser_gets_the_whole_then_what_changed():
    async def story():
        looks, live = Looks(), Live(every=0.01)
        events = live.events("view", looks)
        assert await next_event(events) == ("list", looks.state)
        looks.state = {"order": ["b", "a"], "rows": {"a": "1", "b": "2"}}
        assert await next_event(events) == ("list", {"order": ["b", "a"], "rows": {"b": "2"}})
        await events.aclose()

    run(story())


def test_many_browsers_of_one_view_cost_one_look_a_time():
    async def story():
        looks, live = Looks(), Live(every=0.05)
        many = [live.events("view", looks) for _ in range(50)]
        for one in many:
            assert (await next_event(one))[1] == looks.state
        before = looks.count
        await asyncio.sleep(0.5)
        assert looks.count - before <= 12
        assert live.browsers == 50
        for one in many:
            await one.aclose()

    run(story())


def test_nobody_is_watched_for_when_all_have_gone():
    async def story():
        looks, live = Looks(), Live(every=0.01)
        events = live.events("view", looks)
        await next_event(events)
        await events.aclose()
        await asyncio.sleep(0.2)
        seen = looks.count
        await asyncio.sleep(0.2)
        assert looks.count == seen
        again = live.events("view", looks)
        assert (await next_event(again))[1] == looks.state
        await again.aclose()

    run(story())


def test_a_database_that_is_away_is_told_and_comes_back():
    async def story():
        looks, live = Looks(), Live(every=0.01)
        events = live.events("view", looks)
        await next_event(events)
        looks.away = True
        assert (await next_event(events))[0] == "away"
        looks.away, looks.state = False, {"order": [], "rows": {}}
        while (told := await next_event(events))[0] == "away":
            pass
        assert told == ("list", looks.state)
        await events.aclose()

    run(story())


def test_a_browser_that_does_not_listen_is_let_go():
    async def story():
        looks, live = Looks(), Live(every=0.005)
        deaf = live.events("view", looks)
        await next_event(deaf)
        for number in range(200):
            looks.state = {"order": [str(number)], "rows": {str(number): ""}}
            await asyncio.sleep(0.01)
            if not live.browsers:
                break
        assert live.browsers == 0
        await deaf.aclose()

    run(story())


def test_there_is_room_for_so_many_views_and_no_more():
    async def story():
        live = Live(every=0.01)
        open_ones = [live.events(number, Looks()) for number in range(100)]
        for one in open_ones:
            await next_event(one)
        live.require_room(0)
        with pytest.raises(Exception, match="Too many") as refused:
            live.require_room(100)
        assert refused.value.status_code == 503
        for one in open_ones:
            await one.aclose()

    run(story())
