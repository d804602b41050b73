"""Pages that change by themselves: one look a second for each view, however many browsers show it.

Each browser gets what changed as server-sent events; what a reader sees is never older than the moment of the look.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, field

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from triage_agent.domain.errors import WorklistUnavailableError

_EVERY_SECONDS = 1.0
_LASTS_SECONDS = 300.0  # then the browser comes again, and the gate looks whether its session goes on
_BEAT_SECONDS = 15.0  # a comment, so that proxies and browsers see that we are there
_MOST_BROWSERS = 500
_MOST_VIEWS = 100

State = Mapping[str, object]
"""What a view shows: `order` (identifiers), `rows` (identifier: HTML), and whatever else the page has."""


@dataclass(eq=False)
class _Watched:
    """A view that somebody looks at."""

    look: Callable[[], State]
    state: State | None = None
    browsers: set["asyncio.Queue[str]"] = field(default_factory=set)
    task: "asyncio.Task[None] | None" = None


class Live:
    """Watches views while anybody looks at them."""

    def __init__(self, every: float = _EVERY_SECONDS) -> None:
        self._every = every
        self._watched: dict[Hashable, _Watched] = {}

    @property
    def browsers(self) -> int:
        """How many look."""
        return sum(len(one.browsers) for one in self._watched.values())

    def require_room(self, view: Hashable) -> None:
        """Refuse more than the agent can serve.

        Raises:
            HTTPException: 503; browsers come back by themselves.
        """
        if self.browsers >= _MOST_BROWSERS or (view not in self._watched and len(self._watched) >= _MOST_VIEWS):
            raise HTTPException(503, "Too many pages are open.", {"Retry-After": "60"})

    async def events(
        self, view: Hashable, look: Callable[[], State], goes_on: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[str]:
        """The view as it is, then what changes, until the browser goes, or its session, which is asked at each beat."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=10)
        watched = self._watched.setdefault(view, _Watched(look))
        watched.browsers.add(queue)
        try:
            if watched.state is not None:
                queue.put_nowait(_event("list", watched.state))
            if watched.task is None:
                watched.task = asyncio.create_task(self._watch(view, watched))
            yield "retry: 3000\n\n"
            clock = asyncio.get_running_loop().time
            until, beat = clock() + _LASTS_SECONDS, clock() + _BEAT_SECONDS
            while queue in watched.browsers and clock() < until:
                try:
                    yield await asyncio.wait_for(queue.get(), max(0, beat - clock()))
                except TimeoutError:
                    beat = clock() + _BEAT_SECONDS
                    if not await run_in_threadpool(goes_on):
                        yield "event: over\ndata: {}\n\n"
                        return
                    yield ": beat\n\n"
        finally:
            watched.browsers.discard(queue)

    async def _watch(self, view: Hashable, watched: _Watched) -> None:
        """Look, tell what changed, and end when nobody is left."""
        try:
            while watched.browsers:
                try:
                    state = await run_in_threadpool(watched.look)
                except WorklistUnavailableError:
                    self._tell(watched, "event: away\ndata: {}\n\n")
                else:
                    if (changes := _changes(watched.state, state)) is not None:
                        self._tell(watched, _event("list", changes))
                    watched.state = state
                await asyncio.sleep(self._every)
        finally:
            watched.browsers.clear()  # whoever came between the last look and now connects again
            if self._watched.get(view) is watched:
                del self._watched[view]

    @staticmethod
    def _tell(watched: _Watched, event: str) -> None:
        """A browser that does not take what it is told is let go: it comes back, and gets the whole."""
        for queue in list(watched.browsers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                watched.browsers.discard(queue)


def _changes(before: State | None, after: State) -> State | None:
    """What a browser that shows `before` needs for `after`; None for nothing."""
    if before is None:
        return after
    if before == after:
        return None
    old, new = before["rows"], after["rows"]
    assert isinstance(old, Mapping)  # noqa: S101 - as every look gives it
    assert isinstance(new, Mapping)  # noqa: S101
    return {**after, "rows": {key: row for key, row in new.items() if old.get(key) != row}}


def _event(name: str, state: State) -> str:
    return f"event: {name}\ndata: {json.dumps(state, ensure_ascii=False)}\n\n"
