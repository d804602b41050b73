"""`shadow`, and what `study` shows of a comparison."""

import json

import pytest
from support.story import STUDY, in_shadow, scored, shadow_result

from triage_agent.cli import options
from triage_agent.domain.vocabulary import Finding


@pytest.fixture
def compared(story):
    """Puts a compared study on the worklist."""

    def put(study, probability=0.8, anatomy="XR_KNEE", **shadow):
        story.claimed(study, patient_name="Doe^Jane")
        story.decide(study=study, probability=probability, anatomy=anatomy, assessments=[scored(f"{study}.1")])
        seen = [in_shadow(f"{study}.1", 0.25)]
        assert story.worklist.record_shadow(study, 1, shadow_result(**shadow), seen, story.tick())

    return put


def test_two_bundles_are_told_in_counts_by_region_and_with_the_studies_they_differ_on(run, compared):
    compared("1.2.1", probability=0.9)
    compared("1.2.2", probability=0.6, anatomy="XR_HAND")
    compared("1.2.3", agrees=True, finding=Finding.ABNORMAL, probability=0.95)
    (pair,) = json.loads(run("shadow", "--json").out)
    assert pair["bundle"].startswith("knees 1.2 (")
    assert (pair["studies"], pair["both_abnormal"], pair["only_deciding"]) == (3, 1, 2)
    assert (pair["only_shadow"], pair["both_normal"]) == (0, 0)
    assert pair["agreement"] == pytest.approx(1 / 3)
    assert pair["kappa"] == pytest.approx(0)
    assert {region: one["studies"] for region, one in pair["anatomies"].items()} == {"XR_KNEE": 2, "XR_HAND": 1}
    assert [one["study_instance_uid"] for one in pair["disagreeing"]] == ["1.2.1", "1.2.2"]
    assert pair["disagreeing"][0]["difference"] == pytest.approx(0.7)
    shown = run("shadow").out
    for word in ("33.3 %", "knee", "hand", "1.2.1", "0.90", "0.20", "in its shadow"):
        assert word in shown
    assert "Doe" not in shown


def test_only_decisions_since_a_day_are_counted(run, compared):
    compared("1.2.1")
    assert json.loads(run("shadow", "--json", "--since", "2026-03-01").out)[0]["studies"] == 1
    assert json.loads(run("shadow", "--json", "--since", "2026-03-02").out) == []
    assert run("shadow", "--since", "yesterday").code == 2


def test_without_a_comparison_it_says_what_would_make_one(run, story):
    assert json.loads(run("shadow", "--json").out) == []
    assert "[model] shadow" in run("shadow").out


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_the_screen(run, compared, monkeypatch, width):
    monkeypatch.setattr(options.stdout, "_width", width)
    compared("1.2.840.10008." + ".".join(["1234567890"] * 4), anatomy="XR_SHOULDER")
    shown = run("shadow").out
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "…" not in shown


def test_a_study_shows_what_its_shadow_says(run, compared):
    compared(STUDY)
    detail = json.loads(run("study", STUDY, "--json").out)
    assert detail["shadow"] == {
        "bundle": "other 1.0 (ssssssssssss)",
        "digest": "s" * 64,
        "probability": 0.2,
        "finding": "normal",
        "agrees": False,
    }
    assert detail["instances"][0]["assessment"]["shadow_probability"] == 0.25
    shown = run("study", STUDY).out
    assert "Shadow bundle other 1.0 (ssssssssssss): normal, 0.20; it disagrees." in shown
    assert "0.2500" in shown


def test_a_study_without_a_shadow_shows_none(run, story):
    story.claimed()
    story.decide(assessments=[scored("1.2.1.1")])
    assert json.loads(run("study", STUDY, "--json").out)["shadow"] is None
    assert "hadow" not in run("study", STUDY).out


@pytest.mark.parametrize(
    ("stated", "seen", "from_image", "said"),
    [("XR_KNEE", "XR_KNEE", False, False), ("XR_KNEE", "XR_HAND", False, True), ("XR_HAND", "XR_HAND", True, True)],
)
def test_a_region_that_the_image_alone_tells_is_shown(run, story, stated, seen, from_image, said):
    story.claimed()
    image = scored("1.2.1.1", anatomy=stated, seen_anatomy=seen, anatomy_from_image=from_image)
    story.decide(assessments=[image])
    detail = json.loads(run("study", STUDY, "--json").out)
    assert detail["instances"][0]["assessment"]["seen_anatomy"] == seen
    assert (f"looks like {seen}" in run("study", STUDY).out) is said
