"""Who is scored next and when: by a clock that stands still, and with threads over a device that does as it is told."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.models.batching import Batcher, Gathering

BATCH, LATENCY = 3, 0.5
ROUTINE, URGENT, STAT = 0, 1, 2


def gathered(*arrivals):
    """A queue with (what, rank, at) in it."""
    queue = Gathering(BATCH, LATENCY)
    for what, rank, at in arrivals:
        queue.add(torch.tensor(float(what)), rank, at)
    return queue


def taken(queue):
    return [int(one.image) for one in queue.take()]


@pytest.mark.parametrize(
    ("arrivals", "idle", "now", "due"),
    [
        ([], True, 0.0, None),
        ([(1, ROUTINE, 10.0)], True, 10.0, 0.5),
        ([(1, ROUTINE, 10.0), (2, ROUTINE, 10.2)], True, 10.3, pytest.approx(0.2)),  # the oldest counts
        ([(1, ROUTINE, 10.2), (2, STAT, 10.3)], True, 10.3, pytest.approx(0.4)),  # not the most urgent
        ([(1, ROUTINE, 10.0)], True, 10.7, 0.0),
        ([(1, ROUTINE, 10.0)], False, 99.0, None),  # behind one in the works a fuller batch ends as soon
        ([(1, ROUTINE, 10.0), (2, ROUTINE, 10.0), (3, ROUTINE, 10.0)], False, 10.0, 0.0),
    ],
)
def test_a_batch_is_due_when_it_is_full_or_an_idle_device_has_waited_long_enough(arrivals, idle, now, due):
    assert gathered(*arrivals).due_in(now, idle=idle) == due


def test_the_most_urgent_go_first_and_equals_by_arrival():
    queue = gathered((1, ROUTINE, 0), (2, URGENT, 1), (3, ROUTINE, 2), (4, STAT, 3), (5, URGENT, 4))
    assert (taken(queue), taken(queue), taken(queue)) == ([4, 2, 5], [1, 3], [])


class Device:
    """Doubles numbers, a batch at a time; a batch ends when it is let go, or fails where one is negative."""

    def __init__(self):
        self.batches = []
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def start(self, images):
        self.batches.append([int(image) for image in images])
        self.begun.release()
        return Running(torch.stack(images), self.let_go)


class Running:
    def __init__(self, numbers, let_go):
        self.numbers = numbers
        self.let_go = let_go

    def wait(self):
        assert self.let_go.acquire(timeout=30)
        if (self.numbers < 0).any():
            raise RuntimeError("device failed")
        return self.numbers * 2, self.numbers[:, None]


class Ward:
    """Threads that ask, and the device that they ask."""

    def __init__(self, latency=0.0):
        self.device = Device()
        self.batcher = Batcher(self.device, batch=BATCH, latency=latency)
        self.threads = ThreadPoolExecutor(8)

    def ask(self, *numbers, rank=ROUTINE):
        return self.threads.submit(self.batcher.ask, [torch.tensor(float(number)) for number in numbers], rank)

    def wait_for_batch(self):
        assert self.device.begun.acquire(timeout=30)


@pytest.fixture
def ward():
    made = Ward()
    yield made
    for _ in range(20):
        made.device.let_go.release()
    made.batcher.close()
    made.threads.shutdown()


def waiting(ward, count):
    """Until so many wait in the queue."""
    for _ in range(30_000):
        with ward.batcher._changed:
            if len(ward.batcher._gathering._waiting) == count:
                return
        threading.Event().wait(0.001)
    raise AssertionError("they never came")


def test_everybody_gets_what_they_asked_for_in_their_order(ward):
    first, second = ward.ask(1, 2, 3, 4), ward.ask(5)
    for _ in range(4):
        ward.device.let_go.release()
    logits, embeddings = first.result(30)
    assert (logits.tolist(), embeddings.tolist()) == ([2, 4, 6, 8], [[1], [2], [3], [4]])
    assert second.result(30)[0].tolist() == [10]


def test_images_of_several_studies_share_a_batch_and_stat_overtakes(ward):
    ward.ask(1)
    ward.wait_for_batch()  # the device has something to do
    asked = [ward.ask(2), ward.ask(3)]
    waiting(ward, 2)
    asked.append(ward.ask(9, rank=STAT))
    ward.wait_for_batch()
    assert sorted(ward.device.batches[1]) == [2, 3, 9]
    assert ward.device.batches[1][0] == 9
    for _ in range(2):
        ward.device.let_go.release()
    assert sorted(one.result(30)[0].item() for one in asked) == [4, 6, 18]


def test_while_one_batch_is_computed_one_full_one_is_on_its_way_and_no_third(ward):
    asked = ward.ask(*range(10))
    ward.wait_for_batch()
    ward.wait_for_batch()
    assert not ward.device.begun.acquire(timeout=0.05)
    for _ in range(4):
        ward.device.let_go.release()
    asked.result(30)
    assert [len(batch) for batch in ward.device.batches] == [3, 3, 3, 1]


def test_a_batch_that_fails_is_told_to_who_asked_for_it_and_the_next_is_worked_on(ward):
    bad = ward.ask(-1, 1, 2)
    ward.device.let_go.release()
    with pytest.raises(RuntimeError, match="device failed"):
        bad.result(30)
    good = ward.ask(7)
    ward.device.let_go.release()
    assert good.result(30)[0].tolist() == [14]


def test_a_device_that_cannot_even_begin_is_told_too(ward):
    ward.device.start = lambda images: images[0].no_such_thing
    with pytest.raises(AttributeError):
        ward.ask(1).result(30)


def test_who_waits_at_the_end_is_told_and_nobody_waits_afterwards():
    ward = Ward(latency=1000.0)
    asked = ward.ask(1)
    waiting(ward, 1)
    ward.batcher.close()
    with pytest.raises(ModelUnavailableError, match="stopping"):
        asked.result(30)
    with pytest.raises(ModelUnavailableError, match="stopping"):
        ward.ask(2).result(30)
    ward.threads.shutdown()
