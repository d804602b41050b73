"""What every encoder in the registry promises, on the real classes at a tiny size."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from triage_agent.domain.errors import BundleError
from triage_agent.models.bundle import EncoderSpec
from triage_agent.models.encoder import pooled
from triage_agent.models.registry import REGISTRY, build_encoder, tuned_spec
from triage_agent.models.spec import ENCODER_FILE

TINY_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
TINY = {
    "medgemma": {**TINY_TOWER, "pooling": "mean"},
    "medsiglip": {**TINY_TOWER, "pooling": "head"},
    "siglip": {**TINY_TOWER, "pooling": "head"},
    "compact": {"image_size": 56, "stem": 4, "widths": [8, 16], "depths": [1, 1]},
    "densenet": {"image_size": 56, "layers": [1, 2], "growth": 4, "stem": 8},
    "autoencoder": {"image_size": 56, "widths": [8, 8], "code": 2},
}
GRIDS = {
    f"{kind} as a grid": {**TINY[kind], "pooling": "grid", "grid": 2} for kind in ("medgemma", "siglip", "compact")
}
VARIANTS = TINY | GRIDS
SIZES = [(56, 56), (90, 41), (41, 90), (1, 200), (7, 7)]


@pytest.fixture(params=sorted({*REGISTRY, *VARIANTS}))
def encoder(request):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return REGISTRY[request.param.split()[0]].load()(VARIANTS[request.param]).eval()


def picture(height=64, width=48, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


def embed(encoder, *pictures):
    with torch.inference_mode():
        return encoder(torch.stack([encoder.preprocess(one) for one in pictures]))


def test_its_kind_is_its_key_and_its_config_is_json(encoder):
    assert REGISTRY[encoder.kind].load() is type(encoder)
    assert json.loads(json.dumps(encoder.config)) == encoder.config


@pytest.mark.parametrize("size", SIZES)
def test_any_picture_becomes_a_finite_square(encoder, size):
    tensor = encoder.preprocess(picture(*size))

    assert tensor.dtype is torch.float32
    assert tensor.shape[1:] == (encoder.image_size, encoder.image_size)
    assert tensor.shape[0] in {1, 3}
    assert tensor.isfinite().all()


def test_black_and_white_are_the_ends_of_the_range(encoder):
    black = encoder.preprocess(np.zeros((60, 60), dtype=np.float32))
    white = encoder.preprocess(np.ones((60, 60), dtype=np.float32))
    some = encoder.preprocess(picture())

    assert torch.allclose(black, black.max(), atol=1e-6)
    assert torch.allclose(white, white.max(), atol=1e-6)
    assert black.max() < white.min()
    assert black.max() <= some.min() + 1e-6
    assert some.max() <= white.min() + 1e-6


def test_what_is_added_to_make_a_square_is_black(encoder):
    tall = encoder.preprocess(np.ones((60, 20), dtype=np.float32))
    black = encoder.preprocess(np.zeros((60, 60), dtype=np.float32))
    edge = encoder.image_size // 4

    assert torch.allclose(tall[:, :, :edge], black[:, :, :edge], atol=1e-5)
    assert torch.allclose(tall[:, :, -edge:], black[:, :, -edge:], atol=1e-5)
    assert tall.mean() > black.mean()


def test_preprocessing_leaves_the_picture_alone(encoder):
    original = picture()
    kept = original.copy()
    encoder.preprocess(original)

    assert np.array_equal(original, kept)


def test_embeddings_have_the_promised_shape_and_tell_pictures_apart(encoder):
    embeddings = embed(encoder, *(picture(seed=seed) for seed in range(3)))

    tokens = encoder.config.get("pooling") == "grid"
    assert embeddings.shape == ((3, 4, encoder.embedding_dim) if tokens else (3, encoder.embedding_dim))
    assert pooled(embeddings).shape == (3, encoder.embedding_dim)
    assert embeddings.dtype is torch.float32
    assert embeddings.isfinite().all()
    assert not torch.allclose(embeddings[0], embeddings[1], atol=1e-7)


def test_one_that_is_resizable_takes_a_smaller_square_too(encoder):
    assert encoder.resizable == (encoder.kind in {"compact", "densenet"})
    if encoder.resizable:
        with torch.inference_mode():
            assert pooled(encoder(torch.zeros(1, 1, 32, 32))).shape == (1, encoder.embedding_dim)


def test_the_same_picture_has_the_same_embedding(encoder):
    assert torch.equal(embed(encoder, picture()), embed(encoder, picture()))


def test_company_in_the_batch_changes_nothing_that_matters(encoder):
    pictures = [picture(seed=seed) for seed in range(5)]

    assert torch.allclose(embed(encoder, *pictures)[2], embed(encoder, pictures[2])[0], atol=1e-5)


def test_gradients_reach_the_last_block_and_no_other_when_only_it_is_unfrozen(encoder):
    blocks = encoder.blocks()
    assert blocks
    encoder.requires_grad_(requires_grad=False)
    blocks[-1].requires_grad_(requires_grad=True)

    batch = torch.stack([encoder.preprocess(picture(seed=seed)) for seed in range(2)])
    (encoder.train()(batch) * torch.arange(encoder.embedding_dim)).sum().backward()

    own = {id(parameter) for parameter in blocks[-1].parameters()}
    reached = {id(parameter) for parameter in encoder.parameters() if parameter.grad is not None}
    assert reached
    assert reached <= own
    assert any(parameter.grad.abs().max() > 0 for parameter in blocks[-1].parameters() if parameter.grad is not None)


def test_blocks_are_different_parts_of_it(encoder):
    blocks = encoder.blocks()
    modules = list(encoder.modules())

    assert len({id(block) for block in blocks}) == len(blocks)
    assert all(isinstance(block, nn.Module) and block in modules for block in blocks)


def test_a_changed_weight_changes_the_digest(encoder):
    before = encoder.digest()
    assert encoder.digest() == before
    with torch.no_grad():
        next(encoder.blocks()[-1].parameters()).add_(1e-3)

    assert encoder.digest() != before


def test_config_and_state_alone_rebuild_it(encoder, tmp_path):
    save_file({name: tensor.clone() for name, tensor in encoder.state_dict().items()}, tmp_path / ENCODER_FILE)
    base = EncoderSpec(kind=encoder.kind, source="elsewhere/base", image_size=encoder.image_size)
    spec = EncoderSpec.model_validate_json(tuned_spec(encoder, base).model_dump_json())

    rebuilt = build_encoder(spec, tmp_path).for_inference(torch.device("cpu"))

    assert torch.equal(embed(rebuilt, picture()), embed(encoder, picture()))
    assert not any(parameter.requires_grad for parameter in rebuilt.parameters())


def test_a_state_with_a_hole_is_refused(encoder):
    state = encoder.state_dict()
    lost = min(state)
    del state[lost]

    with pytest.raises(BundleError, match=f"missing {lost}"):
        type(encoder).restore(encoder.config, state)
