"""A question to the replicas: what is asked again, what is not, and when an image is taken for the reason."""

import asyncio

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from triage_agent.domain.study import ImageScore
from triage_agent.models.cluster import asking
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.asking import Asker
from triage_agent.models.cluster.plan import Model
from triage_agent.models.cluster.wire import Question

MODEL = Model(ref="embedded", digest="a" * 64)
IMAGE = np.zeros((4, 4), np.float32)
SCORED = Answer(outcome=Outcome.SCORED, score=ImageScore(probability=0.25))
FAILED = Answer(outcome=Outcome.FAILED, says="ValueError")
NEVER = object()


class Response:
    def __init__(self, what, cancelled):
        self._what = what
        self._cancelled = cancelled

    def __await__(self):
        return self._answer().__await__()

    async def _answer(self):
        if self._what is NEVER:
            await asyncio.Event().wait()
        if isinstance(self._what, Exception):
            raise self._what
        return self._what.plain()

    def cancel(self):
        self._cancelled.append(self)


class Handle:
    """As Ray Serve's: answers what it was told to, one after the other, and then the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.cancelled = []
        self.options = self._options
        self.score = self

    def _options(self, *, multiplexed_model_id):
        assert multiplexed_model_id == MODEL.key
        return self

    def remote(self, image, asked):
        self.asked.append(asked)
        return Response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], self.cancelled)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(asking, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(asking, "_LONGEST_PAUSE_SECONDS", 0.001)


def ask(handle, seconds=20.0):
    question = Question(number=1, model=MODEL, anatomy="XR_KNEE", rank=2, seconds=seconds, shape=IMAGE.shape)

    async def story():
        return await Asker(lambda: handle).ask(question, IMAGE, asyncio.get_running_loop().time() + seconds)

    return asyncio.run(story())


@pytest.mark.parametrize("answer", [SCORED, FAILED, Answer(outcome=Outcome.UNUSABLE, says="no bundle")])
def test_what_a_replica_says_of_the_image_is_the_answer(answer):
    handle = Handle(answer)
    assert ask(handle) == answer
    assert [(one["anatomy"], one["rank"], one["alone"]) for one in handle.asked] == [("XR_KNEE", 2, False)]


def test_a_replica_that_dies_costs_a_retry_alone_in_its_batch():
    handle = Handle(ActorDiedError(), SCORED)
    assert ask(handle) == SCORED
    assert [one["alone"] for one in handle.asked] == [False, True]


def test_an_image_that_replica_after_replica_dies_with_is_the_reason():
    handle = Handle(ActorDiedError())
    assert ask(handle) == Answer(outcome=Outcome.FAILED, says="replica died")
    assert [one["alone"] for one in handle.asked] == [False, True, True, True]


@pytest.mark.parametrize(
    "passing",
    [
        ActorUnavailableError("gone for a moment", None),
        RayTaskError("score", "", ValueError()),
        RuntimeError("no application"),
        Answer(outcome=Outcome.SICK, says="RuntimeError"),
        Answer(outcome=Outcome.BUSY),
    ],
)
def test_what_may_pass_is_asked_again_and_never_counts_against_the_image(passing):
    handle = Handle(*[passing] * 10, SCORED)
    assert ask(handle) == SCORED
    assert not any(one["alone"] for one in handle.asked)


def test_who_gives_no_answer_is_away_and_is_told_that_nobody_waits():
    handle = Handle(NEVER)
    assert ask(handle, seconds=0.05) == Answer(outcome=Outcome.AWAY, says="no score within 0.05 s")
    assert len(handle.cancelled) == 1


def test_what_fails_until_the_time_is_over_is_named():
    handle = Handle(RuntimeError("no application"))
    assert ask(handle, seconds=0.05).says == "no score within 0.05 s (RuntimeError)"
