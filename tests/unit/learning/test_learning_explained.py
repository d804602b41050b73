"""The checks of maps: that they tell a map of the model from one of the image, and know where a lesion is."""

import base64
import csv
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from triage_agent.learning import explained
from triage_agent.learning.explained import DESTROYED, HEAD, passes, pointing_game, randomised, sanity
from triage_agent.learning.maps_page import maps_section
from triage_agent.learning.mura import read_split
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.encoder import weights_digest
from triage_agent.models.explain import Explainer
from triage_agent.models.head import build_head
from triage_agent.models.registry import REGISTRY
from triage_agent.models.spec import HeadSpec

SIDE = 64
LESION = 12
STAGES = [HEAD, "head and last 1 block", "head and last 2 blocks", "head and encoder"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def network(kind="compact"):
    torch.manual_seed(0)
    if kind == "compact":
        config = {"image_size": SIDE, "widths": [8, 8, 8], "depths": [1, 1, 1], "mean": 0.0}
    else:
        config = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        config |= {"image_size": 56, "patch_size": 14, "pooling": "mean"}
    encoder = REGISTRY[kind].load()(config).eval()
    return encoder, build_head(HeadSpec(kind="linear", input_dim=encoder.embedding_dim)).eval()


class Sum(nn.Module):
    def forward(self, embedding):
        return embedding.sum(1)


def brightness():
    """An explainer whose logit is brightness, so that its maps must point at the brightest place."""
    encoder = CompactEncoder({"image_size": SIDE, "widths": [4, 4], "depths": [1, 1], "mean": 0.0}).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return Explainer(encoder, Sum())


def displays(count=3):
    return [np.random.default_rng(seed).random((60, 44), dtype=np.float32) for seed in range(count)]


@pytest.fixture
def images(tmp_path):
    """Writes a MURA layout with bright lesions in known boxes; each entry is (row, column), or None for a normal."""

    def write(places):
        root = tmp_path / "spots"
        paths, labels, boxes = [], [], []
        for number, place in enumerate(places):
            folder = f"valid/XR_KNEE/patient{number:05}/study1_{'negative' if place is None else 'positive'}"
            (root / folder).mkdir(parents=True)
            pixels = np.full((SIDE, SIDE // 2), 10, dtype=np.uint8)
            if place is not None:
                row, column = place
                pixels[row : row + LESION, column : column + LESION] = 250
                boxes.append([f"{folder}/image1.png", column, row, column + LESION, row + LESION])
            Image.fromarray(pixels).save(root / folder / "image1.png")
            paths.append([f"spots/{folder}/image1.png"])
            labels.append([f"spots/{folder}/", int(place is not None)])
        _csv(root / "valid_image_paths.csv", paths)
        _csv(root / "valid_labeled_studies.csv", labels)
        _csv(root / "valid_boxes.csv", [["image", "x0", "y0", "x1", "y1"], *boxes])
        return read_split(root, "valid")

    return write


def _csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize("kind", ["compact", "medgemma"])
def test_randomising_destroys_gradient_maps_and_leaves_rollout_alone_where_only_the_head_is_drawn_again(kind):
    explainer = Explainer(*network(kind))
    found = sanity(explainer, displays(), draws=4)
    assert list(found["gradient"]) == STAGES
    assert passes("gradient", found["gradient"])
    assert max(found["gradient"].values()) <= DESTROYED
    if kind == "medgemma":
        assert found["rollout"][HEAD] == pytest.approx(1)
        assert found["relevance"][HEAD] < 0.9


def test_a_map_of_the_image_instead_of_the_model_does_not_pass(monkeypatch):
    explainer = Explainer(*network())
    monkeypatch.setattr(Explainer, "map", lambda _self, display, _method: display)
    found = sanity(explainer, displays(1), draws=1)
    assert min(found["gradient"].values()) == pytest.approx(1)
    assert not passes("gradient", found["gradient"])


def test_what_a_head_does_to_rollout_is_no_part_of_its_verdict():
    stages = {HEAD: 1.0, "head and encoder": 0.1}
    assert passes("rollout", stages)
    assert not passes("gradient", stages)


def test_an_empty_map_agrees_with_nothing():
    heat = displays(1)[0]
    assert explained._agreement(heat, heat) == pytest.approx(1)
    assert explained._agreement(heat, np.zeros_like(heat)) == 0


def test_the_same_seed_gives_the_same_table_and_the_model_is_left_as_it_was():
    encoder, head = network()
    before = weights_digest(encoder), weights_digest(head)
    first = sanity(Explainer(encoder, head), displays(1), draws=1)
    assert sanity(Explainer(encoder, head), displays(1), draws=1) == first
    assert (weights_digest(encoder), weights_digest(head)) == before


def test_only_the_parts_that_were_asked_for_are_drawn_again_and_keep_their_size():
    explainer = Explainer(*network())
    other = randomised(explainer, 1, seed=0)
    same = [
        all(torch.equal(*pair) for pair in zip(one.parameters(), two.parameters(), strict=True))
        for one, two in zip(explainer.encoder.blocks(), other.encoder.blocks(), strict=True)
    ]
    assert same == [True, True, False]
    weights = [one.head.layers[0].weight for one in (explainer, other)]
    assert not torch.equal(*weights)
    convolutions = [one.encoder.blocks()[-1][1].weight.detach() for one in (explainer, other)]
    assert float(convolutions[1].std()) == pytest.approx(float(convolutions[0].std()), rel=0.3)


def test_a_sanity_check_of_nothing_is_refused():
    with pytest.raises(ValueError, match="images"):
        sanity(brightness(), [])


def test_a_model_that_sees_lesions_wins_the_pointing_game_and_chance_is_the_box_s_share(images):
    game = pointing_game(brightness(), images([(4, 4), (48, 16), None, (26, 10)]))
    assert (game.n, game.accuracy, game.elsewhere) == (3, 1.0, 0.0)
    assert game.chance == pytest.approx(LESION**2 / (SIDE * SIDE / 2))


def test_lesions_that_always_lie_at_the_same_place_are_found_elsewhere_too(images):
    game = pointing_game(brightness(), images([(26, 10), (26, 10)]))
    assert (game.accuracy, game.elsewhere) == (1.0, 1.0)


def test_a_model_that_is_blind_to_lesions_loses_it(images):
    explainer = brightness()
    explainer.head = nn.Sequential(Sum(), Negative())
    assert pointing_game(explainer, images([(4, 16), (48, 16)])).accuracy == 0


class Negative(nn.Module):
    def forward(self, logits):
        return -logits


def test_without_boxes_there_is_no_pointing_game(images):
    with pytest.raises(ValueError, match="box"):
        pointing_game(brightness(), images([None]))


def test_the_section_shows_as_many_as_were_asked_for_and_says_what_a_map_is(images):
    found = maps_section(brightness(), images([(4, 4), (48, 16), None, (26, 10), None, None]), 2)
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", found)
    assert len(pictures) == 4
    assert {Image.open(io.BytesIO(base64.b64decode(one))).size for one in pictures} == {(SIDE, SIDE)}
    assert found.count("knee, abnormal") == found.count("knee, normal") == 4  # in the caption and the alternative text
    assert "A map is not a finding." in found
    assert "off unless asked for" in found
    assert "in 100% of 2 abnormal images" in found
    assert "patient" not in found
    assert "http" not in found


def test_the_section_says_what_rollout_does_not_depend_on(images):
    encoder, head = network("medgemma")
    found = maps_section(Explainer(encoder, head), images([(4, 4), None]), 1)
    assert "1.00 (sees no head)" in found
    assert "does not depend on the label or the head" in found


def test_the_section_is_the_same_each_time(images):
    chosen = images([(4, 4), None])
    assert maps_section(brightness(), chosen, 1) == maps_section(brightness(), chosen, 1)


def test_a_section_of_no_images_is_refused(images):
    with pytest.raises(ValueError, match="how many"):
        maps_section(brightness(), images([None]), 0)
