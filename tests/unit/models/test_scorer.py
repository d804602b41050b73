from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from triage_agent.builders import build_scorer
from triage_agent.domain.errors import BundleError, ConfigurationError, UnreadableImageError
from triage_agent.models import runner
from triage_agent.models.bundle import load_bundle, write_bundle
from triage_agent.models.calibration import apply_platt
from triage_agent.models.head import build_head
from triage_agent.models.scorer import Scorer, ScoringError, load_scorer
from triage_agent.settings import Settings


def images(n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((int(rng.integers(20, 60)), int(rng.integers(20, 60))), dtype=np.float32) for _ in range(n)]


@pytest.fixture
def scorer(bundle_folder):
    return load_scorer(bundle_folder, "cpu")


def test_a_score_is_the_calibrated_logit_of_head_and_encoder(scorer, spec, encoder, head_state):
    picture = images(1)[0]
    with torch.inference_mode():
        head = build_head(spec.head, head_state)
        logit = head(encoder.eval()(encoder.preprocess(picture)[None])).item()

    assert scorer.score([picture])[0].probability == pytest.approx(
        float(apply_platt(logit, spec.calibration)), abs=1e-7
    )


def test_an_image_scores_the_same_alone_in_company_and_again(scorer):
    pictures = images(11)

    together = scorer.score(pictures)

    assert len(set(together)) > 5
    assert [scorer.score([picture])[0] for picture in pictures] == together
    assert scorer.score(pictures[::-1]) == together[::-1]


def test_two_scorers_of_one_bundle_agree(scorer, bundle_folder):
    assert load_scorer(bundle_folder, "cpu").score(images(3)) == scorer.score(images(3))


def test_several_threads_get_what_one_gets(scorer):
    pictures = images(12)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: scorer.score([picture])[0], pictures))

    assert found == scorer.score(pictures)


def test_no_images_give_no_scores(scorer):
    assert scorer.score([]) == []


def test_the_identity_is_the_bundles(scorer, bundle_folder):
    assert scorer.identity == load_bundle(bundle_folder).identity
    assert scorer.device == "cpu"


@pytest.mark.parametrize(
    "image",
    [
        np.full((8, 8), np.nan, dtype=np.float32),
        np.full((8, 8), np.inf, dtype=np.float32),
        np.full((8, 8), 255.0, dtype=np.float32),
        np.zeros((8, 8, 3), dtype=np.float32),
        np.zeros((0, 8), dtype=np.float32),
    ],
)
def test_what_is_no_display_image_is_refused(scorer, image):
    with pytest.raises(UnreadableImageError, match="image 1"):
        scorer.score([np.zeros((8, 8), dtype=np.float32), image])


def test_a_read_only_or_strided_image_is_scored_like_its_copy(scorer):
    picture = images(1)[0]
    view = np.repeat(picture, 2, axis=1)[:, ::2]
    view.setflags(write=False)

    assert scorer.score([view]) == scorer.score([picture])


def test_a_model_that_gives_no_number_raises(tmp_path, spec, head_state, encoder):
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in head_state.items()}
    folder = write_bundle(tmp_path / "broken", spec, broken, encoder.state_dict(), "")

    with pytest.raises(ScoringError, match="not a finite number"):
        load_scorer(folder, "cpu").score(images(1))


def test_a_bundle_stored_as_float16_scores_in_float32(tmp_path, spec, head_state, encoder):
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in encoder.state_dict().items()
    }
    loose = spec.model_copy(update={"encoder": spec.encoder.model_copy(update={"digest": None})})
    scorer = load_scorer(write_bundle(tmp_path / "half", loose, head_state, halves, ""), "cpu")

    assert {parameter.dtype for parameter in scorer._encoder.parameters()} == {torch.float32}
    assert np.isfinite(scorer.score(images(1))[0].probability)


def test_encoder_weights_that_are_not_the_recorded_ones_are_refused(tmp_path, spec, head_state, encoder):
    changed = {name: tensor + 1 for name, tensor in encoder.state_dict().items()}
    folder = write_bundle(tmp_path / "changed", spec, head_state, changed, "")

    with pytest.raises(BundleError, match="the bundle was trained on"):
        load_scorer(folder, "cpu")


def test_a_head_for_another_embedding_is_refused(tmp_path, spec, encoder):
    wide = spec.model_copy(update={"head": spec.head.model_copy(update={"input_dim": 99})})
    folder = write_bundle(tmp_path / "wide", wide, build_head(wide.head).state_dict(), encoder.state_dict(), "")

    with pytest.raises(BundleError, match="the head takes 99 numbers, the encoder gives 8"):
        Scorer(load_bundle(folder), "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "mps", "abacus"])
def test_a_device_that_is_not_there_is_refused(bundle_folder, device):
    with pytest.raises(BundleError, match="set it to auto, cpu or cuda"):
        load_scorer(bundle_folder, device)


def test_the_local_runner_scores_and_an_unknown_one_is_a_configuration_error(bundle_folder, scorer):
    assert runner.start("local", str(bundle_folder), runner.Placement(device="cpu")).score(images(2)) == scorer.score(
        images(2)
    )
    with pytest.raises(ConfigurationError, match=r"set \[model\] runner to one of local"):
        runner.start("steam", str(bundle_folder), runner.Placement())


def test_a_site_moves_the_outlier_limit_or_turns_it_off():
    chessboard = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32))).astype(np.float32)
    found = {
        limit: build_scorer(Settings.model_validate({"model": {"outlier_limit": limit}})).score([chessboard])[0]
        for limit in (1, 4, 0)
    }
    assert found[1].strangeness > 1
    assert found[4].strangeness == pytest.approx(found[1].strangeness / 4)
    assert found[0].strangeness == 0
    assert len({(one.probability, one.seen_anatomy) for one in found.values()}) == 1


def test_a_bundle_that_is_named_in_place_of_the_configured_one_keeps_the_sites_error_rate(bundle_folder):
    settings = Settings.model_validate({"model": {"bundle": str(bundle_folder), "error_rate": 0.05}})
    assert build_scorer(settings, "embedded").identity.error_rate == 0.05
    with pytest.raises(ConfigurationError, match="has no error rates"):
        build_scorer(settings)
