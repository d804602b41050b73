import pytest
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.models.autoencoder import AutoencoderEncoder
from triage_agent.models.densenet import DenseNetEncoder


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_default_densenet_is_densenet_169_but_for_its_grey_stem():
    with torch.device("meta"):
        encoder = DenseNetEncoder()

    published, classifier, two_colours = 14_149_480, 1664 * 1000 + 1000, 2 * 64 * 7 * 7
    assert count(encoder) == published - classifier - two_colours
    assert encoder.embedding_dim == 1664
    assert len(encoder.blocks()) == 4


def test_densenets_blocks_are_all_of_it_but_the_stem():
    encoder = DenseNetEncoder({"layers": [1, 2], "growth": 4, "stem": 8})

    assert count(encoder) == count(encoder.stem) + sum(map(count, encoder.blocks()))


def test_a_dense_layer_keeps_what_came_in():
    encoder = DenseNetEncoder({"layers": [1], "growth": 3, "stem": 5}).eval()
    features = torch.rand(2, 5, 6, 6)

    assert torch.equal(encoder.stages[0][0](features)[:, :5], features)
    assert encoder.stages[0][0](features).shape == (2, 8, 6, 6)


@pytest.mark.parametrize("config", [{"layers": []}, {"growth": 0}, {"compression": 0}])
def test_a_densenet_that_cannot_be_is_refused(config):
    with pytest.raises(BundleError, match="no DenseNet has the configuration"):
        DenseNetEncoder(config)


def test_an_autoencoders_code_is_a_small_map_flattened():
    encoder = AutoencoderEncoder({"image_size": 50, "widths": [4, 8], "code": 3}).eval()
    images = torch.rand(2, 1, 50, 50)

    assert encoder.sides == [50, 25, 13]
    assert encoder.code(images).shape == (2, 3, 13, 13)
    assert torch.equal(encoder(images), encoder.code(images).flatten(1))


@pytest.mark.parametrize("config", [{"widths": []}, {"code": 0}])
def test_an_autoencoder_that_cannot_be_is_refused(config):
    with pytest.raises(BundleError, match="no autoencoder has the configuration"):
        AutoencoderEncoder(config)
