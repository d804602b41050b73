"""A square that a decoder samples is the one that the encoder would have made of the whole image."""

import numpy as np
import pytest
import torch

from triage_agent.imaging.sample import sampled
from triage_agent.imaging.shown import Shown
from triage_agent.models.siglip import SiglipEncoder, pad_and_resize

RANDOM = np.random.default_rng(5)


def shown_of(height, width):
    stored = RANDOM.integers(0, 4096, (height, width)).astype(np.uint16)
    return Shown(stored, np.linspace(0, 1, 1 << 16, dtype=np.float32) ** 0.5)


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(300, 200, 56), (200, 301, 56), (501, 333, 112), (56, 56, 56), (40, 30, 56), (113, 112, 56), (900, 64, 448)],
)
def test_a_sample_is_what_padding_and_resizing_the_whole_gives(height, width, side):
    shown = shown_of(height, width)
    expected = pad_and_resize(shown.whole(), side).numpy()
    found = sampled(shown, side)
    assert (found.shape, found.dtype) == ((side, side), np.float32)
    # Of noise, the worst of images. torch may fuse a product and a sum: a place's last digit, times a step of grey
    assert np.abs(found - expected).max() < 5e-5
    assert np.abs(found - expected).mean() < 1e-6


def test_an_encoder_takes_a_sample_as_it_is():
    encoder = SiglipEncoder(
        {
            "hidden_size": 32,
            "intermediate_size": 72,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        }
    )
    square = sampled(shown_of(300, 200), encoder.sampled_side)
    assert torch.equal(encoder.preprocess(square), ((torch.from_numpy(square) - 0.5) / 0.5).expand(3, -1, -1))
