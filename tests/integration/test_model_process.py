"""A bundle in a process of its own: the same scores, and what its end costs."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support import fakemodel
from support.agent import eventually
from support.bundles import write_constant_bundle
from support.fakemodel import ENDS, FAILS, HANGS, SAYS, SLOW, UNAVAILABLE, UNREADABLE
from support.story import MODEL
from support.xrays import picture

import triage_agent
from triage_agent.assessing import check_model
from triage_agent.builders import build_scorer, start_scorer
from triage_agent.domain.errors import BundleError, MissingPackageError, ModelUnavailableError, UnreadableImageError
from triage_agent.domain.urgency import asking_for
from triage_agent.domain.vocabulary import Priority
from triage_agent.models.apart import process as process_module
from triage_agent.models.apart import scorer as scorer_module
from triage_agent.models.apart.scorer import ApartScorer, ModelProcessError
from triage_agent.models.runner import Placement
from triage_agent.settings import Settings

FAKE = (sys.executable, fakemodel.__file__)
SOON = 60.0
KNEE = "XR_KNEE"


def bright(value):
    return np.full((4, 6), value, np.float32)


@pytest.fixture
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture
def scorer(path):
    made = ApartScorer("any", Placement(), FAKE)
    yield made
    made.close()


def ended(pid):
    """Whether a process that is not our child is gone."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_scores_are_those_of_the_same_bundle_in_this_process():
    images = [np.float32(picture(seed) / 65535) for seed in range(3)]
    here = build_scorer(Settings.model_validate({"model": {"device": "cpu"}}))
    there = start_scorer(Settings.model_validate({"model": {"device": "cpu"}}))
    try:
        assert there.score(images, [KNEE, None, KNEE]) == here.score(images, [KNEE, None, KNEE])
        assert there.score([]) == []
        assert (there.identity, there.device, there.sampled_side) == (here.identity, here.device, here.sampled_side)
    finally:
        there.close()


def test_what_is_asked_for_arrives_whole(scorer):
    tall = np.asfortranarray(np.full((3000, 20), 0.2, np.float32))
    with asking_for([Priority.STAT]):
        first, second = scorer.score([tall, bright(0.1)], [KNEE, None])
    assert (first.probability, first.seen_anatomy) == (0.1, KNEE)
    assert (second.probability, second.seen_anatomy) == (0.05, None)
    assert first.strangeness == Priority.STAT.rank
    assert (scorer.identity, scorer.sampled_side) == (MODEL, 448)


def test_a_process_that_was_killed_costs_a_restart(scorer):
    before = scorer.pid
    os.kill(before, 9)
    with capture_logs() as logs:
        assert scorer.score([bright(0.2)])[0].probability == 0.1
    assert scorer.pid != before
    assert [(line["event"], line.get("why")) for line in logs] == [
        ("model_process_ended", "was ended by SIGKILL"),
        ("model_process_started", None),
    ]


def test_an_image_that_ends_it_each_time_is_taken_for_the_reason_and_costs_no_other(scorer):
    with ThreadPoolExecutor(4) as threads:
        slow = [threads.submit(scorer.score, [bright(SLOW)]) for _ in range(3)]
        time.sleep(fakemodel.SLOW_SECONDS / 3)
        bad = threads.submit(scorer.score, [bright(ENDS)])
        assert isinstance(bad.exception(SOON), ModelProcessError)
        assert [one.result(SOON)[0].probability for one in slow] == [SLOW / 2] * 3
    check_model(scorer)


def test_what_went_wrong_there_is_told_here_and_no_librarys_words(scorer):
    with capture_logs() as logs, pytest.raises(ModelProcessError) as failed:
        scorer.score([bright(FAILS)])
    assert "DOE" not in str(failed.value) + str(logs)
    assert logs[-1]["error"] == "RuntimeError"
    assert "fakemodel.py" in logs[-1]["frames"][-1]
    with pytest.raises(UnreadableImageError, match="not within 0 and 1"):
        scorer.score([bright(UNREADABLE)])
    with pytest.raises(ModelUnavailableError, match="the device is full; buy another one"):
        scorer.score([bright(UNAVAILABLE)])


def test_who_waits_for_a_score_hears_at_once_that_the_agent_stops(scorer):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(scorer.score, [bright(HANGS)])
        time.sleep(0.2)
        pid = scorer.pid
        scorer.close()
        assert isinstance(waiting.exception(SOON), ModelUnavailableError)
    assert ended(pid)
    with pytest.raises(ModelUnavailableError, match="stopping"):
        scorer.score([bright(0.2)])


def test_a_process_that_gives_no_answer_is_ended(scorer, monkeypatch):
    monkeypatch.setattr(process_module, "_FIRST_ANSWER_SECONDS", 0.5)
    with capture_logs() as logs, pytest.raises(ModelProcessError):
        scorer.score([bright(HANGS)])
    assert {line["why"] for line in logs if "why" in line} == {"gave no answer within 0.5 s"}
    assert scorer.score([bright(0.2)])[0].probability == 0.1


def test_a_process_that_does_not_load_is_ended(scorer, monkeypatch):
    monkeypatch.setattr(process_module, "_LOAD_SECONDS", 0.5)
    scorer._ref = fakemodel.LOADS_FOR_EVER
    os.kill(scorer.pid, 9)
    with pytest.raises(ModelUnavailableError, match=r"took longer than 0\.5 s while it loaded"):
        scorer.score([bright(0.2)])


def test_a_model_that_hangs_is_told_of_as_not_ready(scorer, monkeypatch):
    monkeypatch.setattr(scorer_module, "_HANGS_SECONDS", 0.5)
    scorer.require()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(scorer.score, [bright(HANGS)])
        eventually(lambda: _says(scorer.require), SOON)
        scorer.close()
        assert isinstance(waiting.exception(SOON), ModelUnavailableError)
    scorer.require()


def _says(look):
    try:
        look()
    except ModelUnavailableError as error:
        return "has not answered" in error.message
    return False


def test_at_a_stop_what_is_scored_has_a_little_time(scorer, monkeypatch):
    monkeypatch.setattr(scorer_module, "_GRACE_SECONDS", 5 * fakemodel.SLOW_SECONDS)
    with ThreadPoolExecutor(2) as threads:
        ends, hangs = (threads.submit(scorer.score, [bright(value)]) for value in (SLOW, HANGS))
        time.sleep(0.2)
        scorer.stop()
        assert ends.result(SOON)[0].probability == SLOW / 2
        assert isinstance(hangs.exception(SOON), ModelUnavailableError)


def test_what_is_logged_there_is_logged_here(scorer):
    with capture_logs() as logs:
        scorer.score([bright(SAYS)])
    assert logs == [{"event": "device_memory_full", "bundle": "knees", "log_level": "warning"}]


def test_a_question_that_cannot_be_read_is_no_endless_wait(scorer):
    with pytest.raises(ModelProcessError, match="ended 3 times"):
        scorer.score([np.zeros((2, 2, 2), np.float32)])


def test_a_process_that_is_loading_ends_with_the_agent(path, tmp_path):
    ref = tmp_path / "bundle"
    ref.write_text("")
    scorer = ApartScorer(str(ref), Placement(), FAKE)
    scorer._ref = fakemodel.LOADS_FOR_EVER
    os.kill(scorer.pid, 9)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(scorer.score, [bright(0.2)])
        eventually(lambda: scorer._starting, SOON)
        closing = threading.Thread(target=scorer.close)
        closing.start()
        assert isinstance(waiting.exception(SOON), ModelUnavailableError)
        closing.join(SOON)
        assert not closing.is_alive()


@pytest.mark.parametrize(
    ("ref", "error", "words"),
    [
        (fakemodel.NONE, BundleError, "there is none; train one"),
        (fakemodel.NO_TORCH, ModuleNotFoundError, "torch"),
        (fakemodel.ENDS_WHILE_LOADING, BundleError, "ended with exit status 3 while it loaded"),
    ],
)
def test_a_bundle_that_cannot_be_loaded_is_told_as_in_this_process(path, ref, error, words):
    with pytest.raises(error, match=words):
        ApartScorer(ref, Placement(), FAKE)


def test_a_program_that_is_not_there_is_told(path):
    with pytest.raises(BundleError, match="cannot be started"):
        ApartScorer("any", Placement(), ["/nowhere/python"])


@pytest.mark.parametrize(("then", "words"), [(fakemodel.OTHER, "the bundle has changed"), (fakemodel.NONE, "any more")])
def test_a_bundle_that_is_another_one_after_a_restart_scores_nothing(path, tmp_path, then, words):
    ref = tmp_path / "bundle"
    ref.write_text("")
    scorer = ApartScorer(str(ref), Placement(), FAKE)
    try:
        ref.write_text(then)
        os.kill(scorer.pid, 9)
        with pytest.raises(ModelUnavailableError, match=words):
            scorer.score([bright(0.2)])
        ref.write_text("")
        assert scorer.score([bright(0.2)])[0].probability == 0.1
    finally:
        scorer.close()


def test_a_missing_package_is_told_with_its_extra(path, monkeypatch):
    monkeypatch.setattr(process_module, "PROGRAM", FAKE)
    monkeypatch.setattr(ApartScorer.__init__, "__defaults__", (FAKE,))
    with pytest.raises(MissingPackageError, match="torch is not installed"):
        start_scorer(Settings.model_validate({"model": {"bundle": fakemodel.NO_TORCH}}))


LEFT_BEHIND = """
import sys, time
from triage_agent.models.apart.scorer import ApartScorer
from triage_agent.models.runner import Placement
scorer = ApartScorer("any", Placement(), sys.argv[1:])
print(scorer.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_it_ends_with_the_process_that_asks_it_and_has_none_of_its_secrets(path):
    package = str(Path(triage_agent.__file__).parents[1])
    paths = os.pathsep.join([package, os.environ["PYTHONPATH"]])
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND, *FAKE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "TRIAGE_DATABASE_PASSWORD": "hunter2", "HF_TOKEN": "hunter2"},
    ) as parent:
        pid = int(parent.stderr.readline())
        environment = Path(f"/proc/{pid}/environ").read_text()
        assert "PYTHONPATH" in environment
        assert "hunter2" not in environment
        assert "HF_TOKEN" not in environment
        parent.kill()
    eventually(lambda: ended(pid), SOON)


WITHOUT = """
import sys
from triage_agent import assessing, bootstrap, pipeline, shadow, stages, worker
from triage_agent.builders import start_scorer, start_shadow
from triage_agent.settings import build_settings
settings = build_settings({"model": {"shadow": sys.argv[1]}}, "test")
scorers = [start_scorer(settings), start_shadow(settings)]
for scorer in scorers:
    assessing.check_model(scorer)
    scorer.close()
assert "torch" not in sys.modules, "torch is not for the agent's own process"
print(scorers[0].identity.digest, scorers[1].identity.digest, file=sys.stderr)
"""


def test_an_agent_whose_models_have_processes_needs_no_torch_in_its_own(tmp_path):
    write_constant_bundle(tmp_path / "shadow", bias=0.0)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "shadow")],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(triage_agent.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert len(set(done.stderr.split())) == 2
