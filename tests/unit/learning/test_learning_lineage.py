"""Weights that are gone on from, or joined, and the patients that they may have learnt from."""

import json

import pytest
import torch
from support.bundles import write_tiny_bundle

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.card import _data
from triage_agent.learning.lineage import check_started, splits_of, unknown_before
from triage_agent.learning.mura import read_roots
from triage_agent.learning.options import Material, TrainOptions
from triage_agent.learning.split import split_patients
from triage_agent.learning.train import train
from triage_agent.models.bundle import load_bundle

ENTRIES = [("train", "XR_KNEE", f"patient{i:03d}", "study1", i % 2, None) for i in range(40)]
NOBODY = torch.zeros(0, dtype=torch.long)


@pytest.fixture
def roots(layout):
    return layout(ENTRIES, "knees"), layout(ENTRIES[:20], "others")


def trained(*roots, seed=0, share=0.25, started=(), name="before"):
    """What a bundle says that was trained on these roots; as it is read back from disk."""
    images = read_roots(roots, "train")
    learn, held = split_patients(images, share, seed)
    material = Material(images=images, learn=learn, extra=NOBODY, reference=held[:3], spare=held[3:])
    data = {"seed": seed, "recipe": {"held_back": share}, "splits": splits_of(material)}
    return json.loads(json.dumps({"name": name, "training_data": data | {"started_from": list(started)}}))


def run(*roots, started, **changes):
    return trained(*roots, started=started, **changes)["training_data"]


def test_the_same_patients_of_the_same_data_are_known_to_have_been_held_back(roots):
    knees, others = roots
    for data in (run(knees, started=[trained(knees)]), run(others, knees, started=[trained(knees), trained(others)])):
        check_started(data)
        assert unknown_before(data) == []


@pytest.mark.parametrize("change", [{"seed": 3}, {"share": 0.5}])
def test_other_patients_of_the_same_data_are_refused_with_the_remedy(roots, change):
    with pytest.raises(ConfigurationError, match=r"before held back other patients") as error:
        check_started(run(*roots, started=[trained(roots[0], **change)]))
    given = {"seed": 0, "share": 0.25} | change
    assert f"--seed {given['seed']} and a --recipe with held_back = {given['share']}" in error.value.remedy


def test_what_a_start_itself_started_from_counts_too(roots):
    first = trained(roots[0], seed=3, name="first")
    with pytest.raises(ConfigurationError, match="the bundle first held back other patients"):
        check_started(run(roots[0], started=[trained(roots[1], started=[first])]))


def test_older_bundles_and_other_data_are_told_as_unknown(roots):
    knees, others = roots
    older = trained(knees, name="older")
    del older["training_data"]["splits"]
    data = run(knees, started=[older, trained(others, name="elsewhere", seed=3), trained(knees, started=[older])])
    check_started(data)
    assert unknown_before(data) == ["older", "elsewhere", "older"]


def test_one_more_image_makes_other_data(roots, layout):
    grown = layout([*ENTRIES, ("train", "XR_KNEE", "patient040", "study1", 0, None)], "grown")
    assert unknown_before(run(grown, started=[trained(roots[0])])) == ["before"]


def test_a_data_set_is_the_same_in_another_place_and_under_another_name(roots, layout):
    moved = layout(ENTRIES, "moved")
    check_started(run(moved, started=[trained(roots[0])]))
    assert unknown_before(run(moved, roots[1], started=[trained(roots[0])])) == []


def test_the_record_names_no_patient(roots):
    (row,) = trained(roots[0])["training_data"]["splits"]
    assert (row["patients"], row["held_back"]) == (40, 10)
    assert {len(row["list_digest"]), len(row["held_back_digest"])} == {64}
    assert "patient0" not in json.dumps(row)


@pytest.mark.parametrize("how", ["encoder", "join"])
def test_training_stops_before_it_starts(roots, tmp_path, how):
    start = write_tiny_bundle(tmp_path / "start", training_data=trained(roots[0], seed=3)["training_data"])
    chosen = {"join": (start,)} if how == "join" else {"encoder": str(start)}
    lines = []
    with pytest.raises(ConfigurationError, match="the bundle tiny held back other patients"):
        train(TrainOptions(data=(roots[0],), out=tmp_path / "out", **chosen), lines.append)
    assert lines == ["40 images, 4 of them held back"]


@pytest.mark.parametrize(
    ("older", "said"), [(False, "were held back there, too"), (True, "`before` learnt from patients")]
)
def test_the_card_says_what_is_known(roots, tmp_path, older, said):
    before = trained(roots[0])
    before["training_data"] |= {"images": 40, "roots": ["knees"]} | ({"splits": []} if older else {})
    before["digest"] = "0" * 64
    counts = {"images": 40, "patients": 40, "regions": {}, "held_back_images": 10, "reference_images": 10}
    data = run(roots[0], started=[before]) | counts
    assert said in _data(load_bundle(write_tiny_bundle(tmp_path / "out", training_data=data)).spec)
