import numpy as np
import pytest
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.learning.reference import IMAGES_A_REGION, SLACK, fit_reference, sample
from triage_agent.models.reference import Reference, distances

REGIONS = ("XR_HAND", "XR_KNEE", "XR_WRIST")
WIDTH = 40


def drawn(count, seed, regions=REGIONS):
    """Embeddings that vary along a few directions, about a mean of their region."""
    fixed = torch.Generator().manual_seed(0)
    directions, means = torch.randn(6, WIDTH, generator=fixed), torch.randn(len(REGIONS), WIDTH, generator=fixed) * 4
    generator = torch.Generator().manual_seed(seed)
    places = [number % len(regions) for number in range(count)]
    noise = torch.randn(count, 6, generator=generator) @ directions
    fine = torch.randn(count, WIDTH, generator=generator) * 0.3
    return means[places] + noise + fine, [regions[place] for place in places]


@pytest.fixture(scope="module")
def fitted():
    return fit_reference(*drawn(600, 1), *drawn(300, 2))


@pytest.fixture(scope="module")
def reference(fitted):
    return Reference(fitted.state, input_dim=WIDTH, outlier=fitted.outlier, region=fitted.region)


def test_new_images_of_the_training_kind_are_no_outliers(reference):
    strangeness = reference.strangeness(drawn(900, 3)[0])
    assert strangeness.max() < 1
    assert strangeness.mean() == pytest.approx(1 / SLACK, abs=0.35)


def test_a_distance_of_about_one_is_an_ordinary_image(fitted):
    state = {name: tensor.double() for name, tensor in fitted.state.items()}
    assert distances(state, drawn(900, 3)[0]).mean() == pytest.approx(1, abs=0.1)


def test_what_lies_elsewhere_is_an_outlier(reference):
    assert (reference.strangeness(drawn(50, 3)[0] + 3 * torch.randn(50, WIDTH)) > 1).float().mean() > 0.9
    assert (reference.strangeness(torch.zeros(1, WIDTH)) > 1).all()


def test_regions_are_told_apart_and_the_held_back_figures_say_so(reference, fitted):
    embeddings, regions = drawn(300, 4)
    named = reference.regions(embeddings)
    right = [one == other for one, other in zip(named, regions, strict=True) if one is not None]
    assert np.mean(right) > 0.95
    assert fitted.region.accuracy > 0.95
    assert len(right) / 300 == pytest.approx(fitted.region.told, abs=0.1)


def test_one_that_lies_between_regions_is_not_named(reference, fitted):
    state = fitted.state
    between = (state["means"].double() * state["scale"].double()).mean(0, keepdim=True)
    weights = Reference(
        fitted.state | {"weight": state["weight"] * 0}, input_dim=WIDTH, outlier=None, region=fitted.region
    )
    assert weights.regions(between) == [None]


def test_a_single_region_has_an_outlier_limit_and_no_region_head():
    fitted = fit_reference(*drawn(200, 1, ("XR_KNEE",)), *drawn(50, 2, ("XR_KNEE",)))
    reference = Reference(fitted.state, input_dim=WIDTH, outlier=fitted.outlier, region=fitted.region)
    assert fitted.region is None
    assert reference.regions(torch.zeros(2, WIDTH)) == [None, None]


def test_two_regions_are_told_apart():
    two = ("XR_HAND", "XR_KNEE")
    fitted = fit_reference(*drawn(200, 1, two), *drawn(50, 2, two))
    reference = Reference(fitted.state, input_dim=WIDTH, outlier=fitted.outlier, region=fitted.region)
    embeddings, regions = drawn(40, 5, two)
    assert sum(one == other for one, other in zip(reference.regions(embeddings), regions, strict=True)) > 30


def test_a_reference_of_another_embedding_is_refused(fitted):
    with pytest.raises(BundleError, match="does not fit"):
        Reference(fitted.state, input_dim=WIDTH + 1, outlier=fitted.outlier, region=fitted.region)


def test_the_sample_is_of_every_region_and_of_a_bounded_size():
    class Image:
        def __init__(self, anatomy):
            self.anatomy = anatomy

    images = [Image("XR_KNEE")] * 2000 + [Image("XR_HAND")] * 30
    chosen = sample(images, torch.arange(2030), seed=0)
    assert len(chosen) == IMAGES_A_REGION + 30
    assert chosen == sample(images, torch.arange(2030), seed=0)
