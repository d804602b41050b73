"""A question to the replicas: how it is cut up, what is asked again, and when an image is taken for the reason."""

import asyncio

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from triage_agent.domain.study import ImageScore
from triage_agent.models.cluster import asking
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.asking import Asker, groups
from triage_agent.models.cluster.plan import Model
from triage_agent.models.cluster.wire import Question

MODEL = Model(ref="embedded", digest="a" * 64)
SCORED = Answer(outcome=Outcome.SCORED, score=ImageScore(probability=0.25))
FAILED = Answer(outcome=Outcome.FAILED, says="ValueError")
NEVER = object()


class Response:
    def __init__(self, what, images, cancelled):
        self._what = what
        self._images = images
        self._cancelled = cancelled

    def __await__(self):
        return self._answer().__await__()

    async def _answer(self):
        what = self._what
        if what is NEVER:
            await asyncio.Event().wait()
        if isinstance(what, Exception):
            raise what
        return 0, [one.plain() for one in (what if isinstance(what, list) else [what] * len(self._images))]

    def cancel(self):
        self._cancelled.append(self)


class Answering:
    """Scores, and says how many others it has in its queue."""

    def __init__(self, queued, images):
        self._answer = queued, [SCORED.plain()] * len(images)

    def __await__(self):
        yield
        return self._answer


class Handle:
    """As Ray Serve's: answers what it was told to, one after the other, and then the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.images = []
        self.cancelled = []
        self.options = self._options
        self.score = self

    def _options(self, *, multiplexed_model_id):
        assert multiplexed_model_id == MODEL.key
        return self

    def remote(self, images, asked):
        assert len(images) == len(asked["anatomies"])
        self.asked.append(asked)
        self.images.append([int(image[0, 0]) for image in images])
        return self.answer(images)

    def answer(self, images):
        return Response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], images, self.cancelled)


class OneReplica(Handle):
    """Scores what came first, one request at a time; the poison ends it, with all that waits there."""

    def __init__(self, poison):
        super().__init__(SCORED)
        self._poison = poison
        self._waiting = []

    def answer(self, images):
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((images, future))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(0.001, self._work)
        return future

    def _work(self):
        images, future = self._waiting.pop(0)
        if any(int(image[0, 0]) == self._poison for image in images):
            for one in (future, *(other for _, other in self._waiting)):
                one.set_exception(ActorDiedError())
            self._waiting.clear()
            return
        future.set_result((0, [SCORED.plain()] * len(images)))
        if self._waiting:
            asyncio.get_running_loop().call_later(0.001, self._work)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(asking, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(asking, "_LONGEST_PAUSE_SECONDS", 0.001)


def numbered(count):
    return [np.full((4, 4), number, np.float32) for number in range(count)]


def question_of(images, seconds=20.0):
    return Question(
        number=1,
        model=MODEL,
        anatomies=tuple(f"XR_{number}" for number in range(len(images))),
        rank=2,
        seconds=seconds,
        shapes=tuple(image.shape for image in images),
    )


def ask(handle, count=1, seconds=20.0, replicas=1, questions=1):
    """The answers to the last of so many questions at once."""
    images = numbered(count)

    async def story():
        asker = Asker(lambda: handle, lambda: replicas, batch=8)
        until = asyncio.get_running_loop().time() + seconds
        asked = [asker.ask(question_of(images, seconds), images, until) for _ in range(questions)]
        found = (await asyncio.gather(*asked))[-1]
        assert asker._in_flight == 0
        return found

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("images", "in_flight", "replicas", "sizes"),
    [
        (8, 8, 8, [1] * 8),  # nobody else asks: all replicas at once
        (8, 8, 16, [1] * 8),
        (8, 8, 4, [2] * 4),
        (8, 8, 3, [2, 3, 3]),
        (8, 16, 8, [2] * 4),
        (8, 20, 8, [2, 3, 3]),
        (8, 64, 8, [8]),  # each has a batch to do
        (8, 1000, 8, [8]),
        (20, 1000, 8, [6, 7, 7]),  # never more than a batch, and about as many in each
        (1, 1, 1, [1]),
        (8, 8, 0, [8]),  # none is known
    ],
)
def test_a_request_carries_a_replica_s_share_of_what_is_in_flight(images, in_flight, replicas, sizes):
    cut = groups(images, in_flight, replicas, batch=8)
    assert [len(one) for one in cut] == sizes
    assert [member for one in cut for member in one] == list(range(images))


@pytest.mark.parametrize(("queued", "sizes"), [(0, [1] * 8), (2, [2] * 4), (8, [8]), (100, [8])])
def test_where_replicas_have_others_images_to_do_what_one_agent_asks_goes_together(queued, sizes):
    cut = groups(8, 8, 8, batch=8, queued=queued)
    assert [len(one) for one in cut] == sizes


def test_what_a_replica_says_of_its_queue_counts_for_a_while(monkeypatch):
    handle = Handle(SCORED)
    images = numbered(4)

    async def sizes(asker):
        handle.images.clear()
        await asker.ask(question_of(images), images, asyncio.get_running_loop().time() + 20)
        return sorted(len(one) for one in handle.images)

    async def story():
        asker = Asker(lambda: handle, lambda: 4, batch=8)
        monkeypatch.setattr(handle, "answer", lambda given: Answering(5, given))
        found = [await sizes(asker), await sizes(asker)]
        monkeypatch.setattr(asking, "_HEARD_SECONDS", 0.0)
        return [*found, await sizes(asker)]

    assert asyncio.run(story()) == [[1] * 4, [4], [1] * 4]


def test_few_images_are_spread_over_the_replicas_and_more_go_together():
    alone, busy = Handle(SCORED), Handle(SCORED)
    assert ask(alone, 4, replicas=4) == ask(busy, 4, replicas=4, questions=4) == [SCORED] * 4
    assert alone.images == [[0], [1], [2], [3]]
    assert len(busy.images) < 16
    assert busy.images[-1] == [0, 1, 2, 3]


def test_each_image_has_its_own_region_and_its_own_answer():
    others = [Answer(outcome=Outcome.SCORED, score=ImageScore(probability=number / 4)) for number in range(3)]
    handle = Handle([others[0], FAILED, others[2]])
    assert ask(handle, 3) == [others[0], FAILED, others[2]]
    assert [one["anatomies"] for one in handle.asked] == [["XR_0", "XR_1", "XR_2"]]


@pytest.mark.parametrize("answer", [SCORED, FAILED, Answer(outcome=Outcome.UNUSABLE, says="no bundle")])
def test_what_a_replica_says_of_the_image_is_the_answer(answer):
    handle = Handle(answer)
    assert ask(handle) == [answer]
    assert [(one["anatomies"], one["rank"], one["alone"]) for one in handle.asked] == [(["XR_0"], 2, False)]


def test_a_replica_that_dies_costs_a_retry_alone_in_its_batch():
    handle = Handle(ActorDiedError(), SCORED)
    assert ask(handle, 2) == [SCORED] * 2
    assert [(one["alone"], asked) for one, asked in zip(handle.asked, handle.images, strict=True)] == [
        (False, [0, 1]),
        (True, [0]),
        (True, [1]),
    ]


def test_an_image_that_replica_after_replica_dies_with_is_the_reason():
    handle = Handle(ActorDiedError())
    assert ask(handle) == [Answer(outcome=Outcome.FAILED, says="replica died")]
    assert [one["alone"] for one in handle.asked] == [False, True, True, True]


@pytest.mark.parametrize("poison", [0, 3, 7])
def test_the_poison_of_a_group_is_found_out_and_the_others_are_scored(poison):
    handle = OneReplica(poison)
    found = ask(handle, 8)
    assert [one.outcome for one in found] == [
        Outcome.FAILED if number == poison else Outcome.SCORED for number in range(8)
    ]
    assert sum(poison in images for images in handle.images) == 4


@pytest.mark.parametrize(
    "passing",
    [
        ActorUnavailableError("gone for a moment", None),
        RayTaskError("score", "", ValueError()),
        RuntimeError("no application"),
        TimeoutError("of Ray's own"),
        Answer(outcome=Outcome.SICK, says="RuntimeError"),
        Answer(outcome=Outcome.BUSY),
        [SCORED],  # of two
    ],
)
def test_what_may_pass_is_asked_again_and_never_counts_against_the_image(passing):
    handle = Handle(*[passing] * 10, SCORED)
    assert ask(handle, 2) == [SCORED] * 2
    assert not any(one["alone"] for one in handle.asked)
    assert len(handle.asked) == 11


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.SICK])
def test_only_those_of_a_group_that_had_no_answer_are_asked_again(outcome):
    again = Answer(outcome=outcome)
    handle = Handle([SCORED, again, FAILED, again], [again, SCORED], SCORED)
    assert ask(handle, 4) == [SCORED, SCORED, FAILED, SCORED]
    assert handle.images == [[0, 1, 2, 3], [1, 3], [1]]


def test_who_gives_no_answer_is_away_and_is_told_that_nobody_waits():
    handle = Handle([SCORED, Answer(outcome=Outcome.BUSY)], NEVER)
    assert ask(handle, 2, seconds=0.2) == [SCORED, Answer(outcome=Outcome.AWAY, says="no score within 0.2 s (busy)")]
    assert len(handle.cancelled) == 1


def test_of_two_groups_one_that_hangs_costs_the_other_nothing():
    handle = Handle(NEVER, SCORED)
    assert ask(handle, 2, seconds=0.2, replicas=2) == [
        Answer(outcome=Outcome.AWAY, says="no score within 0.2 s"),
        SCORED,
    ]


def test_what_fails_until_the_time_is_over_is_named():
    handle = Handle(RuntimeError("no application"))
    assert [one.says for one in ask(handle, seconds=0.05)] == ["no score within 0.05 s (RuntimeError)"]


def test_a_suspect_that_hangs_holds_up_no_other(monkeypatch):
    monkeypatch.setattr(asking, "_TURN_SECONDS", 0.05)

    class Hanging(Handle):
        def answer(self, images):
            if len(images) > 1 or sum(one == [int(images[0][0, 0])] for one in self.images) == 1:
                return Response(ActorDiedError(), images, self.cancelled)
            return Response(NEVER if int(images[0][0, 0]) == 0 else SCORED, images, self.cancelled)

    found = ask(Hanging(SCORED), 3, seconds=2)
    assert [one.outcome for one in found] == [Outcome.AWAY, Outcome.SCORED, Outcome.SCORED]
