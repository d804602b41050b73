"""DeLong and McNemar against the definition, cases worked by hand, scipy, and seeded simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from triage_agent.learning.significance import components, delong_interval, delong_test, mcnemar


def by_definition(labels, *scores):
    """Areas and their covariance, pair by pair as DeLong 1988 writes them."""
    labels = np.asarray(labels)
    tables = []
    for probabilities in map(np.asarray, scores):
        x, y = probabilities[labels == 1], probabilities[labels == 0]
        tables.append((x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None]))
    areas = [table.mean() for table in tables]
    across = [table.mean(axis=1) for table in tables]
    down = [table.mean(axis=0) for table in tables]
    m, n = tables[0].shape
    covariance = np.array(
        [
            [
                sum((across[a] - areas[a]) * (across[b] - areas[b])) / (m - 1) / m
                + sum((down[a] - areas[a]) * (down[b] - areas[b])) / (n - 1) / n
                for b in range(len(scores))
            ]
            for a in range(len(scores))
        ]
    )
    return areas, covariance


def drawn(generator, cases=60, decimals=1):
    """Labels and two related scores with many ties."""
    labels = np.arange(cases) % 3 == 0
    common = generator.normal(size=cases)
    first, second = (np.round(labels * 0.9 + common + generator.normal(size=cases), decimals) for _ in range(2))
    return labels.astype(int), first, second


@pytest.mark.parametrize("seed", range(5))
def test_the_fast_method_gives_what_the_definition_gives_with_ties(seed):
    labels, first, second = drawn(np.random.default_rng(seed))
    areas, covariance = by_definition(labels, first, second)
    assert components(labels, first).area == pytest.approx(areas[0], abs=1e-12)
    assert components(labels, first).variance == pytest.approx(covariance[0, 0], abs=1e-12)
    spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    z = (areas[0] - areas[1]) / math.sqrt(spread)
    assert delong_test(labels, first, second) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)


def test_a_case_worked_by_hand():
    # Abnormal 3, 2; normal 1, 2: pairs (3,1) 1, (3,2) 1, (2,1) 1, (2,2) 1/2, so the area is 7/8.
    # By abnormal case 1 and 3/4, variance 1/32; by normal case 1 and 3/4, variance 1/32; in all 1/64 + 1/64.
    found = components([1, 1, 0, 0], [3, 2, 1, 2])
    assert found.area == 7 / 8
    assert found.variance == 1 / 32
    area, low, high = delong_interval([1, 1, 0, 0], [3, 2, 1, 2])
    assert (area, high) == (7 / 8, 1.0)
    assert low == pytest.approx(7 / 8 - 1.959964 * math.sqrt(1 / 32), abs=1e-6)


def test_where_the_method_has_nothing_to_say_there_is_no_interval():
    for labels, scores in (([1, 1, 0, 0], [4, 3, 2, 1]), ([1, 0, 0], [2, 1, 3]), ([1, 1], [2, 1])):
        assert np.isnan(delong_interval(labels, scores)[1:]).all()
    assert math.isnan(delong_interval([1, 1], [0.1, 0.2])[0])


def test_classifiers_that_rank_alike_do_not_differ():
    labels, first, _ = drawn(np.random.default_rng(0))
    assert delong_test(labels, first, np.exp(first)) == 1.0
    assert math.isnan(delong_test([1, 1, 0, 0], [4, 3, 2, 1], [1, 2, 3, 4]))


def test_an_interval_of_95_percent_holds_the_area_about_as_often():
    generator, truth, held = np.random.default_rng(11), stats.norm.cdf(1.2 / math.sqrt(2)), 0
    labels = np.r_[np.ones(60), np.zeros(90)]
    for _ in range(1000):
        _, low, high = delong_interval(labels, generator.normal(size=150) + 1.2 * labels)
        held += low <= truth <= high
    assert 0.925 <= held / 1000 <= 0.97


def test_two_equally_good_classifiers_are_told_apart_about_once_in_twenty_times():
    generator, found = np.random.default_rng(12), 0
    labels = np.r_[np.ones(60), np.zeros(60)]
    for _ in range(1000):
        common = generator.normal(size=120) + labels
        found += delong_test(labels, common + generator.normal(size=120), common + generator.normal(size=120)) < 0.05
    assert 0.03 <= found / 1000 <= 0.07


def test_a_better_classifier_is_found():
    generator = np.random.default_rng(13)
    labels = np.r_[np.ones(150), np.zeros(150)]
    common = generator.normal(size=300)
    assert delong_test(labels, common + 2 * labels, common + generator.normal(size=300) + labels) < 0.001


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 6), (1, 9), (3, 7), (5, 5), (12, 12), (0, 24)])
def test_few_discordant_pairs_are_judged_by_the_exact_binomial(one, other):
    first = [True] * one + [False] * other + [True] * 10
    second = [False] * one + [True] * other + [True] * 10
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (one, other)
    assert found.p == pytest.approx(stats.binomtest(one, one + other).pvalue)


def test_many_discordant_pairs_are_judged_by_chi_square_with_the_correction():
    first, second = [True] * 40 + [False] * 20, [False] * 40 + [True] * 20
    assert mcnemar(first, second).p == pytest.approx(stats.chi2.sf((20 - 1) ** 2 / 60, 1))
    assert mcnemar([True] * 30 + [False] * 30, [False] * 30 + [True] * 30).p == 1.0


def test_classifiers_that_call_alike_do_not_differ():
    assert mcnemar([True, False], [True, False]).p == 1.0
