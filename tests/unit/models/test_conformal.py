import numpy as np
import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.models.calibration import sigmoid
from triage_agent.models.conformal import ALPHAS, bands, fit_conformal


def drawn(count, seed, shift=1.5):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count).astype(float)
    return sigmoid(generator.normal(size=count) + shift * (2 * labels - 1)), labels


def missed(band, probabilities, labels):
    """Shares of normal studies called abnormal for sure, and of abnormal ones called normal for sure."""
    wrong_normal = probabilities[labels == 0] > band.normal_to
    wrong_abnormal = probabilities[labels == 1] < band.abnormal_from
    return wrong_normal.mean(), wrong_abnormal.mean()


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_the_error_rate_holds_on_average_in_each_class_of_each_region(alpha):
    rates = []
    for seed in range(60):
        hard, hard_labels = drawn(200, seed, shift=0.5)
        easy, easy_labels = drawn(200, 1000 + seed, shift=2.5)
        spec = fit_conformal(
            np.r_[hard, easy], np.r_[hard_labels, easy_labels], ["XR_HAND"] * 200 + ["XR_KNEE"] * 200, alpha
        )
        found = bands(spec, alpha)
        new = {"XR_HAND": drawn(400, 2000 + seed, 0.5), "XR_KNEE": drawn(400, 3000 + seed, 2.5)}
        rates.append([missed(found[region], *studies) for region, studies in new.items()])
    assert np.mean(rates, axis=0) == pytest.approx(np.full((2, 2), alpha), abs=0.02)


def test_a_lower_error_rate_leaves_more_uncertain():
    spec = fit_conformal(*drawn(500, 0), ["XR_KNEE"] * 500, 0.1)
    widths = [bands(spec, alpha)[""].normal_to - bands(spec, alpha)[""].abnormal_from for alpha in ALPHAS]
    assert widths == sorted(widths, reverse=True)


def test_too_few_studies_rule_nothing_out():
    spec = fit_conformal(np.array([0.2, 0.8]), np.array([0.0, 1.0]), ["XR_KNEE"] * 2, 0.1)
    assert (bands(spec, 0.1)[""].abnormal_from, bands(spec, 0.1)[""].normal_to) == (0.0, 1.0)


def test_a_region_with_few_studies_has_no_quantiles_of_its_own():
    probabilities, labels = drawn(420, 1)
    spec = fit_conformal(probabilities, labels, ["XR_KNEE"] * 400 + ["XR_HAND"] * 20, 0.1)
    assert set(bands(spec, 0.1)) == {"", "XR_KNEE"}


def test_the_quantile_is_that_of_the_textbook():
    probabilities = np.arange(1, 20) / 20  # 19 normal studies: the 18th of 19 scores at an error rate of a tenth
    spec = fit_conformal(np.r_[probabilities, 0.5], np.r_[np.zeros(19), 1.0], ["XR_KNEE"] * 20, 0.1)
    assert bands(spec, 0.1)[""].normal_to == pytest.approx(18 / 20)


def test_a_rate_between_two_that_were_computed_errs_on_the_safe_side():
    spec = fit_conformal(*drawn(500, 0), ["XR_KNEE"] * 500, 0.1)
    assert bands(spec, 0.105) == bands(spec, 0.1)


@pytest.mark.parametrize("alpha", [0.001, 0.5])
def test_a_rate_that_the_bundle_has_not_is_refused(alpha):
    spec = fit_conformal(*drawn(100, 0), ["XR_KNEE"] * 100, 0.1)
    with pytest.raises(ConfigurationError, match="error rate"):
        bands(spec, alpha)
