"""What a whole worker process says of itself while its model is broken, and what becomes of the images meanwhile."""

import json
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from support.agent import eventually
from support.instances import dx, write_part10
from support.story import MODEL, RULE, received

from triage_agent import bootstrap, worker
from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import Outcome
from triage_agent.settings import Settings


class Breakable:
    """A scorer whose device may fail."""

    identity = MODEL

    def __init__(self):
        self.broken = False
        self.asked = 0

    def score(self, images, anatomies=()):
        self.asked += 1
        if self.broken:
            raise RuntimeError("CUDA error: Doe^Jane")
        return [ImageScore(probability=0.25) for _ in images]


@pytest.fixture
def scorer(monkeypatch):
    made = Breakable()
    monkeypatch.setattr(bootstrap, "start_scorer", lambda settings: made)
    monkeypatch.setattr(worker, "_MODEL_AWAY_SECONDS", 0.001)
    return made


def image_in(spool):
    """Puts an image there; returns its file's name and its SOP Instance UID."""
    data_set = dx(StudyInstanceUID="1.2.1", BodyPartExamined="KNEE")
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns, data_set.PixelRepresentation = 64, 64, 0
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelData = np.linspace(0, 4095, 64 * 64).astype(np.uint16).tobytes()
    data_set["PixelData"].VR = "OW"
    spool.mkdir(parents=True)
    write_part10(spool / "image.dcm", data_set)
    return "image.dcm", str(data_set.SOPInstanceUID)


def problems_at(port):
    """What /readyz says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            return json.load(answer)["problems"]
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)["problems"]


def test_a_worker_whose_model_scores_nothing_is_not_ready_and_scores_its_images_once_it_does(
    tmp_path, free_port, scorer
):
    path, uid = image_in(tmp_path / "spool")
    settings = Settings.model_validate({"data_dir": tmp_path, "web": {"port": free_port}})
    with bootstrap.build_agent(settings, "worker") as agent:
        assert problems_at(free_port) == {}
        scorer.broken = True
        image = replace(received(image=uid, at=datetime.now(UTC)), path=path)
        agent.worklist.register(image, RULE)
        assert "scores nothing (RuntimeError)" in eventually(lambda: problems_at(free_port), every=0.01)["model"]
        asked = scorer.asked
        eventually(lambda: scorer.asked > asked + 5)  # it goes on trying, and claims nothing that it could not score
        assert agent.worklist.study("1.2.1").instances[0].assessment is None
        scorer.broken = False
        eventually(lambda: agent.worklist.study("1.2.1").instances[0].assessment)
        assert problems_at(free_port) == {}
        assert agent.worklist.study("1.2.1").instances[0].assessment.outcome is Outcome.SCORED


def test_a_worker_whose_model_scores_nothing_from_the_start_on_says_so_until_it_does(tmp_path, free_port, scorer):
    settings = Settings.model_validate({"data_dir": tmp_path, "web": {"port": free_port}})
    scorer.broken = True
    with bootstrap.build_agent(settings, "worker") as agent:
        asked = scorer.asked
        eventually(lambda: scorer.asked > asked)
        assert problems_at(free_port).keys() == {"model"}
        scorer.broken = False
        eventually(lambda: problems_at(free_port) == {}, every=0.01)
        assert agent.worklist.items() == []
