import pytest
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.models.bundle import HeadSpec
from triage_agent.models.head import build_head

SPEC = HeadSpec(kind="mixture", input_dim=3, regions=("XR_HAND", "XR_KNEE"))
STATE = {
    "gate.weight": torch.tensor([[50.0, 0.0, 0.0], [-50.0, 0.0, 0.0]]),
    "gate.bias": torch.zeros(2),
    "experts.weight": torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]),
    "experts.bias": torch.tensor([0.5, -0.5]),
}


def test_each_region_has_its_own_line():
    head = build_head(SPEC, STATE).eval()
    logits = head(torch.tensor([[1.0, 4.0, 7.0], [-1.0, 4.0, 7.0]]))
    assert logits.tolist() == pytest.approx([2 * 4 + 0.5, 3 * 7 - 0.5])


def test_an_image_between_two_regions_is_given_a_share_of_both():
    head = build_head(SPEC, STATE).eval()
    assert head(torch.tensor([[0.0, 4.0, 7.0]])).item() == pytest.approx((8.5 + 20.5) / 2)


@pytest.mark.parametrize("spec", [{"kind": "mixture"}, {"kind": "linear", "regions": ("XR_KNEE",)}])
def test_regions_belong_to_a_mixture_and_to_nothing_else(spec):
    with pytest.raises(BundleError, match="regions"):
        build_head(HeadSpec(input_dim=3, **spec))


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(BundleError, match="do not fit"):
        build_head(SPEC, STATE | {"gate.bias": torch.zeros(3)})
