"""The benchmark's own code, at a tiny size on the CPU, so that it runs where a GPU is."""

import json

import pytest
import torch
from support.towerbench import TOWERS, ceiling_of, flops_of, from_dicom, random_tower, report_of, speed_of
from support.xrays import radiograph
from torch.utils.flop_counter import FlopCounterMode

CPU = torch.device("cpu")
TINY = {
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}


@pytest.mark.parametrize(("kind", "pooling"), [("medgemma", "mean"), ("medsiglip", "head")])
def test_the_formula_counts_what_torch_counts(kind, pooling):
    config = {**TINY, "pooling": pooling}
    encoder = random_tower(kind, config, CPU)
    encoder.tower.config._attn_implementation = "eager"  # fused attention on the CPU is counted as nothing
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(3, 3, 56, 56))
    assert counter.get_total_flops() == pytest.approx(3 * flops_of(config), rel=0.01)


def test_a_full_size_image_costs_what_is_known_of_it():
    found = {kind: flops_of(config) / 1e12 for kind, (config, _) in TOWERS.items()}
    assert found == {"medgemma": pytest.approx(5.4, abs=0.1), "medsiglip": pytest.approx(0.95, abs=0.04)}


def test_speed_is_measured_against_the_ceiling_of_the_same_device():
    config = {**TINY, "pooling": "mean"}
    encoder = random_tower("medgemma", config, CPU)
    ceiling = ceiling_of(CPU, torch.float32, sides=(64, 128), repeats=3)
    speed = speed_of(encoder, config, CPU, 2, ceiling, repeats=2)
    assert speed.images_per_second == pytest.approx(2 / speed.seconds)
    assert speed.share_of_ceiling == pytest.approx(speed.images_per_second * flops_of(config) / ceiling)
    assert speed.peak_memory is None
    report = report_of("medgemma", config, 0.5, CPU, [speed], ceiling, {})
    assert json.loads(json.dumps(report))["speeds"][0]["batch"] == 2


def test_from_dicom_gives_the_embeddings_of_the_files_in_order(tmp_path):
    encoder = random_tower("medgemma", {**TINY, "pooling": "mean"}, CPU)
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.dcm")
        radiograph(seed=seed).save_as(paths[-1])
    together, figures = from_dicom(encoder, paths, CPU, batch=2, workers=2)
    alone, _ = from_dicom(encoder, paths[2:], CPU, batch=1, workers=1)
    assert together.shape == (3, 32)
    assert torch.allclose(together[2:], alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-6)
    assert all(figures[key] > 0 for key in ("images_per_second", "seconds_load", "seconds_preprocess", "seconds_tower"))
