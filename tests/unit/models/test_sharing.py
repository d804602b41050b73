"""Bundles on one device: who goes first, and what a full memory costs."""

import threading

import pytest
import torch
from support.story import MODEL

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.models import turns
from triage_agent.models.sharing import SharedScorer

SOON = 30.0  # seconds; everything here takes milliseconds
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Scorer:
    """Fails as often as it is told to, and writes down what happens."""

    identity = MODEL

    def __init__(self, *errors, told=None):
        self.errors = list(errors)
        self.told = [] if told is None else told

    def score(self, images, anatomies=()):
        self.told.append("asked")
        if self.errors:
            raise self.errors.pop()
        return [ImageScore(probability=0.25) for _ in images]


class Slow:
    """Scores when it may, and names itself when it begins."""

    identity = MODEL

    def __init__(self, name, order):
        self.name = name
        self.order = order
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def score(self, images, anatomies=()):
        self.order.append(self.name)
        self.begun.set()
        self.may_end.wait(SOON)
        return []


@pytest.fixture
def told(monkeypatch):
    """What was asked and freed, in order."""
    happened = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: happened.append("freed"))
    monkeypatch.setattr(turns, "_TURNS", type(turns._TURNS)(turns.Turns))
    return happened


@pytest.mark.parametrize("error", [FULL, RuntimeError("cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")])
def test_a_full_memory_is_freed_of_what_is_cached_and_the_images_are_scored(told, error):
    scorer = SharedScorer(Scorer(error, told=told), "cuda", yields=False)
    assert scorer.score(["an image"]) == [ImageScore(probability=0.25)]
    assert told == ["asked", "freed", "asked"]
    assert scorer.identity is MODEL


def test_a_memory_that_stays_full_is_no_image_s_fault(told):
    scorer = SharedScorer(Scorer(FULL, FULL, told=told), "cuda", yields=False)
    with pytest.raises(ModelUnavailableError, match="not enough free memory"):
        scorer.score(["an image"])
    assert told == ["asked", "freed", "asked", "freed"]
    assert scorer.score(["an image"]) == [ImageScore(probability=0.25)]  # and the device is free again


def test_any_other_error_is_the_scorer_s_own(told):
    scorer = SharedScorer(Scorer(RuntimeError("shapes do not fit"), told=told), "cuda", yields=False)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        scorer.score(["an image"])
    assert told == ["asked"]


def test_the_deciding_bundle_is_let_to_the_device_before_a_shadow_that_waits_longer(told):
    order, threads = [], []

    def start(name, *, yields):
        slow = Slow(name, order)
        threads.append(threading.Thread(target=SharedScorer(slow, "cuda", yields=yields).score, args=([],)))
        threads[-1].start()
        return slow

    now = start("now", yields=True)
    assert now.begun.wait(SOON)
    shadow = start("shadow", yields=True)
    deciding = start("deciding", yields=False)
    while not turns._TURNS["cuda"]._first_waiting:
        threads[-1].join(0.001)
    assert order == ["now"]  # both wait for the call in hand
    for one in (now, deciding, shadow):
        one.may_end.set()
    for thread in threads:
        thread.join(SOON)
    assert order == ["now", "deciding", "shadow"]


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cuda:0", "cuda:1")])
def test_bundles_that_share_no_gpu_wait_for_nobody(told, devices):
    order = []
    first, second = Slow("first", order), Slow("second", order)
    held = threading.Thread(target=SharedScorer(first, devices[0], yields=False).score, args=([],))
    held.start()
    assert first.begun.wait(SOON)
    second.may_end.set()
    SharedScorer(second, devices[1], yields=True).score([])
    assert order == ["first", "second"]
    first.may_end.set()
    held.join(SOON)
