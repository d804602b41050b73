"""NEMA's WG-04 pictures, a real hip in eight codings: a coding must not change what the model says."""

import json

import pytest
from support.agent import triage_agent
from support.data import shared_data

pytestmark = pytest.mark.shared

LOSSLESS = {"UNC", "RLE", "JPLL", "JLSL", "J2KR"}
LOSSY = {"JPLY", "JLSN", "J2KI"}


@pytest.fixture(scope="module")
def triaged(shipped_bundle):
    """{file name: what `triage --json` says of that instance} of every WG-04 file, and its studies."""
    done = triage_agent("triage", shared_data("dicom", "wg04"), "--bundle", shipped_bundle, "--json")
    assert done.returncode == 0, done.stderr
    studies = json.loads(done.stdout)
    return {one["path"].rpartition("/")[2]: one for study in studies for one in study["instances"]}, studies


def test_every_file_of_every_coding_is_told_of(triaged):
    instances, _ = triaged
    names = {path.name for path in shared_data("dicom", "wg04").rglob("*_*") if path.suffix != ".txt"}
    assert names == instances.keys()
    assert all(one["scored"] or one["reason"] for one in instances.values())


def test_lossless_codings_of_a_radiograph_have_one_probability(triaged):
    instances, _ = triaged
    probabilities = [instances[f"RG2_{coding}"]["probability"] for coding in sorted(LOSSLESS)]
    assert None not in probabilities
    assert max(probabilities) - min(probabilities) <= 1e-6


@pytest.mark.parametrize("coding", sorted(LOSSY))
def test_a_lossy_coding_changes_the_probability_little(triaged, coding):
    instances, _ = triaged
    lossy = instances[f"RG2_{coding}"]
    assert lossy["scored"], lossy["reason"]
    assert lossy["probability"] == pytest.approx(instances["RG2_UNC"]["probability"], abs=0.05)


def test_what_is_no_radiograph_is_left_out_with_the_reason(triaged):
    instances, _ = triaged
    for name, one in instances.items():
        if name.startswith(("CT1", "XA1")):
            assert (one["scored"], one["probability"]) == (False, None)
            assert one["reason"]


def test_the_hip_is_not_assessed_unless_the_bundle_knows_hips(triaged):
    _, studies = triaged
    hips = [study for study in studies if any("RG2" in one["path"] for one in study["instances"])]
    for study in hips:
        assert study["reasons"]
        assert (study["probability"] is None) == (study["finding"] == "not_assessed")
        assert study["priority"] in {"routine", "urgent", "stat"}
