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
