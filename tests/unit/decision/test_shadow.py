"""A second bundle's opinion of a study, and how two bundles get on over many."""

from dataclasses import replace

import pytest
from support.story import MODEL, T0, decision, failed, in_shadow, scored, shadow_result

from triage_agent.decision.shadow import Agreement, difference, pairs_of, to_compare
from triage_agent.decision.shadow import shadow_result as result_of
from triage_agent.domain.decision import Comparison
from triage_agent.domain.vocabulary import Event, Finding

SHADOW = replace(MODEL, name="other", digest="s" * 64, threshold=0.3, anatomies=("XR_KNEE", "XR_HAND"))


@pytest.mark.parametrize(
    ("deciding", "shadow", "finding", "agrees"),
    [
        (0.5, 0.3, Finding.ABNORMAL, True),  # each at its own threshold
        (0.49, 0.29, Finding.NORMAL, True),
        (0.49, 0.3, Finding.ABNORMAL, False),
        (0.5, 0.29, Finding.NORMAL, False),
    ],
)
def test_each_bundle_is_held_against_its_own_threshold(deciding, shadow, finding, agrees):
    result = result_of(decision(), [in_shadow("1", shadow, probability=deciding)], SHADOW)
    assert (result.finding, result.agrees) == (finding, agrees)
    assert (result.bundle, result.digest) == (SHADOW.label, SHADOW.digest)


def test_the_means_are_over_the_images_that_both_scored():
    images = [
        in_shadow("1", 0.2, probability=0.1),
        in_shadow("2", 0.6, probability=0.3),
        scored("3", 0.99),  # the shadow has nothing to say of it
        in_shadow("4", None, probability=0.99),
        failed("5"),
    ]
    result = result_of(decision(), images, SHADOW)
    assert result.probability == pytest.approx(0.4)
    assert result.agrees is False  # 0.2 is below 0.5, 0.4 is above 0.3


def test_what_an_earlier_shadow_bundle_said_is_not_mixed_in():
    old = replace(in_shadow("1", 0.9), shadow_digest="old")
    assert result_of(decision(), [old, in_shadow("2", 0.1)], SHADOW).probability == pytest.approx(0.1)
    assert result_of(decision(), [old], SHADOW) is None


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"anatomy": None}, True),
        ({"anatomy": "XR_KNEE"}, True),
        ({"anatomy": "XR_HAND"}, False),  # not of the deciding bundle
        ({"digest": "e" * 64}, False),  # of another bundle than the decision's
    ],
)
def test_only_images_that_count_for_both_are_compared(change, counts):
    assert bool(to_compare(decision(), [scored("1", **change)], SHADOW)) is counts


def test_a_region_that_the_shadow_does_not_know_is_not_compared():
    assert to_compare(decision(), [scored("1")], replace(SHADOW, anatomies=("XR_HAND",))) == []


def test_a_decision_without_a_probability_has_nothing_to_agree_with():
    unread = decision(event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None)
    assert result_of(unread, [in_shadow("1")], SHADOW) is None


# --- many studies -----------------------------------------------------------------------------------------------------
def results(*sides):
    """(deciding says abnormal, shadow says abnormal) each."""
    return [
        shadow_result(finding=Finding.ABNORMAL if shadow else Finding.NORMAL, agrees=deciding == shadow)
        for deciding, shadow in sides
    ]


def test_the_four_counts_come_from_the_shadow_s_side_and_whether_it_agrees():
    sides = [(1, 1)] * 4 + [(1, 0)] * 3 + [(0, 1)] * 2 + [(0, 0)]
    assert Agreement.of(results(*sides)) == Agreement(both_abnormal=4, only_deciding=3, only_shadow=2, both_normal=1)


def test_kappa_is_that_of_the_textbook():
    """Cohen 1960's kappa of the usual worked example: 20, 5, 10, 15 of 50."""
    agreement = Agreement(both_abnormal=20, only_deciding=5, only_shadow=10, both_normal=15)
    assert (agreement.studies, agreement.share) == (50, pytest.approx(0.7))
    assert agreement.kappa == pytest.approx(0.4)


def test_kappa_of_nothing_or_of_one_answer_only_is_none():
    assert (Agreement().kappa, Agreement().share) == (None, None)
    assert Agreement(both_normal=9).kappa is None
    assert Agreement(only_deciding=2, only_shadow=2).kappa == pytest.approx(-1)


def comparison(number, *, anatomy="XR_KNEE", bundle="a 1", probability=0.8, **shadow):
    return Comparison(
        study_instance_uid=f"1.2.{number}",
        revision=1,
        anatomy=anatomy,
        decided_at=T0.replace(minute=number),
        bundle=bundle,
        probability=probability,
        shadow=shadow_result(**shadow),
    )


def test_each_pair_of_bundles_is_by_itself_and_the_latest_first():
    studies = [comparison(1), comparison(2, bundle="b 1"), comparison(3, bundle="b 1"), comparison(4)]
    first, second, third = pairs_of([*studies, replace(comparison(5), shadow=shadow_result(bundle="new 2"))])
    assert [(pair.bundle, pair.shadow, pair.overall.studies) for pair in (first, second, third)] == [
        ("a 1", "new 2", 1),
        ("a 1", "other 1.0 (ssssssssssss)", 2),
        ("b 1", "other 1.0 (ssssssssssss)", 2),
    ]


def test_regions_add_up_and_the_largest_difference_comes_first():
    studies = [
        comparison(1, probability=0.6),
        comparison(2, anatomy="XR_HAND", probability=0.9),
        comparison(3, anatomy=None, agrees=True),
        comparison(4, probability=0.9),
    ]
    (pair,) = pairs_of(studies)
    assert {anatomy: one.studies for anatomy, one in pair.anatomies.items()} == {"": 1, "XR_HAND": 1, "XR_KNEE": 2}
    assert [one.study_instance_uid for one in pair.disagreeing] == ["1.2.2", "1.2.4", "1.2.1"]
    assert difference(pair.disagreeing[0]) == pytest.approx(0.7)
