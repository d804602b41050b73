"""The parts that training is made of."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.augment import Augmentation, augment, mix_up
from triage_agent.learning.mura import DataError, LabeledImage, read_display, read_roots, read_split
from triage_agent.learning.network import UNKNOWN, MovingAverage, Network, loss_of, targets_of
from triage_agent.learning.optimise import parameter_groups
from triage_agent.learning.options import Material, judged_on
from triage_agent.learning.pixels import at_size, input_scale, load_pixels
from triage_agent.learning.recipe import COMPACT, CONTINUED, FINE_TUNED, FROZEN, LORA, recipe_for
from triage_agent.learning.split import split_patients
from triage_agent.learning.thresholds import (
    Studies,
    Targets,
    by_study,
    set_thresholds,
    specificity_threshold,
    youden_threshold,
)
from triage_agent.models.bundle import HeadSpec
from triage_agent.models.calibration import sigmoid
from triage_agent.models.compact import CompactEncoder, fit_square, joined, with_grid
from triage_agent.models.encoder import pooled

TINY = {"image_size": 32, "widths": [4, 8], "depths": [1, 1]}


def image(patient, label, anatomy="XR_KNEE", grade=None):
    return LabeledImage(path=None, anatomy=anatomy, patient=patient, study=patient, label=label, grade=grade)


def network(**changes):
    encoder = CompactEncoder({**TINY, **changes})
    spec = HeadSpec(kind="linear", input_dim=encoder.embedding_dim)
    return Network(encoder, spec, levels=2, unfreeze=None)


def test_no_patient_is_on_both_sides_of_the_split():
    images = [image(f"p{index // 3}", index % 2) for index in range(120)]
    learn, judge = split_patients(images, 0.25, seed=1)
    assert sorted([*learn.tolist(), *judge.tolist()]) == list(range(120))
    assert not {images[i].patient for i in learn} & {images[i].patient for i in judge}
    assert len(judge) == 30


def test_every_region_is_held_back_in_proportion():
    images = [image(f"k{i}", i % 2) for i in range(40)] + [image(f"h{i}", i % 2, "XR_HAND") for i in range(10)]
    judge = split_patients(images, 0.2, seed=0)[1]
    assert sorted(images[i].anatomy for i in judge) == ["XR_HAND"] * 2 + ["XR_KNEE"] * 8


def test_the_split_depends_on_the_seed_alone():
    images = [image(f"p{index}", index % 2) for index in range(60)]
    assert torch.equal(split_patients(images, 0.2, 3)[1], split_patients(images, 0.2, 3)[1])
    assert not torch.equal(split_patients(images, 0.2, 3)[1], split_patients(images, 0.2, 4)[1])


def test_a_roots_split_is_the_same_alone_and_with_others(layout):
    entries = [("train", "XR_KNEE", f"patient{i}", "study1", i % 2, None) for i in range(20)]
    one, other = layout(entries, "one"), layout(entries[:10], "other")

    def held(*roots):
        images = read_roots(roots, "train")
        judge = split_patients(images, 0.3, 0)[1].tolist()
        return {images[index].path for index in judge if images[index].path.is_relative_to(one)}

    assert held(one) == held(one, other)
    assert len(held(one)) == 6


def test_too_few_patients_is_an_error_that_says_so():
    with pytest.raises(DataError, match="more patients"):
        split_patients([image("p1", 0), image("p2", 1)], 0.1, 0)


def test_grades_become_ordinal_questions():
    targets = targets_of([image("a", 1, grade=2), image("b", 0, grade=0), image("c", 1)], graded=True)
    assert targets.tolist() == [[1, 1, 1], [0, 0, 0], [1, UNKNOWN, UNKNOWN]]
    assert targets_of([image("a", 1, grade=2)], graded=False).tolist() == [[1]]


def test_unknown_grades_cost_nothing():
    known, unknown = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, UNKNOWN]])
    logits = torch.tensor([[0.3, -2.0]])
    options = {"smoothing": 0.0, "grade_weight": 1.0, "positive_weight": 1.0}
    label_only = math.log1p(math.exp(-0.3)) / 2
    assert float(loss_of(logits, unknown, **options)) == pytest.approx(label_only)
    assert float(loss_of(logits, known, **options)) > label_only


def test_abnormal_images_weigh_as_much_as_asked():
    logits, targets = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    loss = loss_of(logits, targets, smoothing=0.0, grade_weight=0.0, positive_weight=3.0)
    assert float(loss) == pytest.approx(math.log(2) * (3 + 1) / 2)


def test_an_augmentation_that_is_off_only_normalises():
    off = dict.fromkeys(("rotation", "zoom", "stretch", "shift", "gamma", "contrast", "brightness", "noise"), 0.0)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    found = augment(images, Augmentation(mirror=False, **off), 0.5, 0.25)
    assert torch.allclose(found, (images.float() / 255 - 0.5) / 0.25, atol=1e-4)


def test_augmentation_repeats_with_the_seed_and_stays_close_to_the_image():
    images = torch.full((4, 1, 24, 24), 128, dtype=torch.uint8)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(images, Augmentation(erase=0.5), 0.5, 0.25))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert results[0].abs().max() < 3


def test_mixing_is_off_at_zero_and_keeps_the_mean_target():
    images, targets = torch.rand(6, 1, 4, 4), torch.tensor([[1.0], [0], [1], [0], [0], [0]])
    assert mix_up(images, targets, 0.0)[0] is images
    assert float(mix_up(images, targets, 0.4)[1].mean()) == pytest.approx(2 / 6)


def test_an_encoders_normalisation_is_found_by_looking():
    scale = input_scale(CompactEncoder(TINY))
    assert (scale.mean, scale.std, scale.channels) == (pytest.approx(0.5), pytest.approx(0.25), 1)


def test_training_sees_the_pixels_that_serving_sees(layout):
    images = read_split(layout([("train", "XR_HAND", "p1", "s1", 1, None)], side=80), "train")
    encoder = CompactEncoder(TINY)
    block = load_pixels(images, encoder)
    assert block.shape == (1, 1, 32, 32)
    served = encoder.preprocess(read_display(images[0].path))
    assert torch.allclose((block[0].float() / 255 - 0.5) / 0.25, served, atol=0.01)


def test_unreadable_images_are_named_together(layout):
    images = read_split(layout([("train", "XR_HAND", f"p{i}", "s1", 1, None) for i in range(3)]), "train")
    for one in images[:2]:
        one.path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"(?s)p0.*p1"):
        load_pixels(images, CompactEncoder(TINY))


def test_images_are_made_smaller_without_aliasing():
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    assert (at_size(stripes, 16).float() - 127.5).abs().max() < 20
    assert at_size(stripes, 64) is stripes


@pytest.mark.parametrize("shape", [(20, 100), (100, 20), (64, 64)])
def test_any_shape_is_centred_on_black_with_its_proportions(shape):
    square = fit_square(np.ones(shape, dtype=np.float32), 32)[0]
    assert square.shape == (32, 32)
    share = shape[0] * shape[1] / max(shape) ** 2
    assert float(square.mean()) == pytest.approx(share, abs=0.02)
    assert torch.allclose(square, square.flip(0), atol=1e-3)
    assert torch.allclose(square, square.flip(1), atol=1e-3)


def test_a_mirrored_image_has_the_same_embedding():
    torch.manual_seed(0)
    encoder = CompactEncoder(TINY).eval()
    batch = torch.randn(2, 1, 32, 32)
    assert torch.allclose(encoder(batch), encoder(batch.flip(3)), atol=1e-5)
    assert encoder(batch).shape == (2, encoder.embedding_dim)


def test_joined_members_embed_side_by_side():
    torch.manual_seed(0)
    members = [CompactEncoder(TINY).eval() for _ in range(2)]
    batch = torch.randn(2, 1, 32, 32)
    whole = joined(members).eval()
    assert torch.allclose(whole(batch), torch.cat([member(batch) for member in members], dim=1), atol=1e-6)
    restored = CompactEncoder.restore(whole.config, whole.state_dict())
    assert torch.allclose(restored.eval()(batch), whole(batch))
    assert len(whole.blocks()) == 4


def test_only_the_last_blocks_learn_when_asked():
    encoder = CompactEncoder(TINY)
    tuned = Network(encoder, HeadSpec(kind="linear", input_dim=8), levels=0, unfreeze=1)
    learning = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert all(name.startswith(("encoder.towers.0.stages.1.", "head.")) for name in learning)
    tuned.train()
    assert not encoder.towers[0].stages[0].training
    assert encoder.towers[0].stages[1].training


def side_by_side():
    """Towers of three stages and of two."""
    shapes = ({"widths": [4, 4, 8], "depths": [1, 1, 1]}, {"widths": [4, 8], "depths": [1, 1]})
    return joined([CompactEncoder({**TINY, **shape}) for shape in shapes])


@pytest.mark.parametrize(
    ("unfreeze", "learning"),
    [(1, {"0.stages.2", "1.stages.1"}), (2, {"0.stages.1", "0.stages.2", "1.stages.0", "1.stages.1"})],
)
def test_the_last_blocks_of_each_tower_learn(unfreeze, learning):
    encoder = side_by_side()
    tuned = Network(encoder, HeadSpec(kind="linear", input_dim=16), levels=0, unfreeze=unfreeze)
    names = [name for name, one in tuned.encoder.named_parameters() if one.requires_grad]
    assert {".".join(name.split(".")[1:4]) for name in names} == learning
    assert len(encoder.levels()) == 3


def test_blocks_of_the_same_place_in_their_towers_have_the_same_rate():
    tuned = Network(side_by_side(), HeadSpec(kind="linear", input_dim=16), levels=0, unfreeze=2)
    recipe = FINE_TUNED.model_copy(update={"layer_decay": 0.5, "encoder_learning_rate": 0.4})
    rates = {id(one): group["lr"] for group in parameter_groups(tuned, recipe) for one in group["params"]}
    first, second = tuned.encoder.towers
    found = [{rates.get(id(one)) for one in stage.parameters()} for stage in [*first.stages, *second.stages]]
    assert found == [{None}, {0.2}, {0.4}, {0.2}, {0.4}]


def test_the_average_follows_the_weights_and_puts_them_back():
    one = network()
    average = MovingAverage(one, 0.5)
    before = one.learning_state()["head.layers.0.bias"].clone()
    with torch.no_grad():
        one.head.layers[0].bias.add_(1.0)
    for _ in range(50):
        average.update(one)
    with average.applied(one):
        assert torch.allclose(one.head.layers[0].bias, before + 1, atol=1e-3)
    assert torch.equal(one.head.layers[0].bias, before + 1)


def test_youden_picks_the_cut_between_the_classes():
    assert 0.4 < youden_threshold(np.array([0.1, 0.2, 0.4, 0.7, 0.9]), np.array([0, 0, 0, 1, 1])) < 0.7


def test_the_alert_cut_leaves_the_asked_share_of_normals_below():
    probabilities = np.arange(100) / 100
    cut = specificity_threshold(probabilities, np.zeros(100), 0.95)
    assert (probabilities < cut).mean() == pytest.approx(0.95)
    assert specificity_threshold(np.full(5, 0.3), np.zeros(5), 0.95) > 0.3


def test_alert_is_never_below_abnormal():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200).astype(float)
    probabilities = sigmoid(labels * 4 + generator.normal(size=200))
    studies = Studies(labels, probabilities, probabilities, ["XR_KNEE"] * 200)
    thresholds = set_thresholds(studies, Targets(alert_specificity=0.5))
    assert thresholds.alert >= thresholds.abnormal


def test_early_blocks_learn_slower_than_late_ones_and_the_head_at_its_own_rate():
    encoder = CompactEncoder({**TINY, "widths": [4, 8, 8], "depths": [1, 1, 1]})
    tuned = Network(encoder, HeadSpec(kind="linear", input_dim=8), levels=0, unfreeze=2)
    recipe = FINE_TUNED.model_copy(update={"layer_decay": 0.5, "encoder_learning_rate": 0.4, "learning_rate": 3.0})
    rates = {id(one): group["lr"] for group in parameter_groups(tuned, recipe) for one in group["params"]}
    first, second, third = encoder.blocks()
    assert {rates[id(one)] for one in third.parameters()} == {0.4}
    assert {rates[id(one)] for one in second.parameters()} == {0.2}
    assert not any(id(one) in rates for one in first.parameters())
    assert {rates[id(one)] for one in tuned.head.parameters()} == {3.0}


def test_where_the_whole_tower_learns_its_blocks_still_have_rates_of_their_own():
    encoder = CompactEncoder({**TINY, "widths": [4, 8, 8], "depths": [1, 1, 1]})
    whole = Network(encoder, HeadSpec(kind="linear", input_dim=8), levels=0, unfreeze=None)
    recipe = FINE_TUNED.model_copy(update={"layer_decay": 0.5, "encoder_learning_rate": 0.4})
    rates = {id(one): group["lr"] for group in parameter_groups(whole, recipe) for one in group["params"]}
    assert [{rates[id(one)] for one in block.parameters()} for block in encoder.blocks()] == [{0.1}, {0.2}, {0.4}]


def test_weights_learn_once_and_only_matrices_decay():
    one = network()
    groups = parameter_groups(one, COMPACT)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in one.parameters())
    decays = {group["weight_decay"] for group in groups if any(one.ndim == 1 for one in group["params"])}
    assert decays == {0.0}


def test_a_compact_grid_is_its_feature_map_and_mirrored_images_have_the_same_tokens_mirrored():
    torch.manual_seed(0)
    encoder = CompactEncoder(TINY).eval()
    grid = with_grid(encoder, 2).eval()
    batch = torch.randn(2, 1, 32, 32)
    tokens = grid(batch)
    assert tokens.shape == (2, 4, 8)
    assert torch.allclose(pooled(tokens), encoder(batch), atol=1e-5)
    assert torch.allclose(grid(batch.flip(3))[:, [1, 0, 3, 2]], tokens, atol=1e-5)


def test_asking_for_a_head_changes_what_the_recipe_needs_for_it(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("hidden = [4]\nmembers = 1\n")
    assert recipe_for(None, 0, head="linear").widths == ()
    assert recipe_for(None, 0, head="linear").head_kind == "linear"
    assert recipe_for(None, 0, head="attention").pooling == "grid"
    assert recipe_for(None, 0).pooling is None
    assert recipe_for("compact", "all", head="mlp").widths == (512, 256)
    assert recipe_for("compact", "all", head="attention").members == 1
    assert recipe_for("compact", "all", head="attention", path=path).widths == (4,)
    assert recipe_for(None, "all", lora=4) is LORA
    path.write_text("hidden = []\n")
    with pytest.raises(ConfigurationError, match="needs hidden widths"):
        recipe_for(None, 0, head="mlp", path=path)


def test_each_way_of_training_has_its_recipe(tmp_path):
    assert recipe_for("compact", "all") is COMPACT
    assert recipe_for("compact", "all", started=True) is CONTINUED
    assert recipe_for(None, 2) is FINE_TUNED
    assert recipe_for(None, 0) is FROZEN
    path = tmp_path / "recipe.toml"
    path.write_text("batch_size = 4\n[augmentation]\nrotation = 1.5\n")
    changed = recipe_for("compact", "all", path=path)
    assert (changed.batch_size, changed.augmentation.rotation) == (4, 1.5)
    assert changed.augmentation.zoom == COMPACT.augmentation.zoom


@pytest.mark.parametrize("text", ["speed = 3", "batch_size = 'big'", "not toml", "members = 2\nhidden = [4]"])
def test_a_wrong_recipe_is_a_configuration_error(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"recipe\.toml"):
        recipe_for("compact", "all", path=path)


@pytest.mark.parametrize(
    ("whose", "reference", "spare"), [("first", [1, 2], [3, 4]), ("all", [1, 2, 3, 4], []), ("fill", [1, 2, 4], [3])]
)
def test_the_images_that_calibrate_are_the_first_data_sets_or_fill_what_it_lacks(whose, reference, spare):
    regions = ["XR_KNEE", "XR_KNEE", "XR_KNEE", "XR_KNEE", "XR_HAND"]
    images = [
        LabeledImage(path=Path(f"{n}.png"), anatomy=region, patient=str(n), study=str(n), label=n % 2)
        for n, region in enumerate(regions)
    ]
    none = torch.zeros(0, dtype=torch.long)
    material = Material(images, torch.tensor([0]), none, torch.tensor([1, 2]), torch.tensor([3, 4]))
    found = judged_on(material, whose)
    assert (found.reference.tolist(), found.spare.tolist()) == (reference, spare)


def test_a_stated_sensitivity_or_specificity_is_that_of_studies_and_an_alert_is_of_any_image():
    generator = np.random.default_rng(2)
    images, probabilities = [], []
    for study in range(600):
        label, name = study % 2, str(study)
        for view in range(3):
            seen = label and generator.random() < 0.6
            probabilities.append(float(sigmoid(np.array(generator.normal() + 3 * seen - 1.5))))
            path = Path(f"{name}-{view}.png")
            images.append(LabeledImage(path=path, anatomy="XR_HAND", patient=name, study=name, label=label))
    studies = by_study(images, np.array(probabilities))
    normal = studies.labels == 0
    sensitive = set_thresholds(studies, Targets(sensitivity=0.95))
    specific = set_thresholds(studies, Targets(specificity=0.9, alert_specificity=0.95))
    assert (studies.mean[~normal] >= sensitive.abnormal).mean() == pytest.approx(0.95, abs=0.01)
    assert (studies.mean[normal] < specific.abnormal).mean() == pytest.approx(0.9, abs=0.01)
    assert (studies.highest[normal] < specific.alert).mean() >= 0.95
    assert "95% of the abnormal held-back studies" in sensitive.abnormal_rule
