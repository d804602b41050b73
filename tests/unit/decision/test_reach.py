"""Rules that never fire, and policies that do nothing, are told before anybody relies on them."""

from dataclasses import fields, replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule
from triage_agent.decision.reach import covers, doubts, shadowed
from triage_agent.decision.rules import Hours
from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.vocabulary import Finding, Priority

ABNORMAL, NORMAL, UNCERTAIN, _ = Finding
SCORED = (ABNORMAL, NORMAL, UNCERTAIN)


def policy(*conditions, priority=Priority.URGENT):
    rules = (Rule(name=f"r{number}", when=when, priority=priority) for number, when in enumerate(conditions))
    return Policy(rules=tuple(rules))


@pytest.mark.parametrize(
    ("earlier", "later", "never"),
    [
        (Condition(), Condition(finding=ABNORMAL), True),
        (Condition(finding=ABNORMAL), Condition(), False),
        (Condition(min_probability=0.5), Condition(min_probability=0.8), True),
        (Condition(min_probability=0.8), Condition(min_probability=0.5), False),
        (Condition(max_probability=0.5), Condition(), False),
        (Condition(anatomies=("XR_KNEE", "XR_HIP")), Condition(anatomies=("XR_HIP",)), True),
        (Condition(anatomies=("XR_HIP",)), Condition(), False),
        (Condition(above_threshold=True), Condition(finding=ABNORMAL), True),
        (Condition(uncertainty=True), Condition(finding=UNCERTAIN), True),
        (Condition(finding=UNCERTAIN), Condition(uncertainty=True), True),
        (Condition(locations=("ED",)), Condition(locations=("ed r1",)), True),
        (Condition(locations=("ED R1",)), Condition(locations=("ED",)), False),
        (Condition(max_age=15), Condition(max_age=3), True),
        (Condition(min_age=0), Condition(), False),  # the later one needs no age
        (Condition(hours=Hours(time(18), time(7))), Condition(hours=Hours(time(22), time(6))), True),
        (Condition(hours=Hours(time(18), time(7))), Condition(hours=Hours(time(6), time(8))), False),
        (Condition(weekdays=(5, 6)), Condition(weekdays=(6,)), True),
        (Condition(weekdays=(5, 6)), Condition(hours=Hours(time(1), time(2))), False),
    ],
)
def test_a_rule_is_told_of_that_an_earlier_one_leaves_nothing_to(earlier, later, never):
    found = shadowed(policy(earlier, later))
    assert [(rule.name, before.name) for rule, before in found] == ([("r1", "r0")] if never else [])


def test_the_built_in_rules_raise_no_doubt():
    assert doubts(DEFAULT_POLICY, {"XR_KNEE"}) == ()


def test_doubts_name_the_rule_and_the_remedy():
    found = doubts(policy(Condition(anatomies=("XR_KNE",)), priority=Priority.ROUTINE), {"XR_KNEE", "XR_HIP"})
    assert [(one.number, one.is_mistake) for one in found] == [(0, True), (None, False)]
    assert (found[0].remedy, "no rule raises anything" in found[1].what) == ("did you mean 'XR_KNEE'?", True)


probabilities = st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0])
ages = st.sampled_from([None, 0, 5, 15])
conditions = st.builds(
    Condition,
    finding=st.sampled_from([None, *SCORED]),
    min_probability=probabilities,
    max_probability=probabilities,
    anatomies=st.sampled_from([(), ("XR_KNEE",), ("XR_KNEE", "XR_HIP")]),
    above_threshold=st.sampled_from([None, True, False]),
    uncertainty=st.sampled_from([None, True, False]),
    order_priorities=st.sampled_from([(), (Priority.STAT,), (Priority.URGENT, Priority.STAT)]),
    locations=st.sampled_from([(), ("ED",), ("ED R1", "ICU")]),
    patient_classes=st.sampled_from([(), ("E",), ("e", "I")]),
    min_age=ages,
    max_age=ages,
    hours=st.sampled_from([None, Hours(time(18), time(7)), Hours(time(7), time(12)), Hours(time(20), time(6))]),
    weekdays=st.sampled_from([(), (6,), (5, 6)]),
)
known = st.builds(
    Circumstances,
    order_priority=st.sampled_from([None, *Priority]),
    location=st.sampled_from(["", "ED", "ED R1", "ICU 3"]),
    patient_class=st.sampled_from(["", "E", "I"]),
    age=st.sampled_from([None, 0, 5, 10, 40]),
    arrived_at=st.sampled_from([None, *(datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 6, 7, 12, 18, 21))]),
)


@settings(deadline=None)
@given(conditions, conditions, st.sampled_from([0.0, 0.25, 0.4, 0.5, 0.75, 1.0]), st.booleans(), known)
def test_what_covers_a_condition_holds_wherever_that_one_does(earlier, later, probability, uncertain, facts):
    if not covers(earlier, later):
        return
    above = probability >= 0.5
    finding = UNCERTAIN if uncertain else (ABNORMAL if above else NORMAL)
    asked = (finding, probability, "XR_KNEE")
    if later.holds(*asked, above_threshold=above, known=facts):
        assert earlier.holds(*asked, above_threshold=above, known=facts)


def can_hold(when):
    return when.finding is None or (
        when.uncertainty in {None, when.finding is UNCERTAIN}
        and (when.finding is UNCERTAIN or when.above_threshold in {None, when.finding is ABNORMAL})
    )


@settings(deadline=None)
@given(conditions.filter(can_hold), st.sets(st.sampled_from([field.name for field in fields(Condition)])))
def test_a_condition_that_asks_for_less_is_seen_to_cover_the_other(later, left_out):
    defaults = {field.name: field.default for field in fields(Condition) if field.name in left_out}
    assert covers(replace(later, **defaults), later)
