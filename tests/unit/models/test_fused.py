"""The tower as a GPU runs it gives what transformers' gives; here in float32, where both round alike."""

import pytest
import torch

from triage_agent.models.medgemma import MedGemmaEncoder
from triage_agent.models.medsiglip import MedSiglipEncoder
from triage_agent.models.siglip import SiglipEncoder

TINY = {
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}


def encoder_of(kind, **config):
    torch.manual_seed(3)
    encoder = kind({**TINY, **config})
    for parameter in encoder.parameters():  # biases begin as zeros, norms as ones: neither would be missed
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.for_inference(torch.device("cpu"))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (MedGemmaEncoder, {"pooling": "mean"}),
        (MedSiglipEncoder, {"pooling": "head"}),
        (SiglipEncoder, {"pooling": "grid", "grid": 2}),
        (SiglipEncoder, {"pooling": "mean", "hidden_act": "gelu"}),
        (SiglipEncoder, {"pooling": "mean", "image_size": 60}),  # a margin that no patch covers
    ],
)
def test_the_accelerated_tower_gives_the_same_embeddings(kind, config):
    encoder = encoder_of(kind, **config)
    batch = torch.rand(3, 3, encoder.image_size, encoder.image_size) * 2 - 1
    with torch.inference_mode():
        expected, found = encoder(batch), encoder.accelerated()(batch)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.01


def test_a_tower_says_that_it_samples_and_at_which_side():
    assert encoder_of(MedGemmaEncoder, pooling="mean").sampled_side == 56
