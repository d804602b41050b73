"""The loop that repeats a step, and the step that takes images first."""

import logging
import threading
from datetime import timedelta

import pytest
import structlog
from support.story import LEASE, STUDY, Story

from triage_agent import worker as module
from triage_agent.domain.errors import ModelUnavailableError, WorklistUnavailableError
from triage_agent.domain.vocabulary import Priority
from triage_agent.ops.logging import configure_logging
from triage_agent.worker import Loop, Worker
from triage_agent.worklist import MemoryWorklist

SOON = 30.0  # seconds; everything here takes milliseconds
BUSY, IDLE = True, False  # what a step returns


class FakePipeline:
    """Remembers what it was given."""

    def __init__(self):
        self.done = []
        self.failure = None
        self.model_failure = None

    def try_model_again(self):
        if self.model_failure:
            raise self.model_failure

    def score_images(self, claimed):
        self.done.append(("images", [image.instance.sop_instance_uid for image in claimed]))
        self._fail()

    def decide_study(self, claimed, owner):
        self.done.append(("study", claimed.study_instance_uid, owner))
        self._fail()

    def _fail(self):
        if self.failure:
            raise self.failure


@pytest.fixture
def story():
    return Story(MemoryWorklist())


@pytest.fixture
def pipeline():
    return FakePipeline()


@pytest.fixture
def worker(story, pipeline):
    return Worker(pipeline=pipeline, worklist=story.worklist, owner="w1", lease=LEASE, batch=2, clock=story.tick)


@pytest.fixture
def looping():
    """Starts loops, and ends them."""
    started = []

    def start(step, *recover):
        loop = Loop("test", step, *recover)
        started.append(loop)
        loop.start()
        return loop

    yield start
    for loop in started:
        loop.stop()
        assert loop.join(SOON)


class Steps:
    """A step that counts itself and does what `results` says, the last one for ever."""

    def __init__(self, *results):
        self.results = list(results)
        self.count = 0
        self.changed = threading.Condition()
        self.told = []

    def __call__(self, *arguments):
        with self.changed:
            self.told += arguments
            result = self.results[min(self.count, len(self.results) - 1)]
            self.count += 1
            self.changed.notify_all()
        if isinstance(result, BaseException):
            raise result
        return result

    def reached(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, SOON)


# --- the step --------------------------------------------------------------------------------------------------------
def test_with_nothing_to_do_a_step_says_so(worker, pipeline):
    assert worker.step() is False
    assert pipeline.done == []


def test_images_come_first_and_a_study_is_decided_in_the_same_step(worker, story, pipeline):
    story.receive("1.2.2")
    story.complete("1.2.2")
    story.receive(STUDY)
    assert worker.step() is True
    assert pipeline.done == [("images", ["1.2.1.1"]), ("study", "1.2.2", "w1")]


def test_a_step_takes_a_batch_of_images_and_not_more(worker, story, pipeline):
    for _ in range(3):
        story.receive(STUDY)
    worker.step()
    assert pipeline.done == [("images", ["1.2.1.1", "1.2.1.2"])]


def test_the_most_urgent_study_is_decided_first(worker, story, pipeline):
    for number, priority in ((2, Priority.ROUTINE), (3, Priority.STAT)):
        story.receive(f"1.2.{number}", requested_priority=priority)
        story.complete(f"1.2.{number}")
    worker.step()
    assert pipeline.done == [("study", "1.2.3", "w1")]


def test_with_a_model_that_is_away_nothing_is_claimed(worker, story, pipeline):
    story.receive(STUDY)
    pipeline.model_failure = ModelUnavailableError("broken")
    with pytest.raises(ModelUnavailableError):
        worker.step()
    assert story.worklist.claim_images("w2", story.tick(), LEASE, 1)


# --- the loop --------------------------------------------------------------------------------------------------------
def test_a_loop_goes_on_at_once_while_there_is_something_to_do(looping, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", SOON * 2)
    steps = Steps(BUSY, BUSY, BUSY, IDLE)
    looping(steps)
    assert steps.reached(4)


def test_an_idle_loop_looks_again_by_itself(looping, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.001)
    steps = Steps(IDLE)
    looping(steps)
    assert steps.reached(3)


def test_an_idle_loop_can_be_woken(looping, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", SOON * 10)
    steps = Steps(IDLE)
    loop = looping(steps)
    assert steps.reached(1)
    for count in (2, 3):
        loop.wake()
        assert steps.reached(count)


def test_a_wake_during_a_step_is_not_lost(looping, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", SOON * 10)
    inside, go_on, looked_again = threading.Event(), threading.Event(), threading.Event()

    def step():
        if inside.is_set():
            looked_again.set()
        inside.set()
        go_on.wait(SOON)
        return False

    loop = looping(step)
    assert inside.wait(SOON)
    loop.wake()
    go_on.set()
    assert looked_again.wait(SOON)


@pytest.mark.parametrize("error", [WorklistUnavailableError("away"), RuntimeError("a bug")])
def test_a_loop_survives_the_errors_of_its_step(looping, monkeypatch, error):
    monkeypatch.setattr(module, "_DATABASE_AWAY_SECONDS", 0.001)
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.001)
    steps = Steps(error, error, IDLE)
    looping(steps)
    assert steps.reached(4)


def test_what_a_failed_step_held_is_freed_before_the_next_also_when_that_takes_several_tries(looping, monkeypatch):
    """The schedule renews whatever this process holds, so that nothing else would ever free it."""
    monkeypatch.setattr(module, "_DATABASE_AWAY_SECONDS", 0.001)
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.001)
    steps = Steps(RuntimeError("a bug"), IDLE)
    recover = Steps(WorklistUnavailableError("away"), None)
    looping(steps, recover)
    assert steps.reached(4)
    assert recover.count == 2


@pytest.mark.parametrize(
    ("failures", "counted"),
    [
        ([WorklistUnavailableError("away")], False),
        ([ModelUnavailableError("broken")], False),
        ([RuntimeError("a bug")], True),
        ([RuntimeError("a bug"), WorklistUnavailableError("away")], True),
    ],
)
def test_what_a_failed_step_held_counts_as_tried_unless_the_database_or_the_model_was_away(
    looping, monkeypatch, failures, counted
):
    monkeypatch.setattr(module, "_DATABASE_AWAY_SECONDS", 0.001)
    monkeypatch.setattr(module, "_MODEL_AWAY_SECONDS", 0.001)
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.001)
    steps = Steps(failures[0], IDLE)
    recover = Steps(*failures[1:], None)
    looping(steps, recover)
    assert steps.reached(3)
    assert set(recover.told) == {counted}


def test_a_model_that_stays_away_is_asked_ever_more_seldom_until_it_is_back(monkeypatch):
    waits = []
    loop = Loop("test", Steps(*[ModelUnavailableError("broken")] * 7, IDLE, ModelUnavailableError("broken"), IDLE))
    monkeypatch.setattr(loop._stopping, "wait", waits.append)
    monkeypatch.setattr(loop._wake, "wait", lambda _: len(waits) == 8 and loop.stop())
    loop.start()
    assert loop.join(SOON)
    assert waits == [2, 4, 8, 16, 30, 30, 30, 2]


def test_after_an_error_a_loop_waits_and_can_still_be_stopped_at_once(monkeypatch):
    monkeypatch.setattr(module, "_DATABASE_AWAY_SECONDS", SOON * 10)
    steps = Steps(WorklistUnavailableError("away"))
    loop = Loop("test", steps)
    loop.start()
    assert steps.reached(1)
    loop.stop()
    assert loop.join(SOON)
    assert steps.count == 1


def test_stopping_lets_the_step_in_hand_end_and_begins_no_other():
    inside, go_on, steps = threading.Event(), threading.Event(), []

    def step():
        steps.append(1)
        inside.set()
        go_on.wait(SOON)
        return True

    loop = Loop("test", step)
    loop.start()
    assert inside.wait(SOON)
    loop.stop()
    assert not loop.join(0.01)
    go_on.set()
    assert loop.join(SOON)
    assert steps == [1]


def test_what_an_error_quotes_does_not_reach_the_log(looping, monkeypatch, capsys):
    """A database's error repeats the row it is about; a traceback of it would name the patient."""
    monkeypatch.setattr(module, "_DATABASE_AWAY_SECONDS", 0.001)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(module, "log", structlog.stdlib.get_logger("test"))
    try:
        configure_logging("json")
        steps = Steps(RuntimeError("[parameters: {'patient_name': 'Doe^Jane'}]"), IDLE)
        looping(steps)
        assert steps.reached(2)
        written = capsys.readouterr().err
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
    assert "RuntimeError" in written
    assert "Doe" not in written


def test_the_lease_of_a_worker_is_what_it_was_given(story, pipeline):
    story.receive(STUDY)
    lease = timedelta(seconds=3)
    Worker(pipeline=pipeline, worklist=story.worklist, owner="w1", lease=lease, batch=1, clock=lambda: story.now).step()
    assert pipeline.done == [("images", ["1.2.1.1"])]
    assert not story.worklist.claim_images("w2", story.now + lease - timedelta(milliseconds=1), LEASE, 1)
    assert story.worklist.claim_images("w2", story.now + lease, LEASE, 1)


def test_a_loop_for_images_leaves_studies_to_others(story, pipeline):
    images = Worker(
        pipeline=pipeline,
        worklist=story.worklist,
        owner="w1",
        lease=LEASE,
        batch=2,
        clock=story.tick,
        decides=False,
    )
    story.receive("1.2.1")
    story.complete("1.2.1")
    story.receive("1.2.2")
    assert images.step() is BUSY
    assert images.step() is IDLE
    assert pipeline.done == [("images", ["1.2.2.1"])]
