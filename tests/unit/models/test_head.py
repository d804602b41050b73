import pytest
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.models.bundle import HeadSpec
from triage_agent.models.head import build_head


def test_an_mlp_is_linear_relu_dropout_for_each_width_and_one_output():
    head = build_head(HeadSpec(kind="mlp", input_dim=6, hidden=(5, 3), dropout=0.1))

    assert [type(layer).__name__ for layer in head.layers] == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert [tuple(parameter.shape) for parameter in head.parameters() if parameter.ndim == 2] == [
        (5, 6),
        (3, 5),
        (1, 3),
    ]
    assert head(torch.zeros(4, 6)).shape == (4,)


def test_a_linear_head_is_a_logistic_regression():
    head = build_head(
        HeadSpec(kind="linear", input_dim=2),
        {"layers.0.weight": torch.tensor([[2.0, -1.0]]), "layers.0.bias": torch.tensor([0.5])},
    )

    assert head(torch.tensor([[1.0, 3.0]])).tolist() == [-0.5]


def test_weights_stored_as_float16_are_used_as_float32():
    spec = HeadSpec(kind="linear", input_dim=2)
    head = build_head(spec, {name: tensor.half() for name, tensor in build_head(spec).state_dict().items()})

    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}


def test_weights_of_another_head_are_refused_in_one_line():
    other = build_head(HeadSpec(kind="linear", input_dim=3)).state_dict()

    with pytest.raises(BundleError, match="do not fit its spec") as caught:
        build_head(HeadSpec(kind="linear", input_dim=2), other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [HeadSpec(kind="mlp", input_dim=2), HeadSpec(kind="linear", input_dim=2, hidden=(3,))])
def test_a_kind_that_contradicts_its_widths_is_refused(spec):
    with pytest.raises(BundleError, match="hidden widths"):
        build_head(spec)


def attention(**changes):
    return HeadSpec(kind="attention", input_dim=8, attention_heads=2, **changes)


def test_an_attention_head_finds_the_token_that_it_looks_for():
    torch.manual_seed(0)
    head = build_head(attention())
    with torch.no_grad():
        width = 8
        head.pool.attention.in_proj_weight[: 2 * width].copy_(torch.eye(width).repeat(2, 1))
        head.pool.query.zero_()[..., [0, 4]] = 100.0  # each of its two heads looks at its first number
    tokens = torch.randn(1, 5, width).clamp(-1, 1)
    tokens[0, 3, [0, 4]] = 9.0
    found = head.pool(tokens)
    alone = head.pool(tokens[:, 3:4])

    assert torch.allclose(found, alone, atol=1e-4)
    assert not torch.allclose(head.pool(tokens[:, :3]), alone, atol=1e-2)


def test_an_attention_head_does_not_mind_the_order_of_tokens():
    torch.manual_seed(0)
    head = build_head(attention(hidden=(4,))).eval()
    tokens = torch.randn(3, 6, 8)

    assert head(tokens).shape == (3,)
    assert torch.allclose(head(tokens), head(tokens[:, torch.randperm(6)]), atol=1e-5)
    assert head(tokens[:, 0]).shape == (3,)


def test_the_other_heads_take_the_mean_of_tokens():
    head = build_head(HeadSpec(kind="linear", input_dim=8))
    tokens = torch.randn(2, 6, 8)

    assert torch.allclose(head(tokens), head(tokens.mean(1)), atol=1e-6)


def test_heads_that_do_not_divide_the_embedding_are_refused():
    with pytest.raises(BundleError, match="3 attention heads cannot share 8 numbers"):
        build_head(attention().model_copy(update={"attention_heads": 3}))


def test_a_bundle_from_before_the_attention_head_is_read_as_it_was_meant():
    assert HeadSpec.model_validate({"kind": "linear", "input_dim": 2}).attention_heads == 1
