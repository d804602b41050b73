"""Rules that ask for more than the scores: what holds, what is not known, and how it is told."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, decide, flag_for
from triage_agent.decision.rules import Hours
from triage_agent.decision.sentences import policy_in_words, rule_in_words
from triage_agent.domain.circumstances import Circumstances, age_at
from triage_agent.domain.vocabulary import Finding, Priority

ABNORMAL = Finding.ABNORMAL
SUNDAY_NIGHT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # half past midnight, on Monday, in Berlin
KNOWN = Circumstances(
    order_priority=Priority.URGENT, location="ED R1 B2", patient_class="E", age=7, arrived_at=SUNDAY_NIGHT
)
NIGHT = Hours(time(18), time(7))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Condition(order_priorities=(Priority.URGENT, Priority.STAT)), True),
        (Condition(order_priorities=(Priority.STAT,)), False),
        (Condition(locations=("ed",)), True),
        (Condition(locations=("ED R1",)), True),
        (Condition(locations=("E", "R1", "ED R2")), False),
        (Condition(patient_classes=("e",)), True),
        (Condition(patient_classes=("I",)), False),
        (Condition(min_age=7, max_age=7), True),
        (Condition(max_age=6), False),
        (Condition(min_age=8), False),
        (Condition(hours=NIGHT), True),
        (Condition(hours=Hours(time(7), time(18))), False),
        (Condition(hours=Hours(time(23, 30), time(23, 31))), True),
        (Condition(hours=Hours(time(23), time(23, 30))), False),
        (Condition(weekdays=(6,)), True),
        (Condition(weekdays=(0,)), False),
        (Condition(uncertainty=False), True),
        (Condition(uncertainty=True), False),
    ],
)
def test_what_is_known_of_a_study_is_held_against_each_part(condition, holds):
    assert condition.holds(ABNORMAL, 0.9, None, known=KNOWN) is holds


def test_day_and_time_are_those_of_the_policys_zone():
    berlin = ZoneInfo("Europe/Berlin")
    monday = Condition(weekdays=(0,), hours=Hours(time(0), time(1)))
    assert monday.holds(ABNORMAL, 0.9, None, known=KNOWN, zone=berlin)
    assert not monday.holds(ABNORMAL, 0.9, None, known=KNOWN)


@pytest.mark.parametrize(
    ("condition", "lacking"),
    [
        (Condition(order_priorities=tuple(Priority)), "the order's priority"),
        (Condition(locations=("ED",)), "the patient's location"),
        (Condition(patient_classes=("E",)), "the patient class"),
        (Condition(max_age=150), "the patient's age"),
        (Condition(hours=NIGHT), "when the study came"),
    ],
)
def test_what_nobody_knows_fires_nothing_and_is_told(condition, lacking, claim_study, assess, model, now):
    policy = Policy(rules=(Rule(name="mine", when=condition, priority=Priority.STAT), *DEFAULT_POLICY.rules))
    decision = decide(claim_study(1), [assess(0, 0.8)], model, policy, now)
    assert (decision.rule, decision.priority) == ("abnormal", Priority.URGENT)
    assert decision.reasons[-1] == f'Rule "mine" was passed over: {lacking} is not known.'


def test_a_rule_that_something_known_contradicts_is_not_said_to_lack_anything(claim_study, assess, model, now):
    when = Condition(locations=("ICU",), max_age=3)
    policy = Policy(rules=(Rule(name="mine", when=when, priority=Priority.STAT), *DEFAULT_POLICY.rules))
    study = replace(claim_study(1), known=Circumstances(location="ED"))
    decision = decide(study, [assess(0, 0.8)], model, policy, now)
    assert not any("passed over" in reason for reason in decision.reasons)


def test_the_rule_that_fired_is_told_with_what_it_asks_for(claim_study, assess, model, now):
    rule = Rule(
        name="ED at night",
        when=Condition(finding=ABNORMAL, min_probability=0.7, locations=("ED",), hours=NIGHT, max_age=15),
        priority=Priority.STAT,
        acr_category="1",
        routes=("ris",),
    )
    policy = Policy(rules=(rule,), zone=ZoneInfo("Europe/Berlin"))
    why = (
        "an abnormal finding; a probability of at least 0.7; the location ED; patients of at most 15 years; "
        "arrival between 18:00 and 07:00 (Europe/Berlin)"
    )
    study = replace(claim_study(1), known=KNOWN, told=frozenset({"pacs"}))
    decision = decide(study, [assess(0, 0.8)], model, policy, now)
    assert (decision.rule, decision.priority, decision.why, decision.known) == (
        "ED at night",
        Priority.STAT,
        why,
        KNOWN,
    )
    assert f'Rule "ED at night" is for {why}.' in decision.reasons
    assert decision.routes == ("pacs", "ris"), "who was told of the study before is told again"
    assert policy_in_words(policy) == (
        f'Rule "ED at night", for {why}: raise to stat, ACR category 1, results only to ris.',
    )


def test_a_rule_without_conditions_is_for_any_study():
    assert rule_in_words(Rule(name="rest", when=Condition(), priority=Priority.ROUTINE)) == (
        'Rule "rest", for any study: raise nothing.'
    )


def test_a_flag_rises_by_what_is_known_and_goes_where_its_rule_says(claim_image, assess, model, now):
    rule = Rule(name="kids", when=Condition(max_age=15), priority=Priority.STAT, routes=("ris",))
    policy = Policy(rules=(rule, *DEFAULT_POLICY.rules))
    image = claim_image()
    flag = flag_for(replace(image, known=KNOWN), assess(0, 0.95), model, policy, now)
    assert (flag.priority, flag.routes, flag.why) == (Priority.STAT, ("ris",), "patients of at most 15 years")
    assert (flag_for(image, assess(0, 0.95), model, policy, now).priority) is Priority.URGENT


@pytest.mark.parametrize(
    ("born", "age"),
    [("20190302", 6), ("20190301", 7), ("20260301", 0), ("20260302", None), ("17000101", None), ("", None)]
    + [(wrong, None) for wrong in ("2019030", "20190230", "2019-3-1", "٢٠١٩٠٣٠١", "abcdefgh")],
)
def test_an_age_is_the_completed_years_on_the_day(born, age):
    assert age_at(born, date(2026, 3, 1)) == age


def test_circumstances_are_the_same_after_they_lay_in_the_database():
    for known in (KNOWN, Circumstances()):
        assert Circumstances.of_json(known.as_json()) == known
