"""Two bundles in one agent on SQLite: one decides, the other is compared with it, and can do nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.agent import eventually
from support.bundles import write_constant_bundle
from support.instances import write_part10
from support.story import received
from support.xrays import radiograph

from triage_agent import bootstrap
from triage_agent.domain.errors import ConfigurationError
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

    monkeypatch.setattr(bootstrap, "build_shadow", lambda _settings: Crashing())
    with bootstrap.build_agent(settings, "worker") as agent:
        uid = decided(agent).item.study_instance_uid
        eventually(lambda: counted(agent, "failed"), every=0.02)
        page = agent.worklist.study(uid)
    assert (page.item.status, page.item.finding, page.shadow) == (Status.DECIDED, Finding.NORMAL, None)


def test_a_shadow_bundle_that_cannot_be_loaded_is_a_wrong_configuration(settings):
    """`serve` ends with 2 on it, as with the deciding bundle."""
    (settings.data_dir / "shadow" / "head.safetensors").write_bytes(b"tampered")
    with pytest.raises(ConfigurationError, match=r"\[model\] shadow: "), bootstrap.build_agent(settings, "worker"):
        pass
