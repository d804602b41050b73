"""Requests of several images on a real Ray cluster: one that ends replicas, and how many replicas there are."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.agent import eventually
from support.raycluster import TOKEN, running
from support.sleeping import DEADLY

from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.link import Asked
from triage_agent.models.cluster.plan import Model, Plan
from triage_agent.models.cluster.scorer import cluster_scorer
from triage_agent.models.cluster.wire import State

pytestmark = pytest.mark.timeout(300)

SOON = 120.0  # seconds
MODEL_SECONDS = 0.05
BATCH = 4
QUIET_SECONDS = 8.0  # longer than a load has to last until there are more replicas


@pytest.fixture(scope="module")
def nodes():
    with running(1, cpus=2) as nodes:
        yield nodes


@pytest.fixture
def pool(nodes):
    """Makes the scorer of an application of its own, whose model sleeps."""
    scorers = []

    def make(**how):
        plan = Plan(address=nodes.address, token=TOKEN, batch=BATCH, **how)
        # It only looks, so that what it finds is the application whose model sleeps.
        scorer = cluster_scorer(replace(plan, deploys=False), Model(ref="embedded", digest="", device="cpu"))
        scorers.append(scorer)
        nodes.deploy(plan, scorer._model, MODEL_SECONDS)
        eventually(lambda: scorer.standing().state is State.READY, SOON)
        return scorer

    yield make
    for scorer in scorers:
        scorer.close()


def pictures(*brightness):
    return [np.full((40 + number, 32), one, np.float32) for number, one in enumerate(brightness)]


def test_an_image_that_ends_replicas_is_found_out_and_those_it_was_with_are_scored(pool):
    scorer = pool(timeout_seconds=SOON)
    images = pictures(0.25, DEADLY, 0.5, 0.75)
    answers = scorer._link.ask(Asked(scorer._model, images, [None] * len(images), 0))
    assert answers[1] == Answer(outcome=Outcome.FAILED, says="replica died")
    assert [one.score.probability for one in answers if one.score] == [0.25, 0.5, 0.75]


def test_there_are_more_replicas_when_requests_of_whole_batches_wait_and_not_for_one_agent(nodes, pool):
    scorer = pool(max_replicas=2)
    eventually(lambda: len(nodes.replicas()) == 1, SOON)
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        scorer.score(pictures(0.5))
    assert len(nodes.replicas()) == 1
    enough = threading.Event()

    def ask():
        while not enough.is_set():
            scorer.score(pictures(*[0.5] * BATCH))

    # 24 images in six requests, where a replica's share is 8 images: by the requests one would be enough.
    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
    try:
        eventually(lambda: len(nodes.replicas()) == 2, SOON)
    finally:
        enough.set()
        for thread in asking:
            thread.join(SOON)
