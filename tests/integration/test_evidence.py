"""Evidence from a whole worker on SQLite: nothing of it unless a site turns it on, then by the bundle that decided."""

import csv
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from structlog.testing import capture_logs
from support.agent import eventually
from support.agent import free_port as another_port
from support.bundles import write_constant_bundle
from support.data import shared_data
from support.evidence import drawn_in
from support.instances import write_part10
from support.story import received
from support.xrays import radiograph

from triage_agent import bootstrap
from triage_agent.domain.vocabulary import ArtifactKind, Finding
from triage_agent.settings import Settings

STUDY = "1.2.840.99.7"
EVIDENCE = {ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC}


@pytest.fixture
def site(tmp_path, free_port):
    """Settings of a worker that has somewhere to send to, and puts images on its worklist."""
    (tmp_path / "spool").mkdir()
    return Site(tmp_path, free_port)


class Site:
    def __init__(self, folder, web_port):
        self.folder, self.web_port = folder, web_port

    def settings(self, bundle="embedded", *, evidence=True):
        sends = ["sc", *(sorted(EVIDENCE) if evidence else [])]
        values = {
            "data_dir": self.folder,
            "study": {"quiet_seconds": 0.2},
            "model": {"bundle": str(bundle), "device": "cpu", "threads": 1},
            "web": {"port": self.web_port},
            "dicom": {
                "port": another_port(),
                "peers": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": another_port()}],
            },
            "routes": [{"to": "pacs", "send": sends}],
            "results": {"evidence": evidence},
        }
        return Settings.model_validate(values)

    def decided(self, agent, settings, image):
        """Let it decide a study of this image; what its worklist says of it."""
        path = write_part10(self.folder / "spool" / f"{image.SOPInstanceUID}.dcm", image)
        came = received(study=image.StudyInstanceUID, image=image.SOPInstanceUID, at=datetime.now(UTC))
        agent.worklist.register(replace(came, path=path.name), settings.study.rule())
        return eventually(
            lambda: (page := agent.worklist.study(image.StudyInstanceUID)).item.decided_at and page, every=0.02
        )


def counted(agent, outcome):
    return f'triage_evidence_total{{outcome="{outcome}"}} 1.0'.encode() in agent.metrics.exposition()


def made(agent, image):
    found = agent.worklist.results_of(str(image.StudyInstanceUID), 9)
    return {one.kind: dcmread(BytesIO(one.body)) for one in found if one.kind.is_evidence}


def real_radiograph():
    """An abnormal knee (Kellgren and Lawrence grade 4) of the held-out ones, as a DX image."""
    root = shared_data("knees")
    with (root / "valid_grades.csv").open(encoding="utf-8") as rows:
        path = next(row["image"] for row in csv.DictReader(rows) if row["kl_grade"] == "4")
    with Image.open(root / path) as opened:
        pixels = np.asarray(opened.convert("L")).astype(np.uint16) * 16
    return radiograph(pixels, study=STUDY, WindowCenter=2048, WindowWidth=4096)


@pytest.mark.shared
def test_the_embedded_bundle_shows_where_a_real_radiograph_s_score_comes_from(site):
    image, settings = real_radiograph(), site.settings()
    with bootstrap.build_agent(settings, "worker") as agent:
        page = site.decided(agent, settings, image)
        assert page.item.finding is Finding.ABNORMAL
        eventually(lambda: counted(agent, "queued"), every=0.05)
        found = made(agent, image)
    assert set(found) == EVIDENCE
    (lines,) = drawn_in(found[ArtifactKind.EVIDENCE_GSPS]).values()
    assert lines
    for line in lines:
        assert (line >= 0).all()
        assert (line <= (image.Columns, image.Rows)).all()
        assert np.ptp(line, axis=0).min() > 5
    picture = found[ArtifactKind.EVIDENCE_SC].pixel_array.astype(int)
    coloured = np.ptp(picture, axis=2) > 40
    assert 0.01 < coloured.mean() < 0.9  # the map lies on a part of the image, and not on all of it


def test_without_the_switch_nothing_of_it_is_made(site):
    bundle = site.folder / "bundle"
    write_constant_bundle(bundle, bias=2.0)
    settings, image = site.settings(bundle, evidence=False), radiograph(seed=1, study=STUDY)
    with bootstrap.build_agent(settings, "worker") as agent:
        page = site.decided(agent, settings, image)
        assert b"triage_evidence_total{" not in agent.metrics.exposition()
    assert (page.item.finding, {row.kind for row in page.deliveries}) == (Finding.ABNORMAL, {ArtifactKind.SC})


def test_a_bundle_whose_maps_cannot_be_made_decides_all_the_same(site, monkeypatch):
    def broken(*_args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("triage_agent.models.explaining.load_explainer", broken)
    bundle = site.folder / "bundle"
    write_constant_bundle(bundle, bias=2.0)
    settings, image = site.settings(bundle), radiograph(seed=1, study=STUDY)
    with capture_logs() as lines, bootstrap.build_agent(settings, "worker") as agent:
        page = site.decided(agent, settings, image)
    assert {row.kind for row in page.deliveries} == {ArtifactKind.SC}
    assert [line["error"] for line in lines if line["event"] == "evidence_not_loaded"] == ["RuntimeError"]
