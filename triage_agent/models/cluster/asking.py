"""One question to the replicas, asked again where one dies with it, until its time is over."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray.exceptions import ActorUnavailableError, ObjectLostError, RayActorError

from triage_agent.models.cluster.answer import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from ray.serve.handle import DeploymentHandle

    from triage_agent.models.cluster.wire import Question

# So many replicas may die with an image that was alone in its batch before it is taken for the reason. Before that it
# may have died with others, of which one was the reason.
_DEATHS_ALONE = 3
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_AGAIN = frozenset({Outcome.SICK, Outcome.BUSY})


class Asker:
    """Asks, and asks again."""

    def __init__(self, handle: Callable[[], DeploymentHandle]) -> None:
        """`handle` gives the way to the replicas that there are now."""
        self._handle = handle

    async def ask(self, question: Question, image: NDArray[np.float32], deadline: float) -> Answer:
        """What became of it; `deadline` by the event loop's clock."""
        loop = asyncio.get_running_loop()
        deaths, pause, why = 0, _FIRST_PAUSE_SECONDS, ""
        while (left := deadline - loop.time()) > 0:
            try:
                answer = await self._once(question, image, left, alone=deaths > 0)
            except TimeoutError:
                break
            except Exception as error:  # noqa: BLE001 - Ray's are many, and of what fails all but death may pass
                why = type(error).__name__
                deaths += _is_death(error)
                if deaths > _DEATHS_ALONE:
                    return Answer(outcome=Outcome.FAILED, says="replica died")
            else:
                if answer.outcome not in _AGAIN:
                    return answer
                why = answer.says or answer.outcome.value
            await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return Answer(
            outcome=Outcome.AWAY, says=f"no score within {question.seconds:.3g} s{f' ({why})' if why else ''}"
        )

    async def _once(self, question: Question, image: NDArray[np.float32], seconds: float, *, alone: bool) -> Answer:
        asked: dict[str, Any] = {
            "model": asdict(question.model),
            "anatomy": question.anatomy,
            "rank": question.rank,
            "alone": alone,
        }
        handle = self._handle().options(multiplexed_model_id=question.model.key)
        response = handle.score.remote(image, asked)
        try:
            async with asyncio.timeout(seconds):
                return Answer.of(await response)
        except TimeoutError:
            response.cancel()
            raise


def _is_death(error: Exception) -> bool:
    """Whether a replica, or its whole machine, died with the question."""
    return isinstance(error, RayActorError | ObjectLostError) and not isinstance(error, ActorUnavailableError)
