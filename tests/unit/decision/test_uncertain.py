from dataclasses import replace

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, decide
from triage_agent.domain.decision import UncertaintyBand
from triage_agent.domain.vocabulary import Event, Finding, Priority

ABNORMAL, NORMAL, UNCERTAIN = Finding.ABNORMAL, Finding.NORMAL, Finding.UNCERTAIN
ABNORMAL_ONLY = Policy(rules=(Rule(name="mine", when=Condition(finding=ABNORMAL), priority=Priority.STAT),))


@pytest.fixture
def careful(model):
    """A model whose knees are uncertain from 0.3 to 0.7, and whose other regions are surer than they have to be."""
    knee = UncertaintyBand(abnormal_from=0.3, normal_to=0.7)
    rest = UncertaintyBand(abnormal_from=0.6, normal_to=0.4)
    return replace(model, error_rate=0.1, bands={"XR_KNEE": knee, "": rest})


@pytest.fixture
def run(claim_study, assess, now):
    def run(model, *values, anatomy="XR_KNEE", policy=DEFAULT_POLICY, **seen):
        found = [replace(assess(n, value, anatomy=anatomy), **seen) for n, value in enumerate(values)]
        return decide(claim_study(len(found)), found, model, policy, now)

    return run


@pytest.mark.parametrize(
    ("value", "finding", "rule", "priority"),
    [
        (0.29, NORMAL, "normal", Priority.ROUTINE),
        (0.3, UNCERTAIN, "uncertain", Priority.ROUTINE),
        (0.49, UNCERTAIN, "uncertain", Priority.ROUTINE),
        (0.5, UNCERTAIN, "uncertain_above_threshold", Priority.URGENT),
        (0.7, UNCERTAIN, "uncertain_above_threshold", Priority.URGENT),
        (0.71, ABNORMAL, "abnormal", Priority.URGENT),
    ],
)
def test_what_the_error_rate_leaves_open_is_uncertain_and_never_raised_less(
    run, careful, model, value, finding, rule, priority
):
    decision = run(careful, value)
    assert (decision.finding, decision.rule, decision.priority) == (finding, rule, priority)
    assert decision.event is Event.DECIDED
    assert decision.priority is run(model, value).priority
    assert ("10% that is allowed" in decision.status_reason) is (finding is UNCERTAIN)


@pytest.mark.parametrize(("value", "finding"), [(0.45, NORMAL), (0.5, ABNORMAL), (0.55, ABNORMAL)])
def test_a_model_that_is_surer_than_it_has_to_be_leaves_nothing_uncertain(run, careful, value, finding):
    assert run(careful, value, anatomy="XR_WRIST").finding is finding


def test_a_policy_that_knows_no_uncertain_studies_raises_those_above_the_threshold(run, careful):
    assert run(careful, 0.6, policy=ABNORMAL_ONLY).priority is Priority.STAT
    assert run(careful, 0.4, policy=ABNORMAL_ONLY).priority is Priority.ROUTINE


def test_views_on_both_sides_of_the_threshold_are_told(run, model):
    reasons = " ".join(run(model, 0.8, 0.3).reasons)
    assert "The views differ: 1 of 2 images at or above the threshold (probabilities 0.30 to 0.80)." in reasons
    assert "views differ" not in " ".join(run(model, 0.8, 0.7).reasons)


def test_a_region_taken_from_the_image_is_told(run, model):
    decision = run(model, 0.8, seen_anatomy="XR_KNEE", anatomy_from_image=True)
    assert "The header names no single region; 1 image looks like XR_KNEE to the model." in decision.reasons


def test_an_image_that_looks_like_another_region_than_stated_is_told(run, model):
    decision = run(model, 0.8, 0.7, seen_anatomy="XR_WRIST")
    assert "2 images look like XR_WRIST, the header says XR_KNEE." in decision.reasons
    assert decision.anatomy == "XR_KNEE"


def test_agreement_of_image_and_header_needs_no_words(run, model):
    assert not any("look" in reason for reason in run(model, 0.8, seen_anatomy="XR_KNEE").reasons)


CATCH_ALL = Policy(
    rules=(
        Rule(name="mine", when=Condition(finding=ABNORMAL), priority=Priority.STAT),
        Rule(name="rest", when=Condition(), priority=Priority.ROUTINE),
    )
)
OLD = Policy(
    rules=(
        Rule(name="mine", when=Condition(finding=ABNORMAL), priority=Priority.STAT),
        Rule(name="doubt", when=Condition(finding=UNCERTAIN), priority=Priority.ROUTINE),
    )
)
KNOWING = Policy(
    rules=(
        Rule(name="mine", when=Condition(finding=ABNORMAL), priority=Priority.STAT),
        Rule(name="doubt", when=Condition(finding=UNCERTAIN, above_threshold=True), priority=Priority.URGENT),
    )
)


@pytest.mark.parametrize(
    ("policy", "priority"), [(CATCH_ALL, Priority.STAT), (OLD, Priority.STAT), (KNOWING, Priority.URGENT)]
)
def test_doubt_takes_no_raise_away_unless_the_policy_says_so_in_as_many_words(run, careful, policy, priority):
    assert run(careful, 0.65, policy=policy).priority is priority
    assert run(careful, 0.45, policy=policy).priority is Priority.ROUTINE


def test_a_doubtful_study_is_told_of_the_abnormal_rules_that_lacked_a_fact(run, careful):
    children = Rule(name="children", when=Condition(finding=ABNORMAL, max_age=15), priority=Priority.STAT)
    decision = run(careful, 0.65, policy=Policy(rules=(children, *ABNORMAL_ONLY.rules)))
    assert decision.priority is Priority.STAT
    assert 'Rule "children" was passed over: the patient\'s age is not known.' in decision.reasons
    assert not any("children" in reason for reason in run(careful, 0.45, policy=ABNORMAL_ONLY).reasons)


def test_a_stated_region_outweighs_those_that_images_only_look_like(claim_study, assess, model, now):
    guess = {"anatomy": "XR_WRIST", "seen_anatomy": "XR_WRIST", "anatomy_from_image": True}
    found = [assess(0, 0.8), replace(assess(1, 0.8), **guess), replace(assess(2, 0.8), **guess)]
    assert decide(claim_study(3), found, model, DEFAULT_POLICY, now).anatomy == "XR_KNEE"


@pytest.mark.parametrize(
    ("probability", "priority", "rule"), [(0.95, Priority.URGENT, "alert"), (0.85, Priority.ROUTINE, "not_scored")]
)
def test_an_image_that_was_refused_may_raise_and_never_counts(
    claim_study, assess, model, now, probability, priority, rule
):
    refused = replace(assess(0, "unlike"), probability=probability)
    decision = decide(claim_study(1), [refused], model, DEFAULT_POLICY, now)
    assert (decision.event, decision.finding, decision.probability) == (Event.FAILED, Finding.NOT_ASSESSED, None)
    assert (decision.priority, decision.rule) == (priority, rule)
