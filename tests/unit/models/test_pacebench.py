"""The benchmark's own code on the CPU, with files and a tower of a few pixels, so that it runs where a GPU is."""

import numpy as np
import pytest
from support.pacebench import CODINGS, files_to_scores, ready_to_scores, write_radiographs, write_tower_bundle

from triage_agent.imaging.load import load_for_scoring
from triage_agent.imaging.loader import DirectLoader
from triage_agent.models.scorer import load_scorer

TINY = {
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "pooling": "mean",
}


@pytest.fixture
def scorer(tmp_path):
    return load_scorer(write_tower_bundle(tmp_path / "bundle", "siglip", TINY), "cpu")


@pytest.mark.parametrize("coding", CODINGS)
def test_every_file_becomes_the_score_that_it_has_alone(coding, scorer, tmp_path):
    paths = write_radiographs(tmp_path / "files", 3, shape=(96, 80), coding=coding)
    rate, scores = files_to_scores(paths, DirectLoader(), scorer, decoders=2, loops=2, claim=3, together=2, count=7)
    expected = [scorer.score([load_for_scoring(path, side=56).image])[0].probability for path in paths]
    assert [scores[str(path)] for path in paths] == expected
    assert len(set(expected)) == 3
    assert rate > 0


def test_a_score_of_a_sampled_square_is_that_of_the_whole_image(scorer, tmp_path):
    for path in write_radiographs(tmp_path / "files", 2, shape=(300, 240)):
        whole, square = load_for_scoring(path).image, load_for_scoring(path, side=scorer.sampled_side).image
        assert (whole.shape, square.shape) == ((300, 240), (56, 56))
        assert scorer.score([square])[0].probability == pytest.approx(scorer.score([whole])[0].probability, abs=1e-6)


def test_images_in_memory_are_scored_too(scorer):
    images = list(np.random.default_rng(0).random((3, 56, 56), np.float32))
    assert ready_to_scores(images, scorer, loops=2, together=2, count=5) > 0


def test_what_goes_wrong_in_a_round_is_told(scorer, tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no image")
    good = write_radiographs(tmp_path / "files", 1, shape=(96, 80))
    with pytest.raises(AssertionError, match="not a DICOM file"):
        files_to_scores([*good, bad], DirectLoader(), scorer, decoders=1, loops=1, claim=1, together=1, count=2)
