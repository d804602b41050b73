"""Other rules tried on what was decided; the same rules change nothing, and no rules lower anything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.story import MODEL

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, decide, flag_for
from triage_agent.decision.policy import of_several_patients
from triage_agent.decision.replay import Effect, replay, summary_of
from triage_agent.decision.rules import Hours
from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.history import DecidedRevision, DecidedStudy
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy, StoredInstance
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority

NOW = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
ROUTINE, URGENT, STAT = Priority
ALL = {"pacs", "ris", "chat"}  # the site's routes


def stored(number, assessment, at=NOW):
    return StoredInstance(
        sop_instance_uid=f"1.2.{number}",
        series_instance_uid="1.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=f"{number}.dcm",
        received_at=at,
        assessment=assessment,
    )


def scored(number, probability, outcome=Outcome.SCORED):
    return Assessment(
        sop_instance_uid=f"1.2.{number}",
        outcome=outcome,
        probability=probability,
        anatomy="XR_KNEE",
        reason="" if outcome is Outcome.SCORED else "unlike",
        bundle_digest=MODEL.digest,
    )


def life(policy, revisions, known, asked=ROUTINE, several=False):
    """A study as an agent with this policy would have decided it, revision by revision, with the flags before."""
    instances, decisions, priority, told, earlier = [], [], asked, set(), []
    for number, assessments in enumerate(revisions, start=1):
        at = NOW + timedelta(hours=number)
        for assessment in assessments:
            instances.append(stored(len(instances), replace(assessment, sop_instance_uid=f"1.2.{len(instances)}"), at))
            image = ClaimedImage(
                study_instance_uid="1.9", revision=number, priority=priority, instance=instances[-1], known=known
            )
            if flag := flag_for(image, instances[-1].assessment, MODEL, policy, at):
                priority = flag.priority
                told |= {*flag.routes} or ALL
        earlier.append(frozenset(told))
        study = ClaimedStudy(
            study_instance_uid="1.9",
            revision=number,
            priority=priority,
            attempt=1,
            instances=tuple(instances),
            known=known,
            told=earlier[-1],
        )
        decision = decide(study, [one.assessment for one in instances], MODEL, policy, at + timedelta(minutes=1))
        decisions.append(of_several_patients(decision) if several else decision)
        priority = priority.raised_to(decision.priority)
        told |= {*decision.routes} or ALL
    return DecidedStudy(
        study_instance_uid="1.9",
        accession_number="A1",
        asked=((NOW, asked),),
        known_now=Circumstances(),
        lost=None,
        in_work=False,
        instances=tuple(instances),
        revisions=tuple(
            DecidedRevision(
                revision=one.revision,
                event=one.event,
                finding=one.finding,
                probability=one.probability,
                priority=one.priority,
                acr_category=one.acr_category,
                rule=one.rule,
                status_reason=one.status_reason,
                model=MODEL,
                decided_at=one.decided_at,
                known=one.known,
                routes=one.routes,
                told=before,
            )
            for one, before in zip(decisions, earlier, strict=True)
        ),
    )


def one_rule(name, priority, category=None, **when):
    return Policy(rules=(Rule(name=name, when=Condition(**when), priority=priority, acr_category=category),))


KNOWN = Circumstances(order_priority=URGENT, location="ED", age=7, arrived_at=NOW)
LOUD = one_rule("loud", STAT, "1", finding=Finding.ABNORMAL)
QUIET = one_rule("quiet", ROUTINE)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (DEFAULT_POLICY, LOUD, Effect.RAISED),
        (LOUD, DEFAULT_POLICY, Effect.LOWERED),
        (DEFAULT_POLICY, one_rule("other", URGENT, "2"), Effect.OTHERWISE),
        (DEFAULT_POLICY, one_rule("abnormal", URGENT, "3"), Effect.OTHERWISE),
        (DEFAULT_POLICY, one_rule("kids", STAT, max_age=15), Effect.RAISED),
        (DEFAULT_POLICY, one_rule("abnormal", URGENT, "2", hours=Hours(NOW.time(), NOW.replace(hour=7).time())), None),
    ],
)
def test_a_study_is_told_with_what_it_was_and_would_be(before, after, effect):
    found = replay(life(before, [[scored(0, 0.7)]], KNOWN), after)
    assert found.effect is (effect or Effect.UNCHANGED)
    assert (found.study_instance_uid, found.accession_number, found.facts_of_today) == ("1.9", "A1", False)


def test_what_the_first_rules_raised_early_does_not_hide_that_others_raise_less():
    flagged = life(LOUD, [[scored(0, 0.95), scored(1, 0.1)]], KNOWN)
    assert flagged.revisions[0].priority is STAT
    assert replay(flagged, QUIET).after.priority is ROUTINE
    assert replay(replace(flagged, asked=((NOW, ROUTINE), (NOW, URGENT))), QUIET).after.priority is URGENT
    later = ((NOW, ROUTINE), (NOW + timedelta(days=1), STAT))
    assert replay(replace(flagged, asked=later), QUIET).after.priority is ROUTINE


def test_what_was_not_noted_is_taken_from_today_and_told():
    study = life(DEFAULT_POLICY, [[scored(0, 0.7)]], KNOWN)
    old = replace(study, known_now=KNOWN, revisions=tuple(replace(one, known=None) for one in study.revisions))
    found = replay(old, one_rule("ed", STAT, locations=("ED",)))
    assert (found.after.rule, found.facts_of_today) == ("ed", True)
    assert summary_of([found]).facts_of_today == 1


def test_of_what_is_in_work_or_out_of_scope_nothing_is_said():
    study = life(DEFAULT_POLICY, [[scored(0, 0.7)]], KNOWN)
    assert replay(replace(study, in_work=True), LOUD) is None
    excluded = life(DEFAULT_POLICY, [[scored(0, None, Outcome.SKIPPED)]], KNOWN)
    assert excluded.revisions[0].event is Event.EXCLUDED
    assert replay(excluded, LOUD) is None


def test_the_summary_counts_effects_and_rules():
    studies = [life(DEFAULT_POLICY, [[scored(0, p)]], KNOWN) for p in (0.7, 0.8, 0.1)]
    told = summary_of([replay(study, LOUD) for study in studies])
    assert (told.studies, told.effects[Effect.RAISED], told.effects[Effect.OTHERWISE]) == (3, 2, 1)
    assert told.rules == {"abnormal": (2, 0), "loud": (0, 2), "no_rule": (0, 1), "normal": (1, 0)}


def sent_to(*routes, name="abnormal"):
    rule = Rule(name=name, when=Condition(finding=Finding.ABNORMAL), priority=URGENT, acr_category="2", routes=routes)
    return Policy(rules=(rule,))


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (sent_to(), sent_to("pacs"), Effect.OTHERWISE),
        (sent_to("pacs"), sent_to(), Effect.OTHERWISE),
        (sent_to("pacs"), sent_to("pacs", "ris"), Effect.OTHERWISE),
        (sent_to("ris", "pacs"), sent_to("pacs", "ris"), Effect.UNCHANGED),
    ],
)
def test_other_destinations_alone_are_a_change(before, after, effect):
    assert replay(life(before, [[scored(0, 0.6)]], KNOWN), after).effect is effect


def test_who_was_told_of_the_raise_is_told_whatever_the_rules_name():
    study = life(sent_to("pacs", "ris"), [[scored(0, 0.97)]], KNOWN)
    assert study.revisions[0].told == {"pacs", "ris"}
    assert replay(study, sent_to("pacs")).effect is Effect.UNCHANGED


def test_decisions_whose_routes_were_not_noted_are_not_compared_by_them():
    study = life(sent_to(), [[scored(0, 0.6)]], KNOWN)
    older = replace(study, revisions=(replace(study.revisions[0], routes=None),))
    assert replay(older, sent_to("pacs")).effect is Effect.UNCHANGED


def test_an_image_that_was_refused_raises_by_the_same_rule_whether_it_came_first_or_not():
    study = life(DEFAULT_POLICY, [[scored(0, 0.97, Outcome.FAILED)]], KNOWN)
    assert (study.revisions[0].rule, study.revisions[0].priority) == ("alert", URGENT)
    assert replay(study, DEFAULT_POLICY).effect is Effect.UNCHANGED


images = st.builds(
    scored,
    st.just(0),
    st.sampled_from([0.05, 0.4, 0.5, 0.6, 0.9, 0.97]),
    st.sampled_from([Outcome.SCORED, Outcome.SCORED, Outcome.FAILED]),
)
facts = st.builds(
    Circumstances,
    order_priority=st.sampled_from([None, *Priority]),
    location=st.sampled_from(["", "ED R1", "ICU"]),
    age=st.sampled_from([None, 3, 40]),
    arrived_at=st.just(NOW),
)
rules = st.builds(
    Rule,
    name=st.just(""),
    when=st.builds(
        Condition,
        finding=st.sampled_from([None, Finding.ABNORMAL, Finding.NORMAL, Finding.UNCERTAIN]),
        min_probability=st.sampled_from([None, 0.3, 0.8]),
        locations=st.sampled_from([(), ("ED",)]),
        max_age=st.sampled_from([None, 15]),
        order_priorities=st.sampled_from([(), (Priority.STAT,)]),
        uncertainty=st.none(),
    ),
    priority=st.sampled_from(Priority),
    acr_category=st.sampled_from([None, "1", "2"]),
    routes=st.sampled_from([(), ("pacs",), ("ris", "pacs")]),
)
policies = st.lists(rules, min_size=1, max_size=4).map(
    lambda some: Policy(rules=tuple(replace(rule, name=f"r{number}") for number, rule in enumerate(some)))
)
revisions = st.lists(st.lists(images, min_size=1, max_size=3), min_size=1, max_size=3)


@settings(deadline=None)
@given(policies, revisions, facts, st.sampled_from(Priority), st.booleans())
def test_the_same_rules_change_nothing(policy, images_of, known, asked, several):
    found = replay(life(policy, images_of, known, asked, several), policy)
    assert found.effect is Effect.UNCHANGED, found


@settings(deadline=None)
@given(policies, policies, revisions, facts, st.sampled_from(Priority))
def test_no_rules_take_away_what_was_asked_for(before, after, images_of, known, asked):
    found = replay(life(before, images_of, known, asked), after)
    assert found.after.priority.rank >= asked.rank


@settings(deadline=None)
@given(policies, st.sampled_from([0.1, 0.3, 0.5, 0.8, 0.95]), facts)
def test_the_first_rule_that_holds_is_the_one_that_fires(policy, probability, known):
    finding = Finding.ABNORMAL if probability >= 0.5 else Finding.NORMAL
    asked = {"above_threshold": probability >= 0.5, "known": known}
    holding = [rule for rule in policy.rules if rule.when.holds(finding, probability, "XR_KNEE", **asked)]
    assert policy.match(finding, probability, "XR_KNEE", **asked) == (holding[0] if holding else None)
