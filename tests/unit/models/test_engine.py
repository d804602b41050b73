"""What puts images through a model gives the model's numbers; what needs a GPU is left out where there is none."""

import numpy as np
import pytest
import torch

from triage_agent.models.engine import CudaDevice, one_by_one
from triage_agent.models.scorer import load_scorer
from triage_agent.models.siglip import SiglipEncoder

CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 144,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "pooling": "mean",
}


@pytest.fixture
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    return torch.device("cuda", 0)


def model(batch):
    assert len(batch) == 1
    return batch.sum((1, 2, 3)), batch.flatten(1)


def test_on_a_cpu_images_go_one_by_one_and_come_back_in_order():
    images = [torch.full((1, 2, 2), float(number)) for number in range(3)]
    logits, embeddings = one_by_one(model, images)
    assert (logits.dtype, embeddings.dtype) == (torch.float64, torch.float64)
    assert logits.tolist() == [0, 4, 8]
    assert embeddings.tolist() == [[0] * 4, [1] * 4, [2] * 4]


def tower(device, precision):
    torch.manual_seed(7)
    encoder = SiglipEncoder(CONFIG)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder.for_inference(device, precision)


def as_model(embed):
    def run(batch):
        embedding = embed(batch)
        return embedding[:, 0], embedding

    return run


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("auto", 2e-2)])
def test_a_gpu_gives_the_cpus_numbers_for_every_place_of_a_batch(gpu, precision, tolerance):
    here, there = tower(torch.device("cpu"), "float32"), tower(gpu, precision)
    images = [here.preprocess(np.random.default_rng(seed).random((70, 60), np.float32)) for seed in range(9)]
    device = CudaDevice(as_model(there.accelerated()), gpu, 4, images[0])
    assert device.is_captured
    _, expected = one_by_one(as_model(here), images)
    started = [device.start(images[start : start + 4]) for start in range(0, 9, 4)]
    found = torch.cat([one.wait()[1] for one in started])
    assert (found - expected).norm() / expected.norm() < tolerance
    alone = device.start([images[8]]).wait()[1]
    assert torch.equal(alone[0], found[8])  # whatever lay beside it


@pytest.mark.gpu
def test_a_model_that_cannot_be_captured_is_run_all_the_same(gpu):
    def awkward(batch):
        total = batch.sum((1, 2, 3))
        float(total[0])  # waits for the device, which no graph can
        return total, batch.flatten(1)

    image = torch.ones(1, 4, 4)
    device = CudaDevice(awkward, gpu, 2, image)
    assert not device.is_captured
    assert device.start([image, image * 2]).wait()[0].tolist() == [16, 32]


@pytest.mark.gpu
def test_the_embedded_bundle_scores_on_a_gpu_as_on_a_cpu(gpu):
    pictures = [np.random.default_rng(seed).random((300 + seed, 200), np.float32) ** 2 for seed in range(11)]
    here, there = load_scorer("embedded", "cpu").score(pictures), load_scorer("embedded", "cuda").score(pictures)
    assert [one.probability for one in there] == pytest.approx([one.probability for one in here], abs=2e-3)
    assert [one.seen_anatomy for one in there] == [one.seen_anatomy for one in here]
