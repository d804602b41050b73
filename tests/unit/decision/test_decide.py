import math
from dataclasses import replace
from itertools import product

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, decide
from triage_agent.domain.vocabulary import Event, Finding, Priority

ROUTINE, URGENT, STAT = Priority
ABNORMAL, NORMAL, UNCERTAIN, NOT_ASSESSED = Finding

CASES = {
    # what each instance gave: event, finding, probability, proposed priority of a routine study, category, rule
    "all clear": ((0.1, 0.3), Event.DECIDED, NORMAL, 0.2, ROUTINE, None, "normal"),
    "just below the threshold": ((0.4, 0.598), Event.DECIDED, NORMAL, 0.499, ROUTINE, None, "normal"),
    "exactly at the threshold": ((0.5, 0.5), Event.DECIDED, ABNORMAL, 0.5, URGENT, "2", "abnormal"),
    "clearly abnormal": ((0.8, 0.95), Event.DECIDED, ABNORMAL, 0.875, URGENT, "2", "abnormal"),
    "views disagree": ((0.9, 0.0), Event.DECIDED, UNCERTAIN, 0.45, URGENT, "2", "alert"),
    "just below the alert": ((0.89, 0.0), Event.DECIDED, NORMAL, 0.445, ROUTINE, None, "normal"),
    "scored with a report beside it": (
        (0.7, "skip not an image"),
        Event.DECIDED,
        ABNORMAL,
        0.7,
        URGENT,
        "2",
        "abnormal",
    ),
    "nothing to score": (("skip CT", "skip CT"), Event.EXCLUDED, NOT_ASSESSED, None, ROUTINE, None, "out_of_scope"),
    "no instances": ((), Event.FAILED, NOT_ASSESSED, None, ROUTINE, None, "not_scored"),
    "none could be scored": (("truncated",), Event.FAILED, NOT_ASSESSED, None, ROUTINE, None, "not_scored"),
    "failed and skipped": (("blank", "skip CT"), Event.FAILED, NOT_ASSESSED, None, ROUTINE, None, "not_scored"),
    "half abnormal, half failed": ((0.8, "blank"), Event.FAILED, ABNORMAL, 0.8, URGENT, "2", "abnormal"),
    "half normal, half failed": ((0.1, "blank"), Event.FAILED, NOT_ASSESSED, None, ROUTINE, None, "not_scored"),
    "disagreeing, and one failed": ((0.9, 0.0, "blank"), Event.FAILED, UNCERTAIN, 0.45, URGENT, "2", "alert"),
    "not a number": ((math.nan,), Event.FAILED, NOT_ASSESSED, None, ROUTINE, None, "not_scored"),
    "above one": ((1.5, 0.9), Event.FAILED, ABNORMAL, 0.9, URGENT, "2", "abnormal"),
}


def run(case, claim_study, assess, model, now, priority=ROUTINE, policy=DEFAULT_POLICY, **anatomies):
    study = claim_study(len(case), priority)
    assessments = [assess(number, what, **anatomies) for number, what in enumerate(case)]
    return decide(study, assessments, model, policy, now)


@pytest.mark.parametrize("name", CASES)
def test_scores_give_the_decision_of_the_table(name, claim_study, assess, model, now):
    case, event, finding, probability, priority, category, rule = CASES[name]
    decision = run(case, claim_study, assess, model, now)
    assert (decision.event, decision.finding, decision.priority) == (event, finding, priority)
    assert decision.probability == (None if probability is None else pytest.approx(probability, abs=1e-12))
    assert (decision.acr_category, decision.rule) == (category, rule)
    assert (decision.study_instance_uid, decision.revision, decision.decided_at) == ("1.9", 2, now)
    assert decision.model is model


@pytest.mark.parametrize(("name", "had"), list(product(CASES, Priority)))
def test_the_priority_is_never_lowered(name, had, claim_study, assess, model, now):
    decision = run(CASES[name][0], claim_study, assess, model, now, priority=had)
    assert decision.priority is had.raised_to(CASES[name][4])


@pytest.mark.parametrize("name", CASES)
def test_reasons_are_sentences_and_every_study_without_a_result_says_why(name, claim_study, assess, model, now):
    decision = run(CASES[name][0], claim_study, assess, model, now)
    assert decision.reasons
    for sentence in decision.reasons:
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
    assert bool(decision.status_reason) is not (
        decision.finding in {ABNORMAL, NORMAL} and decision.event is Event.DECIDED
    )


def test_the_reason_names_the_figures(claim_study, assess, model, now):
    decision = run((0.9, 0.92, "skip an SR"), claim_study, assess, model, now)
    assert decision.reasons == (
        "2 of 2 images scored; mean probability 0.91 is at or above the threshold 0.50.",
        'Rule "abnormal" raises the priority from routine to urgent.',
        'Rule "abnormal" is for an abnormal finding.',
        "Skipped: 1 object (an SR).",
    )


def test_figures_that_would_round_to_the_threshold_keep_more_decimals(claim_study, assess, model, now):
    decision = run((0.4999,), claim_study, assess, model, now)
    assert decision.reasons[0] == "1 of 1 image scored; mean probability 0.4999 is below the threshold 0.5000."


def test_failures_say_how_many_of_how_many_and_each_reason_once(claim_study, assess, model, now):
    decision = run((0.8, "blank image", "truncated", "blank image"), claim_study, assess, model, now)
    assert decision.status_reason == "3 of 4 images could not be scored: blank image; truncated."


@pytest.mark.parametrize(("score", "finding"), [(0.1, Finding.NOT_ASSESSED), (0.8, Finding.ABNORMAL)])
def test_a_study_one_of_whose_instances_another_study_has_goes_to_a_human(
    score, finding, claim_study, assess, model, now
):
    study = replace(claim_study(1), lost="instance 1.2.7 is in study 1.8")
    decided = decide(study, [assess(0, score)], model, DEFAULT_POLICY, now)
    assert (decided.event, decided.finding) == (Event.FAILED, finding)
    assert decided.status_reason == "1 of 2 images could not be scored: instance 1.2.7 is in study 1.8."


def test_an_instance_without_a_result_counts_as_failed(claim_study, assess, model, now):
    decision = decide(claim_study(2), [assess(0, 0.1)], model, DEFAULT_POLICY, now)
    assert (decision.event, decision.finding) == (Event.FAILED, NOT_ASSESSED)
    assert "1 of 2 images could not be scored: no result" in decision.status_reason


def test_a_region_outside_the_bundle_is_not_assessed_whatever_the_score(claim_study, assess, model, now):
    decision = run((0.99, 0.98), claim_study, assess, model, now, anatomy="XR_SPINE")
    assert (decision.event, decision.finding, decision.probability) == (Event.DECIDED, NOT_ASSESSED, None)
    assert (decision.rule, decision.priority, decision.anatomy) == ("anatomy_not_in_bundle", ROUTINE, "XR_SPINE")
    assert decision.status_reason == (
        "The study shows XR_SPINE, which the bundle knees does not cover (it covers XR_KNEE, XR_WRIST), "
        "so it is not assessed."
    )


def test_a_region_that_is_not_stated_is_assessed_with_a_remark(claim_study, assess, model, now):
    decision = run((0.8,), claim_study, assess, model, now, anatomy=None)
    assert (decision.finding, decision.anatomy) == (ABNORMAL, None)
    assert "The region is not stated" in decision.reasons[-1]


def test_images_of_other_regions_do_not_count(claim_study, assess, model, now):
    scores = [assess(0, 0.2), assess(1, 1.0, anatomy="XR_SPINE")]
    decision = decide(claim_study(2), scores, model, DEFAULT_POLICY, now)
    assert (decision.finding, decision.probability, decision.anatomy) == (NORMAL, 0.2, "XR_KNEE")
    assert "Not counted: 1 image of XR_SPINE, outside the bundle." in decision.reasons


def test_the_region_of_a_study_is_the_commonest_and_does_not_depend_on_order(claim_study, assess, model, now):
    scores = [assess(0, 0.2, anatomy="XR_WRIST"), assess(1, 0.2, anatomy="XR_KNEE"), assess(2, 0.2, anatomy=None)]
    for order in (scores, scores[::-1]):
        assert decide(claim_study(3), order, model, DEFAULT_POLICY, now).anatomy == "XR_KNEE"


def test_scores_of_another_bundle_are_told(claim_study, assess, model, now):
    decision = run((0.2,), claim_study, assess, model, now, digest="e" * 64)
    assert "Some images were scored by another bundle than the one named here." in decision.reasons


SITE = Policy(
    rules=(
        Rule(
            name="clear fracture",
            when=Condition(finding=ABNORMAL, min_probability=0.95, anatomies=("XR_WRIST",)),
            priority=STAT,
            acr_category="1",
        ),
        Rule(name="likely", when=Condition(finding=ABNORMAL, min_probability=0.7), priority=URGENT, acr_category="2"),
        Rule(
            name="unlikely", when=Condition(finding=ABNORMAL, max_probability=0.7), priority=ROUTINE, acr_category="3"
        ),
    )
)


@pytest.mark.parametrize(
    ("case", "anatomy", "priority", "category", "rule"),
    [
        ((0.97,), "XR_WRIST", STAT, "1", "clear fracture"),
        ((0.97,), "XR_KNEE", URGENT, "2", "likely"),
        ((0.97,), None, URGENT, "2", "likely"),
        ((0.7,), "XR_KNEE", URGENT, "2", "likely"),
        ((0.6,), "XR_KNEE", ROUTINE, "3", "unlikely"),
        ((0.96, 0.3), "XR_WRIST", STAT, "1", "alert"),  # the mean asks for less than one image alone
        ((0.2,), "XR_KNEE", ROUTINE, None, "no_rule"),
    ],
)
def test_the_first_rule_that_holds_fires(case, anatomy, priority, category, rule, claim_study, assess, model, now):
    decision = run(case, claim_study, assess, model, now, policy=SITE, anatomy=anatomy)
    assert (decision.priority, decision.acr_category, decision.rule) == (priority, category, rule)


def test_no_rule_leaves_the_priority_and_says_so(claim_study, assess, model, now):
    decision = run((0.2,), claim_study, assess, model, now, policy=Policy(rules=()), priority=URGENT)
    assert decision.priority is URGENT
    assert "No rule of the policy applies; the priority stays as it was." in decision.reasons


@pytest.mark.parametrize("shortfall", ["", "14 of 16 images; pacs did not send 2"])
def test_a_study_that_stays_incomplete_says_what_was_missing(claim_study, assess, model, now, shortfall):
    study = replace(claim_study(1), shortfall=shortfall)
    decided = decide(study, [assess(0, 0.1)], model, DEFAULT_POLICY, now)
    assert (f"The study is incomplete: {shortfall}." in decided.reasons) == bool(shortfall)
    assert any("incomplete" in reason for reason in decided.reasons) == bool(shortfall)
