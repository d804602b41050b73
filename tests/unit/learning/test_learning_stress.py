"""Robustness and shortcut probes, with scorers that look at one known thing."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from triage_agent.learning.corruptions import CORRUPTIONS
from triage_agent.learning.mura import DataError, read_roots
from triage_agent.learning.probes import BACKGROUND, BORDER, MARKER, Probes
from triage_agent.learning.robustness import corruption_variants, robustness
from triage_agent.learning.variants import CLEAN, LONGEST, Measured, sample_studies, score_variants, shrunk

SIDE = 64
LIMB = (slice(14, 50), slice(20, 44))


class Looking:
    """A scorer whose probability is the mean of one part of the image."""

    def __init__(self, *part):
        self.part = part

    def score(self, images, anatomies):
        return [SimpleNamespace(probability=float(np.mean(image[self.part]))) for image in images]


@pytest.fixture
def knees(layout):
    """Forty studies: a limb that is brighter where it is abnormal, on black, and a marker where it is abnormal."""
    entries = [("valid", "XR_KNEE", f"patient{n:05d}", f"study1_{n % 2}", n % 2, None) for n in range(40)]
    root = layout(entries)
    for number, image in enumerate(read_roots([root], "valid")):
        pixels = np.random.default_rng(number).normal(10, 2, (SIDE, SIDE))
        pixels[LIMB] += 100 + 30 * image.label
        pixels[4:9, 4:7] = 255 * image.label + pixels[4:9, 4:7] * (1 - image.label)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(image.path)
    return read_roots([root], "valid")


def probed(images, scorer):
    probes = Probes()
    scores = score_variants(scorer, images, probes.variants(), lambda _: None)
    return probes.report(Measured(images, scores, seed=0, resamples=100))


def test_a_bundle_that_looks_at_the_limb_passes_every_probe(knees):
    found = probed(knees, Looking(*LIMB))
    assert {name: one["passed"] for name, one in found.items()} == {BORDER: True, MARKER: True, BACKGROUND: True}
    assert found[BORDER]["auroc"]["value"] == 1.0
    assert found[BACKGROUND]["auroc"]["value"] == pytest.approx(0.5)
    assert found[BACKGROUND]["masked_by"] == {"foreground": 40, "centre_box": 0}
    assert found[MARKER]["images_with_marker"] == 20


def test_a_bundle_that_looks_at_the_marker_fails_the_probes_that_take_or_leave_it(knees):
    found = probed(knees, Looking(slice(4, 9), slice(4, 7)))
    assert found[MARKER]["passed"] is False
    assert "makes use of it" in found[MARKER]["verdict"]
    assert found[MARKER]["drop"]["value"] > 0.3
    assert found[BACKGROUND]["passed"] is False
    assert found[BACKGROUND]["auroc"]["value"] == 1.0


def test_a_bundle_that_looks_at_the_border_fails_that_probe(knees):
    assert probed(knees, Looking(slice(0, 6)))[BORDER]["passed"] is False


def test_where_no_marker_is_found_the_probe_says_so(knees):
    for image in knees:
        with Image.open(image.path) as picture:
            plain = np.asarray(picture).copy()
        plain[:12] = 10
        Image.fromarray(plain).save(image.path)
    found = probed(knees, Looking(*LIMB))
    assert found[MARKER]["images_with_marker"] == 0
    assert found[MARKER]["passed"] is None


def test_pictures_that_are_all_anatomy_soften_the_verdict(knees):
    for image in knees:
        with Image.open(image.path) as picture:
            close = np.asarray(picture)[LIMB].copy()
        Image.fromarray(close).save(image.path)
    found = probed(knees, Looking(slice(None)))[BACKGROUND]
    assert found["masked_by"]["centre_box"] == 40
    assert found["passed"] is False
    assert "no proof of a shortcut" in found["verdict"]


def test_robustness_measures_every_kind_and_severity_against_the_clean_images(knees):
    told = []
    scores = score_variants(Looking(*LIMB), knees, corruption_variants(0), told.append)
    found = robustness(Measured(knees, scores, seed=0, resamples=50), 110 / 255)
    assert sum(told) == 40 * (1 + 5 * len(CORRUPTIONS))
    assert found["clean"]["value"] == 1.0
    assert found["corruptions"].keys() == CORRUPTIONS.keys()
    cells = [cell for row in found["corruptions"].values() for cell in row["severities"]]
    assert [cell["severity"] for cell in cells] == [1, 2, 3, 4, 5] * len(CORRUPTIONS)
    assert found["mean"]["value"] == pytest.approx(np.mean([cell["auroc"]["value"] for cell in cells]))
    assert found["drop"]["value"] == pytest.approx(1 - found["mean"]["value"])
    darker = found["corruptions"]["brightness_down"]["severities"][-1]
    assert (darker["auroc"]["value"], darker["sensitivity"], darker["specificity"]) == (1.0, 0.0, 1.0)


def test_what_is_drawn_for_an_image_does_not_depend_on_the_others(knees):
    scorer, variants = Looking(*LIMB), corruption_variants(0)
    whole = score_variants(scorer, knees, variants, lambda _: None)
    part = score_variants(scorer, knees[10:20], variants, lambda _: None)
    assert all(part[name] == whole[name][10:20] for name in whole)
    assert score_variants(scorer, knees[:5], corruption_variants(1), lambda _: None)["crop/5"] != whole["crop/5"][:5]


def test_a_sample_is_half_abnormal_seeded_and_keeps_studies_whole(layout):
    entries = [
        ("valid", "XR_KNEE", f"patient{n:05d}", f"study1_{n}", int(n % 4 == 0), None)
        for n in range(40)
        for _ in range(2)
    ]
    images = read_roots([layout(entries)], "valid")
    sample = sample_studies(images, 12, seed=0)
    assert Counter(image.label for image in sample) == {0: 12, 1: 12}
    assert {len([one for one in sample if one.study == image.study]) for image in sample} == {2}
    assert sample == sample_studies(images, 12, seed=0) != sample_studies(images, 12, seed=1)
    assert Counter(image.label for image in sample_studies(images, 36, seed=0)) == {0: 52, 1: 20}
    assert sample_studies(images, 400, seed=0) == images
    with pytest.raises(DataError, match="one class"):
        sample_studies([image for image in images if image.label], 12, seed=0)


def test_large_images_are_brought_down_before_they_are_changed():
    assert shrunk(np.ones((1000, 500), dtype=np.float32)).shape == (LONGEST, LONGEST // 2)
    small = np.ones((90, 60), dtype=np.float32)
    assert shrunk(small) is small
    assert CLEAN == "clean"
