import numpy as np
import pytest

from triage_agent.models.bundle import CalibrationSpec
from triage_agent.models.calibration import MIN_SLOPE, apply_platt, fit_platt


def drawn(a, b, n, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.3, 2.0, n)
    return logits, (rng.random(n) < 1 / (1 + np.exp(-(a * logits + b)))).astype(int)


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.35, 0.8), (1.7, -0.4), (4.0, -2.0)])
def test_a_known_map_is_recovered(a, b):
    fitted = fit_platt(*drawn(a, b, 40_000))

    assert fitted.a == pytest.approx(a, rel=0.05)
    assert fitted.b == pytest.approx(b, abs=0.06)


def test_probabilities_are_the_sigmoid_of_the_line_and_do_not_overflow():
    probabilities = apply_platt([-1e6, 0.0, 1.0, 1e6], CalibrationSpec(a=2.0, b=-1.0))

    assert probabilities == pytest.approx([0.0, 1 / (1 + np.e), np.e / (1 + np.e), 1.0])


def test_a_higher_logit_is_never_a_lower_probability_even_where_the_data_say_so():
    logits, labels = drawn(-2.0, 0.5, 2_000)

    fitted = fit_platt(logits, labels)

    assert fitted.a == MIN_SLOPE
    assert apply_platt(logits, fitted).mean() == pytest.approx(labels.mean(), abs=0.01)


def test_separable_and_tiny_samples_give_finite_maps():
    fitted = fit_platt([-9.0, -8.0, 8.0, 9.0], [0, 0, 1, 1])
    pair = fit_platt([0.0, 0.0], [0, 1])

    assert 0 < fitted.a < 5
    assert (pair.a, pair.b) == pytest.approx((1.0, 0.0))


def test_large_logits_do_not_break_the_fit():
    logits, labels = drawn(1.0, 0.0, 5_000)

    fitted = fit_platt(logits * 1e3, labels, ridge=1e-6)

    assert fitted.a == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("logits", "labels", "complaint"),
    [
        ([1.0, 2.0], [1, 1], "both classes"),
        ([1.0], [0, 1], "one label"),
        ([np.nan, 1.0], [0, 1], "finite"),
        ([0.0, 1.0], [0, 2], "0 or 1"),
    ],
)
def test_samples_that_cannot_calibrate_are_refused(logits, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        fit_platt(logits, labels)
