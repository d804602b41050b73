"""Quantiles, the stability of distributions, and what is counted of studies and of readers' words."""

import math
import statistics
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.labelled import word

from triage_agent.domain.feedback import Verdict
from triage_agent.domain.figures import (
    BINS,
    DRIFTED,
    LEAST,
    Course,
    Scores,
    agreement_by_region,
    agreement_by_week,
    bin_of,
    drifts,
    positive,
    quantile,
    spread,
    stability,
)
from triage_agent.domain.vocabulary import Finding

AT = datetime(2026, 3, 4, tzinfo=UTC)  # a Wednesday
COUNTS = st.lists(st.integers(0, 10_000), min_size=BINS, max_size=BINS)
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES, st.floats(0, 1))
def test_a_quantile_lies_among_the_values_and_so_many_are_not_above_it(values, share):
    found = quantile(values, share)
    assert min(values) <= found <= max(values)
    assert sum(value <= found + 1e-6 for value in values) >= math.floor(share * (len(values) - 1)) + 1


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_share_is_no_lower_a_quantile(values, one, other):
    assert quantile(values, min(one, other)) <= quantile(values, max(one, other)) + 1e-6


@given(VALUES)
def test_the_middle_is_the_median(values):
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-6)


def test_of_nothing_there_is_no_quantile():
    assert quantile([], 0.5) is None
    assert spread([(AT, None)]).number == 0


@given(COUNTS, COUNTS)
def test_stability_is_no_less_than_nothing_and_the_same_both_ways(one, other):
    index = stability(one, other)
    assert index >= 0
    assert math.isfinite(index)
    assert index == pytest.approx(stability(other, one))


@given(COUNTS)
def test_what_is_alike_is_stable(counts):
    assert stability(counts, counts) == pytest.approx(0, abs=1e-12)


@given(COUNTS, COUNTS, st.permutations(range(BINS)))
def test_the_order_of_bins_does_not_matter(one, other, order):
    mixed = [one[place] for place in order], [other[place] for place in order]
    assert stability(*mixed) == pytest.approx(stability(one, other))


def test_the_index_is_the_textbook_s():
    """Shares 0.5 and 0.5 become 0.6 and 0.4: 0.1 ln(0.6/0.5) - 0.1 ln(0.4/0.5)."""
    expected = 0.1 * math.log(1.2) - 0.1 * math.log(0.8)
    assert stability([500_000, 500_000], [600_000, 400_000]) == pytest.approx(expected, abs=1e-5)


@given(st.floats(0, 1))
def test_every_probability_has_its_bin(probability):
    place = bin_of(probability)
    assert 0 <= place < BINS
    assert place / BINS - 1e-9 <= probability <= (place + 1) / BINS + 1e-9


def test_a_shift_is_an_alarm_and_too_few_are_none():
    even, shifted = [LEAST // BINS] * BINS, [0] * 5 + [LEAST // 5] * 5
    found = {one.region: one for one in drifts(Scores("b", AT, {"a": even, "b": even}, {"a": even, "b": shifted}))}
    assert not found["a"].alarm
    assert found["b"].alarm
    assert found["b"].index > DRIFTED
    few = [1] * BINS
    (one,) = drifts(Scores("b", AT, {"a": even}, {"a": few}))
    assert (one.index, one.alarm) == (None, False)
    (one,) = drifts(Scores("b", AT, {}, {"a": even}))
    assert one.index is None


def course(**changes):
    values = {"received_at": AT, "flagged_at": None, "delivered_at": None, "region": "XR_KNEE", "finding": None}
    return Course(**{**values, **changes})


def test_positive_are_the_abnormal_of_those_with_a_finding():
    found = positive(
        [
            course(finding=Finding.ABNORMAL),
            course(finding=Finding.NORMAL),
            course(finding=Finding.UNCERTAIN),
            course(finding=Finding.NOT_ASSESSED),
            course(),
            course(finding=Finding.ABNORMAL, region=None),
        ]
    )
    assert [(one.name, one.part, one.whole) for one in found] == [("", 1, 1), ("XR_KNEE", 1, 3)]


def test_a_spread_counts_what_has_ended():
    found = spread([(AT, AT + timedelta(seconds=number)) for number in range(101)] + [(AT, None)])
    assert (found.number, found.half, found.most) == (101, 50, 95)


def test_agreement_is_counted_by_region_and_by_week():
    words = [word(1), word(2, Verdict.MISSED), word(3, region=None)]
    assert [(one.name, one.part, one.whole) for one in agreement_by_region(words)] == [("", 1, 1), ("XR_KNEE", 1, 2)]
    assert [(one.name, one.whole) for one in agreement_by_week(words)] == [("2026-02-23", 3)]  # 1 March is a Sunday
