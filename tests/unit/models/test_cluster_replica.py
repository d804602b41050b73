"""A replica without Ray: whose fault it is that an image was not scored, and what becomes of the others."""

import asyncio
import json
import threading
from dataclasses import asdict

import numpy as np
import pytest
from support.serving import Scoring
from support.story import MODEL

from triage_agent.domain.errors import BundleError, ModelUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.models.bundle import load_bundle
from triage_agent.models.cluster import plan as plan_module
from triage_agent.models.cluster import replica as replica_module
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.plan import Model, Plan, deployment_name, speaks_alike
from triage_agent.models.cluster.replica import Picture, Replica, load_model
from triage_agent.models.scorer import load_scorer

SIDES = {0.25: 10, 0.5: 20}
BAD, BROKEN, FULL = 66, 77, 88
BUNDLE = Model(ref="embedded", digest="a" * 64)


def image(side):
    return np.full((side, side), 0.5, np.float32)


class Scorer:
    """Says what the side of an image says, and fails as some sides ask it to."""

    identity = MODEL

    def __init__(self):
        self.batches = []
        self.anatomies = []
        self.broken = False
        self.meanwhile = lambda: None

    def score(self, images, anatomies=()):
        sides = [one.shape[0] for one in images]
        self.batches.append(sides)
        self.anatomies.append(list(anatomies))
        self.meanwhile()
        self.broken = self.broken or BROKEN in sides
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if FULL in sides:
            raise ModelUnavailableError("the device has not enough free memory")
        if BAD in sides:
            raise ValueError("Doe^Jane")
        return [ImageScore(probability=side / 100) for side in sides]


def answers(scorer, *sides, **how):
    replica = Replica(batch=8, latency_seconds=0.01)

    async def story():
        asked = [replica.score(Picture(image(side), None, scorer), key="one", **how) for side in sides]
        return await asyncio.gather(*asked)

    return replica, asyncio.run(story())


def test_images_that_are_asked_for_one_by_one_go_through_the_model_together():
    scorer = Scorer()
    _, found = answers(scorer, 10, 20, 30)
    assert [one.score.probability for one in found] == [0.1, 0.2, 0.3]
    assert scorer.batches == [[10, 20, 30]]


def test_an_image_that_the_model_fails_on_costs_its_neighbours_nothing():
    replica, found = answers(Scorer(), 10, BAD, 20)
    assert [one.outcome for one in found] == [Outcome.SCORED, Outcome.FAILED, Outcome.SCORED]
    assert found[1].says == "ValueError"  # and nothing of what it said
    assert not replica.sick


def test_a_replica_that_scores_nothing_any_more_says_so_and_blames_no_image():
    replica, found = answers(Scorer(), 10, BROKEN)
    assert {one.outcome for one in found} == {Outcome.SICK}
    assert replica.sick == "RuntimeError"


def test_a_full_device_is_no_image_s_fault():
    replica, found = answers(Scorer(), FULL, 10)
    assert [(one.outcome, one.says) for one in found] == [
        (Outcome.FULL, "the device has not enough free memory"),
    ] * 2
    assert not replica.sick


def scoring_with(scorer, monkeypatch, batch=8):
    """A replica as Ray Serve has it, but that it got its scorer without."""
    scoring = Scoring()

    async def scorer_of(key):
        assert key == BUNDLE.key
        if isinstance(scorer, Exception):
            raise scorer
        return scorer

    monkeypatch.setattr(scoring, "_scorer_of", scorer_of)
    scoring._replica.change(batch=batch, latency_seconds=0.01)
    return scoring


def said(scoring, *sides, alone=False):
    asked = {"model": asdict(BUNDLE), "anatomies": [f"XR_{side}" for side in sides], "rank": 0, "alone": alone}
    _, found = asyncio.run(scoring.score([image(side) for side in sides], asked))
    return [Answer.of(json.loads(json.dumps(one))) for one in found]


def test_the_images_of_a_request_are_scored_together_and_have_an_answer_each(monkeypatch):
    scorer = Scorer()
    found = said(scoring_with(scorer, monkeypatch), 10, BAD, 30)
    assert [one.outcome for one in found] == [Outcome.SCORED, Outcome.FAILED, Outcome.SCORED]
    assert (found[0].score.probability, found[2].score.probability) == (0.1, 0.3)
    assert scorer.batches[0] == [10, BAD, 30]
    assert scorer.anatomies[0] == ["XR_10", f"XR_{BAD}", "XR_30"]


def test_an_image_for_which_there_is_no_room_costs_the_others_of_its_request_nothing(monkeypatch):
    monkeypatch.setattr(replica_module, "ROOM", 2)
    found = said(scoring_with(Scorer(), monkeypatch), 10, 20, 30)
    assert [one.outcome for one in found] == [Outcome.SCORED, Outcome.SCORED, Outcome.BUSY]


def test_a_bundle_that_cannot_be_loaded_is_said_of_each_image(monkeypatch):
    found = said(scoring_with(BundleError("there is no model bundle"), monkeypatch), 10, 20)
    assert [(one.outcome, one.says) for one in found] == [(Outcome.UNUSABLE, "there is no model bundle")] * 2


def test_an_answer_says_how_many_others_wait(monkeypatch):
    scorer = Scorer()
    scoring = scoring_with(scorer, monkeypatch, batch=2)
    asked = {"model": asdict(BUNDLE), "anatomies": [None] * 2, "rank": 0, "alone": False}
    go = threading.Semaphore()  # for one batch; who is answered lets the next one begin
    scorer.meanwhile = lambda: go.acquire(timeout=20)

    async def ask():
        queued, _ = await scoring.score([image(10)] * 2, asked)
        go.release()
        return queued

    async def story():
        return await asyncio.gather(ask(), ask(), ask())

    assert asyncio.run(story()) == [4, 2, 0]


def test_a_replica_tells_how_many_images_it_has(monkeypatch):
    scorer = Scorer()
    scoring = scoring_with(scorer, monkeypatch)
    scorer.meanwhile = lambda: told.append(scoring.record_autoscaling_stats())
    told = [scoring.record_autoscaling_stats()]
    said(scoring, 10, 20, 30)
    assert [*told, scoring.record_autoscaling_stats()] == [{"images": 0}, {"images": 3}, {"images": 0}]


def test_a_bundle_is_loaded_as_the_local_runner_loads_it(bundle_folder):
    digest = load_bundle(bundle_folder).digest
    pictures = [image(40), image(30)]
    loaded = load_model(Model(ref=str(bundle_folder), digest=digest, device="cpu"))
    assert loaded.score(pictures) == load_scorer(bundle_folder, "cpu").score(pictures)


def test_another_bundle_at_the_same_place_is_refused(bundle_folder):
    with pytest.raises(BundleError, match="asked for was 0123456789ab; put the same bundle on every machine"):
        load_model(Model(ref=str(bundle_folder), digest="0123456789abcdef", device="cpu"))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(outcome=Outcome.SCORED, score=ImageScore(probability=0.5, seen_anatomy="XR_KNEE", strangeness=0.25)),
        Answer(outcome=Outcome.SCORED, score=ImageScore(probability=0.5)),
        Answer(outcome=Outcome.AWAY, says="no score within 60 s"),
    ],
)
def test_an_answer_travels_as_plain_values(answer):
    assert Answer.of(answer.plain()) == answer


@pytest.mark.parametrize("plain", [None, [], ["scored"], ["won", None, ""], ["scored", [1.0], ""], ["scored", "", ""]])
def test_what_is_no_answer_is_refused(plain):
    with pytest.raises(ValueError):
        Answer.of(plain)


def test_the_same_wish_has_the_same_name_and_any_other_another():
    plan, model = Plan(), Model(ref="embedded", digest="a" * 64)
    name = deployment_name(plan, model)
    elsewhere = Plan(address="auto", token="theirs", timeout_seconds=5, deploys=False)  # noqa: S106 - of a test
    assert deployment_name(elsewhere, model) == name
    others = [
        deployment_name(Plan(replicas=2), model),
        deployment_name(Plan(gpus=0.5), model),
        deployment_name(plan, Model(ref="embedded", digest="b" * 64)),
    ]
    assert len({name, *others}) == 4
    assert all(speaks_alike(one) for one in (name, *others))


def test_replicas_that_speak_otherwise_are_known_by_their_name(monkeypatch):
    plan, model = Plan(), Model(ref="embedded", digest="a" * 64)
    assert not speaks_alike("scorer-e82ad4b1c907")  # of agents that asked about one image at a time
    monkeypatch.setattr(plan_module, "_SPEAKS", "scorer-p3-")
    later = deployment_name(plan, model)
    monkeypatch.undo()
    assert not speaks_alike(later)


def test_a_plan_does_not_show_its_token():
    assert "theirs" not in repr(Plan(token="theirs"))  # noqa: S106 - of a test
