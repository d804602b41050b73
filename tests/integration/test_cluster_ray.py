"""A real Ray cluster of several nodes: its scores are the local runner's, and what dies under load costs a retry."""

import threading
import time

import numpy as np
import pytest
from support.bundles import write_tiny_bundle
from support.raycluster import TOKEN, running

from triage_agent.domain.errors import ModelUnavailableError, TriageError
from triage_agent.models import runner
from triage_agent.models.cluster.plan import Model, Plan
from triage_agent.models.cluster.scorer import cluster_scorer
from triage_agent.models.cluster.wire import State
from triage_agent.models.scorer import load_scorer

pytestmark = pytest.mark.timeout(300)

REPLICAS = 2
SOON = 120.0  # seconds; two slow cores start it in ten to twenty
AT_ONCE = 4  # who ask, each with some images


def eventually(condition, seconds=SOON):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tiny_bundle(folder / "one"), write_tiny_bundle(folder / "other", slope=3.0)]


@pytest.fixture(scope="module")
def nodes():
    with running(REPLICAS - 1, head_cpus=1) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def plan(nodes):
    return Plan(address=nodes.address, token=TOKEN, replicas=REPLICAS, latency_seconds=0.005)


def pool(plan, folder, **how):
    return cluster_scorer(plan, Model(ref=str(folder), digest="", device="cpu", threads=1), **how)


@pytest.fixture(scope="module")
def scorer(plan, bundles):
    scorer = pool(plan, bundles[0])
    yield scorer
    scorer.close()


@pytest.fixture
def whole(nodes, scorer):
    """All replicas are there."""
    eventually(lambda: len(nodes.replicas()) == REPLICAS and scorer.standing().state is State.READY)


def pictures(count, seed):
    return list(np.random.default_rng(seed).random((count, 40, 32), dtype=np.float32))


@pytest.mark.usefixtures("whole")
def test_scores_are_the_local_runner_s_of_both_bundles(plan, bundles, scorer):
    images = pictures(6, seed=1)
    other = pool(plan, bundles[1], yields=True)
    for mine, folder in ((scorer, bundles[0]), (other, bundles[1])):
        assert mine.score(images) == pytest.approx(load_scorer(folder, "cpu", 1).score(images), abs=1e-6)
        assert mine.identity == runner.start("local", str(folder), runner.Placement(device="cpu")).identity


@pytest.mark.usefixtures("whole")
def test_what_is_no_bundle_there_is_no_fault_of_an_image(scorer):
    wrong = Model(ref="/nowhere", digest="c" * 64, device="cpu")
    asking = type(scorer)(scorer.identity, wrong, scorer._link)
    with pytest.raises(ModelUnavailableError, match="there is no model bundle at /nowhere"):
        asking.score(pictures(1, seed=2))


class Load:
    """Many images, asked for by several at once; what each of them got."""

    def __init__(self, scorer):
        self.work = [pictures(5, seed=seed) for seed in range(80)]
        self.found, self.errors = {}, []
        self.under_way = threading.Event()
        self._scorer = scorer
        self.left = list(range(len(self.work)))
        self._asking = [threading.Thread(target=self._ask) for _ in range(AT_ONCE)]

    def start(self):
        for thread in self._asking:
            thread.start()
        assert self.under_way.wait(SOON)

    def end(self):
        for thread in self._asking:
            thread.join(SOON)

    def _ask(self):
        while self.left:
            number = self.left.pop()
            try:
                self.found.setdefault(number, []).append(self._scorer.score(self.work[number]))
            except TriageError as error:
                self.errors.append(error)
            if len(self.found) >= len(self.work) // 4:
                self.under_way.set()


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("death", ["replica", "node"])
def test_what_dies_under_load_costs_a_retry_and_no_image(nodes, bundles, scorer, death):
    """Every image has exactly one score, its own."""
    load = Load(scorer)
    load.start()
    if death == "replica":
        nodes.kill_replica()
    else:
        nodes.kill()
    assert len(load.left) > AT_ONCE  # nobody was done
    load.end()
    if death == "node":
        nodes.add()
    assert load.errors == []
    assert sorted(load.found) == list(range(len(load.work)))
    local = load_scorer(bundles[0], "cpu", 1)
    for number, scores in load.found.items():
        assert len(scores) == 1
        assert scores[0] == pytest.approx(local.score(load.work[number]), abs=1e-6)
