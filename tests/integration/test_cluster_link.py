"""The agent's side of a Ray cluster, with a process in Ray's place that ends, hangs or is away."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support import fakedriver
from support.story import MODEL

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.domain.urgency import asking_for
from triage_agent.domain.vocabulary import Priority
from triage_agent.models.bundle import load_bundle
from triage_agent.models.cluster import link as link_module
from triage_agent.models.cluster import wire
from triage_agent.models.cluster.link import Link
from triage_agent.models.cluster.plan import Model, Plan
from triage_agent.models.cluster.scorer import ClusterScorer, RemoteScoringError
from triage_agent.models.cluster.wire import State

PROGRAM = (sys.executable, fakedriver.__file__)
SOON = 60.0  # seconds; a process starts in less than one
BUNDLE = Model(ref="embedded", digest="a" * 64)


def picture(brightness):
    return np.full((3, 5), brightness, np.float32)


@pytest.fixture
def joined(monkeypatch):
    """Makes scorers on links of their own, and closes them."""
    monkeypatch.setattr(link_module, "_AGAIN_SECONDS", 0.0)
    links = []

    def join(*, yields=False, **plan):
        links.append(Link(Plan(**plan), BUNDLE, PROGRAM))
        return ClusterScorer(MODEL, BUNDLE, links[-1], yields=yields)

    yield join
    for one in links:
        one.close()


def settled(scorer):
    deadline = time.monotonic() + SOON
    while scorer.standing().state is State.JOINING:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return scorer.standing()


def test_images_regions_and_urgency_come_across_and_scores_come_back_in_order(joined):
    scorer = joined()
    with asking_for([Priority.STAT]):
        found = scorer.score([picture(0.1), picture(0.2)], ["XR_KNEE", None])
    assert [(one.probability, one.seen_anatomy, one.strangeness) for one in found] == [
        (0.05, "XR_KNEE", Priority.STAT.rank),
        (0.1, None, Priority.STAT.rank),
    ]
    assert scorer.score([picture(0.5)])[0].strangeness == Priority.ROUTINE.rank
    assert scorer.score([]) == []
    scorer.require()


def test_a_shadow_is_after_everybody_else(joined):
    with asking_for([Priority.STAT]):
        assert joined(yields=True).score([picture(0.5)])[0].strangeness < Priority.ROUTINE.rank


def test_an_image_that_the_model_failed_on_is_the_image_s_fault(joined):
    with pytest.raises(RemoteScoringError, match="ValueError") as failed:
        joined().score([picture(0.1), picture(fakedriver.FAILS)])
    score, why = failed.value.results
    assert (score.probability, why) == (0.05, "ValueError")


def test_images_of_several_sizes_go_in_one_question_and_very_many_in_some(joined, monkeypatch):
    scorer, numbers = joined(), []
    sent = wire.send_question
    monkeypatch.setattr(wire, "send_question", lambda *what: (numbers.append(what[1].number), sent(*what)))
    found = scorer.score([np.full((side, side + 1), side / 100, np.float32) for side in (1, 20, 3)])
    assert [one.probability for one in found] == [0.005, 0.1, 0.015]
    assert numbers == [0]
    brightness = [round(0.01 * (number % 30), 2) for number in range(2 * wire.MOST_IMAGES + 1)]
    assert [one.probability for one in scorer.score([picture(one) for one in brightness])] == [
        one / 2 for one in brightness
    ]
    assert numbers == [0, 1, 2, 3]


def test_who_gives_fewer_answers_than_there_are_images_is_not_believed(joined):
    with pytest.raises(ModelUnavailableError, match="has ended"):
        joined().score([picture(0.1), picture(fakedriver.SHORT)])


def test_a_process_that_ends_costs_what_it_had_in_hand_and_is_started_again(joined):
    scorer = joined()
    with pytest.raises(ModelUnavailableError, match="has ended"):
        scorer.score([picture(fakedriver.ENDS)])
    assert scorer.score([picture(0.5)])[0].probability == 0.25


def test_a_process_that_hangs_is_given_up_after_its_time_and_started_again(joined, monkeypatch):
    monkeypatch.setattr(link_module, "_LATE_SECONDS", 0.0)
    scorer = joined(timeout_seconds=1.0)
    settled(scorer)
    with pytest.raises(ModelUnavailableError, match="hangs"):
        scorer.score([picture(fakedriver.HANGS)])
    settled(scorer)  # another one
    assert scorer.score([picture(0.5)])[0].probability == 0.25


def test_a_process_that_takes_nothing_any_more_holds_nobody_up_for_ever(joined, monkeypatch):
    monkeypatch.setattr(link_module, "_SEND_SECONDS", 1)
    scorer = joined(timeout_seconds=600.0)
    settled(scorer)
    errors = []

    def ask():
        with pytest.raises(ModelUnavailableError) as caught:
            scorer.score([picture(fakedriver.HANGS)])
        errors.append(caught.value)

    first = threading.Thread(target=ask)
    first.start()
    with pytest.raises(ModelUnavailableError):
        scorer.score([np.full((2000, 2000), 0.5, np.float32)])  # more than a socket holds
    first.join(30)
    assert len(errors) == 1


def test_a_process_that_takes_long_to_join_is_left_to_it(joined, monkeypatch):
    monkeypatch.setattr(link_module, "_LATE_SECONDS", 0.0)
    scorer = joined(address=fakedriver.JOINING_ADDRESS, timeout_seconds=1.0)
    with pytest.raises(ModelUnavailableError, match="joining the cluster"):
        scorer.score([picture(fakedriver.LATE)])
    assert scorer._link._process.status is None


def test_a_cluster_that_is_away_is_told_to_whoever_asks_whether_all_is_ready(joined):
    scorer = joined(address=fakedriver.AWAY_ADDRESS)
    settled(scorer)
    with pytest.raises(ModelUnavailableError, match="Ray: the cluster cannot be joined"):
        scorer.require()


def test_at_a_stop_nobody_waits_for_an_answer_for_long(joined):
    scorer, raised = joined(), []

    def wait():
        with pytest.raises(ModelUnavailableError, match="the agent stops"):
            scorer.score([picture(fakedriver.LATE)])
        raised.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    scorer._link.stop(0.1)
    waiting.join(SOON)
    assert raised == [True]


def test_after_the_end_nobody_is_asked(joined):
    scorer = joined()
    scorer.score([picture(0.5)])
    process = scorer._link._process
    scorer.close()
    assert process.status == 0  # it took its leave
    with pytest.raises(ModelUnavailableError, match="the agent stops"):
        scorer.score([picture(0.5)])


def test_a_cluster_of_one_s_own_has_a_token_that_nobody_knows_and_another_one_the_site_s(joined, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__WEB__SECRETS_KEY", "secret")
    ours = [settled(joined()).says for _ in range(2)]
    assert ours[0] != ours[1]
    assert len(ours[0]) > 40
    assert settled(joined(address="head:6379", token="theirs")).says == "token theirs"  # noqa: S106 - of a test
    assert "secret" not in str(link_module._environment(Plan()))


WITHOUT = """
import sys
sys.modules["torch"] = None  # whoever imports it fails
from triage_agent.settings import build_settings
from triage_agent.builders import build_scorer
from triage_agent import stages, worker, assessing, pipeline, shadow
from triage_agent.models.cluster import link
link.PROGRAM = tuple(sys.argv[1:])
link.Link.__init__.__defaults__ = (link.PROGRAM,)
scorer = build_scorer(build_settings({"model": {"runner": "ray", "shadow": "embedded"}}, "test"))
assessing.check_model(scorer)
assert scorer.identity.digest, "no bundle"
scorer.close()
assert "ray" not in sys.modules, "Ray is not for the agent's own process"
print(scorer.identity.digest)
"""


def test_a_worker_of_a_cluster_needs_neither_torch_nor_ray_in_its_own_process():
    package = str(Path(link_module.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *PROGRAM],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
        env=os.environ | {"PYTHONPATH": package},
    )
    assert (done.returncode, done.stdout.split()[-1]) == (0, load_bundle("embedded").digest), done.stderr
