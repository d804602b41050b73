"""`evaluate` from a MURA layout to document and page, with a scorer that is wrong about everything."""

import json

import numpy as np
import pytest
from support.radiographs import write_mura

from triage_agent.domain.study import ImageScore
from triage_agent.learning import evaluate as module
from triage_agent.learning.corruptions import CORRUPTIONS
from triage_agent.learning.evaluate import Extras, evaluate

PLAIN = {
    "overall",
    "anatomies",
    "n",
    "images",
    "bundle",
    "data",
    "by_image",
    "calls",
    "reliability",
    "subgroups",
    "conformal",
    "outliers",
}
PLAIN |= {"misses", "studies"}


@pytest.fixture
def scored(monkeypatch):
    """Every image that was scored, by one who takes plain images for abnormal ones."""
    seen = []

    class Backwards:
        def __init__(self, bundle, device, encoder_source):
            self.source = encoder_source

        def score(self, images, anatomies):
            seen.extend(images)
            assert anatomies == ["XR_KNEE"] * len(images)
            return [
                ImageScore(probability=1 - float(np.clip(4 * image.std(), 0, 1)), strangeness=1.5 * (place == 0))
                for place, image in enumerate(images)
            ]

    monkeypatch.setattr(module, "load_scorer", Backwards)
    return seen


@pytest.fixture
def root(tmp_path):
    return write_mura(tmp_path / "mini", splits=("valid",))


def test_a_plain_evaluation_scores_each_image_once(root, scored):
    document = evaluate(root, "embedded", resamples=20).to_json()
    assert document.keys() == PLAIN
    assert len(scored) == document["images"] == document["by_image"]["overall"]["n"] == 24
    assert document["n"] == 12
    assert document["subgroups"].keys() == {"side"}
    assert [study["label"] for study in document["studies"]].count(1) == 6


@pytest.mark.parametrize(("limit", "refused"), [(1.0, 1), (1.5, 0), (0.0, 0)])
def test_what_the_outlier_limit_refuses_is_counted(root, scored, tmp_path, limit, refused):
    document = evaluate(root, "embedded", resamples=5, outlier_limit=limit, out=tmp_path).to_json()
    assert document["outliers"]["overall"] == {
        "images": {"n": 24, "refused": refused, "share": refused / 24},
        "studies": {"n": 12, "refused": refused, "share": refused / 12},
    }
    assert document["outliers"]["anatomies"] == {"XR_KNEE": document["outliers"]["overall"]}
    row = f"<td>24</td><td>{refused}</td><td>{refused / 24:.1%}</td><td>12</td><td>{refused}</td>"
    assert row in (tmp_path / "report.html").read_text()


def test_what_is_asked_for_is_added_and_progress_ends_at_all(root, scored):
    told = []
    document = evaluate(
        root,
        "embedded",
        resamples=20,
        extras=Extras(compare="embedded", robustness=True, probes=True, sample=4),
        progress=lambda *counts: told.append(counts),
    ).to_json()
    assert document.keys() == PLAIN | {"comparison", "sample", "robustness", "probes"}
    assert document["sample"] == {"studies": 4, "abnormal": 2, "images": 8, "seed": 0}
    changes = 1 + 5 * len(CORRUPTIONS) + 3
    assert len(scored) == 24 + 24 + 8 * changes
    assert told[-1] == (len(scored), len(scored))
    assert document["comparison"]["overall"]["auroc"]["difference"]["value"] == 0
    assert document["comparison"]["bundle"]["digest"] == document["bundle"]["digest"]
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("thumbnails", [True, False])
def test_the_page_shows_pixels_only_where_it_may(root, scored, tmp_path, monkeypatch, thumbnails):
    report = evaluate(root, "embedded", resamples=20, out=tmp_path / "out", extras=Extras(thumbnails=thumbnails))
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document == json.loads(json.dumps(report.to_json()))
    missed = sum(map(len, document["misses"].values()))
    assert missed > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("image/jpeg") == (missed if thumbnails else 0)


def test_the_configured_weights_are_used_for_a_second_bundle_of_the_same_encoder(root, monkeypatch):
    asked = []

    class Source:
        def __init__(self, bundle, device, encoder_source):
            asked.append(encoder_source)

        def score(self, images, anatomies):
            return [ImageScore(probability=0.5)] * len(images)

    monkeypatch.setattr(module, "load_scorer", Source)
    evaluate(root, "embedded", resamples=5, encoder_source="/srv/medgemma", extras=Extras(compare="embedded"))
    assert asked == ["/srv/medgemma"] * 2
