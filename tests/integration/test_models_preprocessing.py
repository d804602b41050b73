"""What a SigLIP tower is shown, worked out by hand."""

import numpy as np
import pytest
import torch

from triage_agent.models.siglip import SiglipEncoder, pad_and_resize

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}


def test_preprocessing_by_hand():
    encoder = SiglipEncoder({**TOWER, "image_size": 4, "patch_size": 2})
    display = np.array([[0.0, 1.0], [0.25, 0.5]], dtype=np.float32)

    tensor = encoder.preprocess(display)

    # bilinear, half-pixel centres: output pixel i samples the input at (i + 0.5) / 2 - 0.5, clamped to the border
    weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], dtype=np.float32)
    expected = (weights @ display @ weights.T - 0.5) / 0.5
    assert tensor.shape == (3, 4, 4)
    assert np.allclose(tensor.numpy(), expected[None], atol=1e-6)
    assert (tensor.min(), tensor.max()) == (-1.0, 1.0)


def test_shrinking_does_not_antialias():
    stripes = np.zeros((8, 8), dtype=np.float32)
    stripes[:, ::4] = 1.0

    # a quarter of the size: samples lie between columns 1 and 2, 5 and 6, and so never see the stripes
    assert pad_and_resize(stripes, 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("shape", "rows", "columns"), [((4, 2), (0, 4), (1, 3)), ((1, 4), (1, 2), (0, 4)), ((4, 1), (0, 4), (1, 2))]
)
def test_a_picture_that_is_not_square_is_centred_on_black(shape, rows, columns):
    square = pad_and_resize(np.ones(shape, dtype=np.float32), 4)
    expected = torch.zeros(4, 4)
    expected[slice(*rows), slice(*columns)] = 1.0

    assert torch.equal(square, expected)
