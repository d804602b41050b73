"""Two bundles in one agent on SQLite: one decides, the other is compared with it, and can do nothing else."""

import json
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from structlog.testing import capture_logs
from support.agent import eventually
from support.agent import free_port as another_port
from support.bundles import write_constant_bundle
from support.instances import write_part10
from support.story import MODEL, received
from support.xrays import radiograph

from triage_agent import bootstrap
from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import Finding, Priority, Status
from triage_agent.models.bundle import load_bundle
from triage_agent.settings import Settings

EVER = datetime(2020, 1, 1, tzinfo=UTC)
NORMAL, ABNORMAL = -2.0, 2.0  # probabilities 0.12 and 0.88


@pytest.fixture
def settings(tmp_path, free_port):
    write_constant_bundle(tmp_path / "deciding", bias=NORMAL)
    write_constant_bundle(tmp_path / "shadow", bias=ABNORMAL)
    return Settings.model_validate(
        {
            "data_dir": tmp_path,
            "study": {"quiet_seconds": 0.2},
            "model": {
                "bundle": str(tmp_path / "deciding"),
                "shadow": str(tmp_path / "shadow"),
                "device": "cpu",
                "threads": 1,
            },
            "web": {"port": free_port},
            "dicom": {"port": another_port()},
        }
    )


@pytest.fixture
def decided(settings, tmp_path):
    """Lets a running agent decide a study of one image; returns its worklist's page."""
    image = radiograph(seed=1)
    (tmp_path / "spool").mkdir()
    path = write_part10(tmp_path / "spool" / "image.dcm", image)

    def wait(agent):
        came = received(study=image.StudyInstanceUID, image=image.SOPInstanceUID, at=datetime.now(UTC))
        agent.worklist.register(replace(came, path=path.name), settings.study.rule())
        return eventually(
            lambda: (page := agent.worklist.study(image.StudyInstanceUID)).item.decided_at and page, every=0.02
        )

    return wait


def counted(agent, agrees):
    return f'triage_shadow_total{{agrees="{agrees}"}} 1.0'.encode() in agent.metrics.exposition()


def test_the_shadow_s_opinion_is_kept_and_counted_and_the_deciding_bundle_decides(settings, decided):
    shadow = load_bundle(settings.model.shadow).identity
    with bootstrap.build_agent(settings, "worker") as agent:
        uid = decided(agent).item.study_instance_uid
        eventually(lambda: counted(agent, "false"), every=0.02)
        page = agent.worklist.study(uid)
        (compared,) = agent.worklist.comparisons(EVER)
    assert (page.item.status, page.item.finding, page.item.priority) == (
        Status.DECIDED,
        Finding.NORMAL,
        Priority.ROUTINE,
    )
    assert page.item.probability == pytest.approx(0.119, abs=0.001)
    assert (page.shadow.bundle, page.shadow.finding, page.shadow.agrees) == (shadow.label, Finding.ABNORMAL, False)
    assert page.shadow.probability == pytest.approx(0.881, abs=0.001)
    assert page.instances[0].assessment.shadow_digest == shadow.digest
    assert compared.shadow == page.shadow


def test_a_shadow_that_crashes_is_counted_and_the_study_decided_all_the_same(settings, decided, monkeypatch):
    class Crashing:
        identity = load_bundle(settings.model.shadow).identity

        def score(self, images, anatomies=()):
            raise RuntimeError("CUDA error: Doe^Jane")

    monkeypatch.setattr(bootstrap, "start_shadow", lambda _settings: Crashing())
    with bootstrap.build_agent(settings, "worker") as agent:
        uid = decided(agent).item.study_instance_uid
        eventually(lambda: counted(agent, "failed"), every=0.02)
        page = agent.worklist.study(uid)
    assert (page.item.status, page.item.finding, page.shadow) == (Status.DECIDED, Finding.NORMAL, None)


def tampered(folder):
    (folder / "head.safetensors").write_bytes(b"tampered")


def without_memory(_settings):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("break_it", "says"), [(tampered, "head.safetensors"), (without_memory, "OutOfMemoryError"), (None, None)]
)
def test_a_shadow_bundle_that_cannot_be_loaded_is_told_once_and_the_agent_serves_without_it(
    settings, decided, monkeypatch, break_it, says
):
    """None: it can be loaded."""
    if break_it is tampered:
        tampered(settings.data_dir / "shadow")
    elif break_it:
        monkeypatch.setattr(bootstrap, "start_shadow", break_it)
    with capture_logs() as lines, bootstrap.build_agent(settings, "all") as agent:
        page = decided(agent)
        loaded = f'triage_shadow_loaded{{bundle="{settings.model.shadow}"}} {0.0 if says else 1.0}'
        assert loaded.encode() in agent.metrics.exposition()
    assert (page.item.status, page.item.finding) == (Status.DECIDED, Finding.NORMAL)
    told = [(line["log_level"], line["error"]) for line in lines if line["event"] == "shadow_not_loaded"]
    assert [level for level, _ in told] == (["error"] if says else [])
    assert all(says in error for _, error in told)


def test_an_agent_without_a_shadow_has_no_metric_of_its_loading(settings):
    alone = settings.model_copy(update={"model": settings.model.model_copy(update={"shadow": ""})})
    with bootstrap.build_agent(alone, "worker") as agent:
        assert b"triage_shadow_loaded{" not in agent.metrics.exposition()


class Ordered:
    """A scorer that writes down what the agent was when it was first asked."""

    identity = MODEL

    def __init__(self, name, happened, port):
        self.name, self.happened, self.port = name, happened, port

    def score(self, images, anatomies=()):
        with pytest.raises(urllib.error.HTTPError) as not_ready:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=30)
        with not_ready.value:
            self.happened.append((self.name, not_ready.value.code, sorted(json.load(not_ready.value)["problems"])))
        return [ImageScore(probability=0.25) for _ in images]


def test_both_bundles_have_scored_a_test_image_before_the_agent_is_ready(settings, monkeypatch):
    """The first inference of a compiled bundle takes minutes."""
    happened = []
    for build, name in (("start_scorer", "deciding"), ("start_shadow", "shadow")):
        scorer = Ordered(name, happened, settings.web.port)
        monkeypatch.setattr(bootstrap, build, lambda _settings, scorer=scorer: scorer)
    with bootstrap.build_agent(settings, "worker"):
        assert sorted(happened) == [("deciding", 503, ["start"]), ("shadow", 503, ["start"])]
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.web.port}/readyz", timeout=30) as ready:
            assert ready.status == 200
    assert len(happened) == 2
