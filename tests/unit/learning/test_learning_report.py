"""The page and the document: what is in one is in the other, and nothing of a patient is in either."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from triage_agent.learning import plots
from triage_agent.learning.compare import Judge, comparison
from triage_agent.learning.corruptions import CORRUPTIONS
from triage_agent.learning.details import by_image, calls, described_studies, names_of, reliability
from triage_agent.learning.metrics import StudyScore, block
from triage_agent.learning.misses import MISSES, SIDE, worst_misses, worst_pictures
from triage_agent.learning.mura import read_roots
from triage_agent.learning.report import Section, render

BUNDLE = {"name": "ours", "version": "1", "digest": "a" * 64, "threshold": 0.5, "alert": 0.9, "clinical_use": False}
ESTIMATE = {"value": 0.8, "low": 0.7, "high": 0.9}


def scores_of(count=60, seed=0, patient="patient{:05d}"):
    generator = np.random.default_rng(seed)
    rows = [(f"XR_{'HAND' if n % 3 else 'WRIST'}", patient.format(n), n % 2) for n in range(count)]
    return [
        StudyScore(
            study=f"valid/{anatomy}/{name}/study1_{'positive' if label else 'negative'}",
            patient=name,
            anatomy=anatomy,
            label=label,
            probability=float(np.clip(0.25 + 0.3 * label + 0.5 * generator.random(), 0, 1)),
        )
        for anatomy, name, label in rows
    ]


def document_of(scores, **more):
    figures = block(scores, 0.5, resamples=20).to_json()
    regions = sorted({score.anatomy for score in scores})
    own = {name: block([s for s in scores if s.anatomy == name], 0.5, resamples=20).to_json() for name in regions}
    document = {
        "overall": figures,
        "anatomies": own,
        "by_image": {"overall": figures, "anatomies": own},
        "subgroups": {},
        "n": len(scores),
        "images": len(scores),
        "bundle": BUNDLE,
        "data": {"roots": ["<mura>"], "split": "valid"},
    }
    return json.loads(json.dumps(document | described_studies(scores, 0.5) | more))


def stressed():
    cells = [
        {"severity": s, "level": 0.5, "auroc": ESTIMATE, "sensitivity": 0.7, "specificity": 0.6} for s in range(1, 6)
    ]
    row = {"unit": "factor", "mean": 0.8, "severities": cells}
    probe = {"auroc": ESTIMATE, "drop": ESTIMATE, "passed": True, "verdict": "It holds."}
    return {
        "sample": {"studies": 40, "abnormal": 20, "images": 40, "seed": 0},
        "robustness": {
            "clean": ESTIMATE | {"sensitivity": 0.7, "specificity": 0.6},
            "mean": ESTIMATE,
            "drop": ESTIMATE,
            "corruptions": dict.fromkeys(CORRUPTIONS, row),
        },
        "probes": {
            "border_masked": probe,
            "marker_removed": probe | {"images_with_marker": 3, "images": 40},
            "background_only": probe | {"masked_by": {"foreground": 30, "centre_box": 10}},
        },
    }


def compared(scores):
    other = [StudyScore(**(vars_of(s) | {"probability": s.probability**2})) for s in scores]
    found = comparison(Judge(scores, 0.5), Judge(other, 0.4), seed=0, resamples=20)
    return {"bundle": BUNDLE | {"name": "theirs"}, **found, "probabilities": [s.probability for s in other]}


def vars_of(score):
    return {name: getattr(score, name) for name in ("study", "patient", "anatomy", "label", "probability")}


def titles(page):
    return re.findall("<h2>(.*?)</h2>", page)


def test_a_plain_document_gives_the_plain_sections_and_stands_alone():
    page = render(document_of(scores_of()))
    assert titles(page) == ["Studies", "Images", "Curves", "Worst misses"]
    assert page.count("data:image/svg+xml;base64,") == 6
    assert "http" not in page
    assert "&lt;mura&gt;" in page
    assert "not for clinical use" in page


def test_each_part_that_was_asked_for_has_its_section():
    scores = scores_of()
    groups = {"sex": {"F": block(scores, 0.5, resamples=5).to_json(), "M": {"n": 7}}}
    page = render(document_of(scores, comparison=compared(scores), subgroups=groups, **stressed()))
    wanted = ["Studies", "Images", "Curves", "Comparison", "Subgroups", "Robustness", "Shortcut probes", "Worst misses"]
    assert titles(page) == wanted
    assert "<td>M</td><td>7</td><td>&ndash;</td>" in page
    assert "theirs" in page
    assert "marker was found in 3 of 40" in page
    assert page.count("data:image/svg+xml;base64,") == 8


def test_the_same_document_gives_the_same_bytes_and_takes_further_sections():
    document = document_of(scores_of())
    page = render(document, extra=[Section("Coverage", "<p>conformal</p>")])
    assert page == render(document, extra=[Section("Coverage", "<p>conformal</p>")])
    assert titles(page)[-2:] == ["Coverage", "Worst misses"]


def test_one_class_and_no_misses_can_be_drawn_too():
    scores = [score for score in scores_of() if score.label == 0 and score.probability < 0.5]
    page = render(document_of(scores))
    assert titles(page)[-1] == "Worst misses"
    assert page.count("None.") == 2


def test_calls_and_reliability_count_every_study_once():
    scores = scores_of()
    called = calls(scores, 0.5)
    assert called["true_positive"] + called["false_negative"] == 30
    assert called["false_positive"] == sum(s.label == 0 and s.probability >= 0.5 for s in scores)
    bins = reliability(scores)
    assert sum(one["n"] for one in bins) == 60
    assert sum(one["n"] * one["abnormal"] for one in bins if one["n"]) == pytest.approx(30)
    assert all(one["low"] <= one["said"] <= one["high"] for one in bins if one["n"])


def test_a_patient_folder_that_is_no_pseudonym_is_shown_nowhere():
    scores = scores_of(patient="Doe^Jane{:02d}")
    assert set(names_of(scores).values()) == {f"study {n} of the list" for n in range(1, 61)}
    document = document_of(scores)
    assert "Doe" not in json.dumps(document)
    assert "Doe" not in render(document)
    known = names_of(scores_of(count=2))
    assert list(known.values()) == ["patient00000/study1_negative", "patient00001/study1_positive"]


def test_the_worst_misses_are_the_most_confident_ones():
    scores = scores_of(count=200)
    found = worst_misses(scores, 0.5)
    missed = sorted(s.probability for s in scores if s.label and s.probability < 0.5)
    raised = sorted((s.probability for s in scores if not s.label and s.probability >= 0.5), reverse=True)
    assert [s.probability for s in found["false_negatives"]] == missed[:MISSES]
    assert [s.probability for s in found["false_positives"]] == raised[:MISSES]


def test_a_miss_is_shown_by_the_image_that_was_furthest_off(layout):
    entries = [("valid", "XR_HAND", f"patient{n:05d}", f"study1_{n}", n % 2, None) for n in range(2) for _ in range(2)]
    root = layout(entries)
    images = read_roots([root], "valid")
    for grey, image in zip((50, 100, 150, 200), images, strict=True):
        Image.fromarray(np.full((400, 300), grey, dtype=np.uint8)).save(image.path)
    by_study = {image.study: image for image in images}
    scores = [
        StudyScore(study=study, patient=image.patient, anatomy="XR_HAND", label=image.label, probability=p)
        for (study, image), p in zip(by_study.items(), (0.9, 0.2), strict=True)
    ]
    pictures = worst_pictures(images, [0.85, 0.95, 0.1, 0.3], scores, 0.5)
    greys = []
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as opened:
            assert opened.size == (SIDE * 3 // 4, SIDE)
            greys.append(round(float(np.asarray(opened).mean())))
    assert greys == [150, 100]  # the false negative's lowest image, then the false positive's highest
    document = document_of(scores)
    page = render(document, pictures)
    assert all(base64.b64encode(picture).decode() in page for picture in pictures)
    assert "image/jpeg" not in render(document)


def test_image_figures_count_each_image_for_itself(layout):
    entries = [("valid", "XR_HAND", f"patient{n:05d}", f"study1_{n}", n % 2, None) for n in range(8) for _ in range(3)]
    images = read_roots([layout(entries)], "valid")
    figures = by_image(images, [0.2 + 0.6 * image.label for image in images], 0.5, seed=0, resamples=10)
    assert figures["overall"]["n"] == figures["anatomies"]["XR_HAND"]["n"] == 24
    assert figures["overall"]["accuracy"]["value"] == 1.0


def test_curves_start_and_end_where_they_must():
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.8, 0.1])
    assert [axis.tolist() for axis in plots.roc_points(labels, probabilities)] == [[0, 0, 0.5, 1], [0, 0.5, 1, 1]]
    recalls, precisions = plots.precision_recall_points(labels, probabilities)
    assert recalls.tolist() == [0.5, 1, 1]
    assert precisions.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
