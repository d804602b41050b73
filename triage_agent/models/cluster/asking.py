"""One question to the replicas: cut up by how busy they are, and asked again where one dies, until its time is over."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ray.exceptions import ActorUnavailableError, ObjectLostError, RayActorError

from triage_agent.models.cluster.answer import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from ray.serve.handle import DeploymentHandle

    from triage_agent.models.cluster.wire import Question

# So many replicas may die with an image that was alone in its batch before it is taken for the reason. Before that it
# may have died with others, of which one was the reason.
_DEATHS_ALONE = 3
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_HEARD_SECONDS = 1.0  # so long what a replica said of its queue is taken to be so
_TURN_SECONDS = 10.0  # of a suspect, while others wait; a replica that hangs is given up by Ray after half a minute
_AGAIN = frozenset({Outcome.SICK, Outcome.BUSY})


def groups(images: int, in_flight: int, replicas: int, batch: int, queued: int = 0) -> list[range]:
    """Which images of a question go to a replica together: about as many in each, and never more than a batch.

    A group is a replica's share of the images `in_flight` from this agent, or as many as are `queued` in a replica, of
    whatever agent: few images are spread over replicas that are idle, which score them at the same time, and many go
    in whole batches, since a request of eight costs little more than one of one.
    """
    share = max(1, queued, math.ceil(in_flight / max(1, replicas)))
    count = math.ceil(images / min(share, batch))
    return [range(images * one // count, images * (one + 1) // count) for one in range(count)]


@dataclass(frozen=True, slots=True)
class _Case:
    """A question under way, and what is known of its images by now."""

    question: Question
    images: Sequence[NDArray[np.float32]]
    found: dict[int, Answer] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)  # the last that went wrong

    def failed(self, members: Sequence[int], why: str) -> None:
        """Nothing came of asking for these."""
        self.why.update(dict.fromkeys(members, why))

    def heard(self, members: Sequence[int], answers: Sequence[Answer]) -> list[int]:
        """Which of them are to be asked again."""
        again = []
        for member, answer in zip(members, answers, strict=True):
            if answer.outcome in _AGAIN:
                self.why[member] = answer.says or answer.outcome.value
                again.append(member)
            else:
                self.found[member] = answer
        return again

    def answers(self) -> list[Answer]:
        """One for each image; who has none gets none any more."""
        return [self.found.get(member) or self._away(member) for member in range(len(self.images))]

    def _away(self, member: int) -> Answer:
        why = self.why.get(member, "")
        return Answer(
            outcome=Outcome.AWAY, says=f"no score within {self.question.seconds:.3g} s{f' ({why})' if why else ''}"
        )


class Asker:
    """Asks, and asks again."""

    def __init__(self, handle: Callable[[], DeploymentHandle], replicas: Callable[[], int], batch: int) -> None:
        """`handle` gives the way to the replicas that there are now, `replicas` says how many that are."""
        self._handle = handle
        self._replicas = replicas
        self._batch = batch
        self._in_flight = 0
        self._queued, self._heard_at = 0, -math.inf  # images in the replica that answered last, when it did
        self._suspects = asyncio.Lock()

    async def ask(self, question: Question, images: Sequence[NDArray[np.float32]], deadline: float) -> list[Answer]:
        """What became of each image; `deadline` by the event loop's clock."""
        case = _Case(question, images)
        self._in_flight += len(images)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline), asyncio.TaskGroup() as tasks:
                    for group in self._groups(len(images)):
                        tasks.create_task(self._together(case, group))
        finally:
            self._in_flight -= len(images)
        return case.answers()

    def _groups(self, images: int) -> list[range]:
        heard = asyncio.get_running_loop().time() - self._heard_at < _HEARD_SECONDS
        return groups(images, self._in_flight, self._replicas(), self._batch, self._queued if heard else 0)

    async def _together(self, case: _Case, group: Sequence[int]) -> None:
        """Until each image has its answer, or the replica died: one of them may have been the reason."""
        left, pauses = list(group), _Pauses()
        while left:
            try:
                left = case.heard(left, await self._once(case, left, alone=False))
            except Exception as error:  # noqa: BLE001 - Ray's are many, and of what fails all but death may pass
                case.failed(left, type(error).__name__)
                if _is_death(error):
                    await pauses.wait()
                    await self._one_by_one(case, left)
                    return
            if left:
                await pauses.wait()

    async def _one_by_one(self, case: _Case, members: Sequence[int]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for member in members:
                tasks.create_task(self._alone(case, member))

    async def _alone(self, case: _Case, member: int) -> None:
        """Until the image has its answer, or is taken for the reason why replicas die."""
        deaths, pauses = 0, _Pauses()
        while member not in case.found:
            try:
                # A first death has mostly to do with no image, and costs no time. After a second one suspects take
                # turns: who only waited where another one was scored would be blamed with it, time after time.
                async with self._turn() if deaths else nullcontext():
                    case.heard([member], await self._once(case, [member], alone=True))
            except Exception as error:  # noqa: BLE001 - as above
                case.failed([member], type(error).__name__)
                deaths += _is_death(error)
                if deaths >= _DEATHS_ALONE:
                    case.found[member] = Answer(outcome=Outcome.FAILED, says="replica died")
            if member not in case.found:
                await pauses.wait()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Raises TimeoutError after a while, which is no death: one that hangs must not hold up the others for ever."""
        async with self._suspects, asyncio.timeout(_TURN_SECONDS):
            yield

    async def _once(self, case: _Case, members: Sequence[int], *, alone: bool) -> list[Answer]:
        question = case.question
        asked: dict[str, Any] = {
            "model": asdict(question.model),
            "anatomies": [question.anatomies[member] for member in members],
            "rank": question.rank,
            "alone": alone,
        }
        handle = self._handle().options(multiplexed_model_id=question.model.key)
        response = handle.score.remote([case.images[member] for member in members], asked)
        try:
            self._queued, answers = await response
            self._heard_at = asyncio.get_running_loop().time()
            return [Answer.of(plain) for plain in answers]
        except asyncio.CancelledError:
            response.cancel()
            raise


class _Pauses:
    """Between two tries, longer each time."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        await asyncio.sleep(self._next)
        self._next = min(self._next * 2, _LONGEST_PAUSE_SECONDS)


def _is_death(error: Exception) -> bool:
    """Whether a replica, or its whole machine, died with the question."""
    return isinstance(error, RayActorError | ObjectLostError) and not isinstance(error, ActorUnavailableError)
