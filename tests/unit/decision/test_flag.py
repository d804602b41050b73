import math
from dataclasses import replace

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, decide, flag_for, flag_of_failed
from triage_agent.domain.vocabulary import Finding, Priority


def test_an_image_at_the_alert_threshold_raises_its_study(claim_image, assess, model, now):
    flag = flag_for(claim_image(), assess(0, 0.9), model, DEFAULT_POLICY, now)
    assert (flag.priority, flag.acr_category, flag.rule) == (Priority.URGENT, "2", "alert")
    assert (flag.study_instance_uid, flag.revision, flag.sop_instance_uid) == ("1.9", 2, "1.2.0")
    assert (flag.probability, flag.anatomy, flag.raised_at, flag.model) == (0.9, "XR_KNEE", now, model)
    assert flag.reasons == (
        "One image's probability 0.90 is at or above the alert threshold 0.90, before the study is complete.",
        'One image alone asks for urgent by rule "abnormal".',
        'Rule "abnormal" is for an abnormal finding.',
    )


def test_a_region_that_the_model_named_is_told(claim_image, assess, model, now):
    taken = replace(assess(0, 0.95), seen_anatomy="XR_KNEE", anatomy_from_image=True)
    flag = flag_for(claim_image(), taken, model, DEFAULT_POLICY, now)
    assert flag.reasons[-1] == "The header names no single region; 1 image looks like XR_KNEE to the model."


def test_a_region_that_the_model_named_of_a_refused_image_is_told_once(claim_study, assess, model, now):
    study = claim_study(2)
    guess = {"seen_anatomy": "XR_KNEE", "anatomy_from_image": True}
    refused = replace(assess(0, "unlike"), probability=0.95, **guess)
    found = [refused, replace(assess(1, 0.1), **guess)]
    decision = decide(study, found, model, DEFAULT_POLICY, now)
    flag = flag_of_failed(study, decision, found)
    assert flag.sop_instance_uid == refused.sop_instance_uid
    assert [reason for reason in flag.reasons if "looks like" in reason] == [
        "The header names no single region; 1 image looks like XR_KNEE to the model."
    ]


@pytest.mark.parametrize("what", [0.89, 0.0, math.nan, math.inf, "blank", "skip not a radiograph"])
def test_nothing_else_raises(what, claim_image, assess, model, now):
    assert flag_for(claim_image(), assess(0, what), model, DEFAULT_POLICY, now) is None


@pytest.mark.parametrize(("anatomy", "raises"), [("XR_WRIST", True), (None, True), ("XR_SPINE", False)])
def test_a_region_outside_the_bundle_raises_nothing(anatomy, raises, claim_image, assess, model, now):
    flag = flag_for(claim_image(), assess(0, 0.99, anatomy=anatomy), model, DEFAULT_POLICY, now)
    assert (flag is not None) is raises


@pytest.mark.parametrize("had", [Priority.URGENT, Priority.STAT])
def test_a_study_that_has_the_priority_is_not_raised_again(had, claim_image, assess, model, now):
    assert flag_for(claim_image(had), assess(0, 0.99), model, DEFAULT_POLICY, now) is None


def test_a_policy_without_a_raise_for_abnormal_studies_flags_nothing(claim_image, assess, model, now):
    leave = Rule(name="leave", when=Condition(finding=Finding.ABNORMAL), priority=Priority.ROUTINE)
    for rules in ((), (leave,)):
        assert flag_for(claim_image(), assess(0, 0.99), model, Policy(rules=rules), now) is None


def failing(scores, claim_study, assess, model, now, priority=Priority.ROUTINE):
    """What a study of these images is told as when it is decided at one go."""
    study = claim_study(len(scores), priority)
    assessments = [assess(number, what) for number, what in enumerate(scores)]
    return flag_of_failed(study, decide(study, assessments, model, DEFAULT_POLICY, now), assessments)


def test_a_failed_study_that_is_raised_is_the_flag_of_its_most_probable_image(claim_study, assess, model, now):
    flag = failing((0.7, 0.8, "truncated"), claim_study, assess, model, now)
    assert (flag.study_instance_uid, flag.revision, flag.sop_instance_uid) == ("1.9", 2, "1.2.1")
    assert (flag.probability, flag.priority, flag.acr_category, flag.rule) == (0.8, Priority.URGENT, "2", "abnormal")
    assert (flag.raised_at, flag.model, flag.anatomy) == (now, model, "XR_KNEE")
    assert flag.reasons[0] == "1 of 3 images could not be scored: truncated."


@pytest.mark.parametrize("scores", [(0.95, 0.9), (0.2, "truncated"), ("truncated",), ("skip a report",)])
def test_what_did_not_fail_or_raises_nothing_is_no_flag(scores, claim_study, assess, model, now):
    assert failing(scores, claim_study, assess, model, now) is None


def test_a_failed_study_that_had_the_priority_is_no_flag(claim_study, assess, model, now):
    assert failing((0.95, "truncated"), claim_study, assess, model, now, Priority.URGENT) is None
