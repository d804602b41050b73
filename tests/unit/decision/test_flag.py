import math

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule, flag_for
from triage_agent.domain.vocabulary import Finding, Priority


def test_an_image_at_the_alert_threshold_raises_its_study(claim_image, assess, model, now):
    flag = flag_for(claim_image(), assess(0, 0.9), model, DEFAULT_POLICY, now)
    assert (flag.priority, flag.acr_category, flag.rule) == (Priority.URGENT, "2", "alert")
    assert (flag.study_instance_uid, flag.revision, flag.sop_instance_uid) == ("1.9", 2, "1.2.0")
    assert (flag.probability, flag.anatomy, flag.raised_at, flag.model) == (0.9, "XR_KNEE", now, model)
    assert flag.reasons == (
        "One image's probability 0.90 is at or above the alert threshold 0.90, before the study is complete.",
        'One image alone asks for urgent by rule "abnormal".',
    )


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
