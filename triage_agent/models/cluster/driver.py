"""The process that speaks with Ray for an agent: joins, deploys, hands over images, asks again where a replica died.

`python -m triage_agent.models.cluster.driver DESCRIPTOR`: the connection to whoever started it; it ends with that.

It is a process of its own because Ray ends a process whose cluster has been away for a minute, takes its signals, and
brings threads of its own: none of that may happen to an agent that holds associations and work.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from triage_agent.models.cluster import wire
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.wire import Standing, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.models.cluster.asking import Asker
    from triage_agent.models.cluster.membership import Membership
    from triage_agent.models.cluster.wire import Question

_LOOK_SECONDS = 2.0  # between two looks at the cluster
_PATIENCE_SECONDS = 10.0  # a look that takes longer finds it away
_END_SECONDS = 5.0  # for taking leave of the cluster


def main() -> None:
    """Answer until whoever asks is gone."""
    opened: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with opened as connection:
        plan, model = wire.receive_beginning(connection)
        from triage_agent.models.cluster.asking import Asker  # noqa: PLC0415 - both bring Ray, after who waits was heard
        from triage_agent.models.cluster.membership import Membership  # noqa: PLC0415

        membership = Membership(plan, model)
        driver = _Driver(connection, membership, Asker(membership.handle, lambda: membership.running, plan.batch))
        with suppress(EOFError, OSError):
            asyncio.run(driver.run())
        leaving = threading.Thread(target=membership.leave, daemon=True)
        leaving.start()
        leaving.join(_END_SECONDS)


class _Driver:
    """One event loop between the connection and Ray."""

    def __init__(self, connection: Connection[Any, Any], membership: Membership, asker: Asker) -> None:
        self._connection = connection
        self._membership = membership
        self._asker = asker
        self._standing = Standing(State.JOINING, "joining the cluster")
        self._joined = asyncio.Event()  # set unless it is joining
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the other side has gone."""
        loop = asyncio.get_running_loop()
        reader = threading.Thread(target=self._read, args=(loop,), daemon=True)
        reader.start()
        watch = asyncio.create_task(self._watch())
        await self._ended.wait()
        for task in (watch, *self._tasks):
            task.cancel()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(EOFError, OSError, ValueError):
            while True:
                question, images = wire.receive_question(self._connection)
                loop.call_soon_threadsafe(self._begin, question, images)
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(self._ended.set)

    def _begin(self, question: Question, images: Sequence[NDArray[np.float32]]) -> None:
        task = asyncio.create_task(self._answer(question, images))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, question: Question, images: Sequence[NDArray[np.float32]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + question.seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._joined.wait()
        if self._standing.state is State.READY:
            answers = await self._asker.ask(question, images, deadline)
        else:
            answers = [Answer(outcome=Outcome.AWAY, says=self._standing.says)] * len(images)
        with suppress(OSError):
            wire.send_answers(self._connection, question.number, answers)

    async def _watch(self) -> None:
        """Join, and look from time to time whether the application is there."""
        while True:
            look = asyncio.ensure_future(asyncio.to_thread(self._membership.look))
            done, _ = await asyncio.wait({look}, timeout=_PATIENCE_SECONDS)
            if not done and self._standing.state is State.READY:
                self._tell(Standing(State.AWAY, "the cluster does not answer"))
            self._tell(await look)
            await asyncio.sleep(_LOOK_SECONDS)

    def _tell(self, standing: Standing) -> None:
        if standing.state is State.JOINING:
            self._joined.clear()
        else:
            self._joined.set()
        if standing != self._standing:
            self._standing = standing
            with suppress(OSError):
                wire.send_standing(self._connection, standing)


if __name__ == "__main__":
    main()
