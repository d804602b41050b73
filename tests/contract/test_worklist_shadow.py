"""What is kept of a shadow bundle, whatever keeps the worklist; and that nothing else changes with it."""

from dataclasses import replace

import pytest
from support.story import SHADOW, STUDY, T0, decision, failed, in_shadow, scored, shadow_result, shipment

from triage_agent.domain.vocabulary import AuditAction, Event, Finding, Priority


def record(story, *assessments, study=STUDY, revision=1, **changes):
    return story.worklist.record_shadow(study, revision, shadow_result(**changes), assessments, story.tick())


def compared(story, study=STUDY, **changes):
    story.claimed(study)
    assert story.decide(study=study, assessments=[scored(f"{study}.1")], **changes)
    assert record(story, in_shadow(f"{study}.1"), study=study, revision=story.item(study).revision)


def test_an_assessment_is_kept_with_all_that_the_models_said_of_the_image(story):
    story.receive()
    whole = in_shadow("1.2.1.1", seen_anatomy="XR_WRIST", anatomy_from_image=True)
    (claimed,) = story.worklist.claim_images("w1", story.tick(), story.now - T0, 1)
    assert story.worklist.record_assessment(claimed, whole, story.tick())
    assert story.worklist.study(STUDY).instances[0].assessment == whole


def test_a_comparison_is_kept_with_its_study_and_its_images(story):
    compared(story)
    detail = story.worklist.study(STUDY)
    assert detail.shadow == shadow_result()
    assert detail.instances[0].assessment == in_shadow("1.2.1.1")


def test_a_comparison_changes_nothing_else_than_its_own_and_adds_one_line_to_the_trail(story):
    story.claimed()
    story.decide(shipment(), assessments=[scored("1.2.1.1")])
    before = story.worklist.study(STUDY)
    assert record(story, in_shadow("1.2.1.1"))
    after = story.worklist.study(STUDY)
    (event,) = after.audit[len(before.audit) :]
    assert (event.action, event.detail) == (
        AuditAction.SHADOW_COMPARED,
        {"revision": 1, "bundle": "other 1.0 (ssssssssssss)", "agrees": False},
    )
    assert replace(after, audit=before.audit, shadow=None, instances=before.instances) == before


def test_a_comparison_comes_once(story):
    compared(story)
    before = story.worklist.study(STUDY)
    assert not record(story, in_shadow("1.2.1.1", 0.9), probability=0.9)
    assert story.worklist.study(STUDY) == before


@pytest.mark.parametrize("change", [{"revision": 2}, {"study": "1.2.9"}])
def test_only_what_was_decided_is_compared(story, change):
    story.decided()
    before = story.worklist.study(STUDY)
    assert not record(story, **change)
    assert story.worklist.study(STUDY) == before


def test_what_has_no_probability_is_not_compared(story):
    story.decided(event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None, status_reason="why")
    assert not record(story)
    assert story.worklist.study(STUDY).shadow is None


def test_an_image_that_another_bundle_has_scored_meanwhile_keeps_its_score_alone(story):
    story.claimed()
    story.decide(assessments=[scored("1.2.1.1", digest="e" * 64)])
    assert record(story, in_shadow("1.2.1.1"))
    assert story.worklist.study(STUDY).instances[0].assessment == scored("1.2.1.1", digest="e" * 64)


def test_an_image_of_another_study_is_left_alone(story):
    compared(story, "1.2.2")
    story.decided()
    assert record(story, in_shadow("1.2.2.1", 0.9))
    assert story.worklist.study("1.2.2").instances[0].assessment == in_shadow("1.2.2.1")


def test_a_retry_forgets_what_the_models_said_of_an_image_that_failed(story):
    story.claimed()
    unlike = replace(failed("1.2.1.1"), seen_anatomy="XR_HAND", anatomy_from_image=True)
    story.decide(event=Event.FAILED, status_reason="why", assessments=[unlike])
    assert story.worklist.study(STUDY).instances[0].assessment == unlike
    story.worklist.retry_study(STUDY, "admin", story.tick())
    assert story.worklist.study(STUDY).instances[0].assessment is None
    story.claim()
    story.decide(assessments=[scored("1.2.1.1")])
    assert story.worklist.study(STUDY).instances[0].assessment == scored("1.2.1.1")


def test_the_page_shows_the_comparison_of_the_last_decision_only(story):
    compared(story)
    story.receive()
    story.complete()
    story.claim()
    assert story.decide()
    assert story.worklist.study(STUDY).shadow is None
    assert record(story, revision=2, probability=0.8)
    assert story.worklist.study(STUDY).shadow == shadow_result(probability=0.8)


def test_comparisons_are_of_each_study_s_last_compared_decision_since_a_day(story):
    compared(story, "1.2.3")
    first = story.worklist.comparisons(T0)
    assert [(one.study_instance_uid, one.revision, one.probability) for one in first] == [("1.2.3", 1, 0.8)]
    (one,) = first
    assert (one.bundle, one.anatomy, one.shadow.digest) == (decision().model.label, "XR_KNEE", SHADOW)
    story.decided(study="1.2.2")  # never compared
    later = story.tick()
    compared(story, "1.2.1")
    compared(story, "1.2.3", priority=Priority.ROUTINE)
    listed = [(one.study_instance_uid, one.revision) for one in story.worklist.comparisons(T0)]
    assert listed == [("1.2.1", 1), ("1.2.3", 2)]
    assert len(story.worklist.comparisons(later)) == 2
    assert story.worklist.comparisons(story.tick()) == []


def test_an_earlier_comparison_counts_while_the_last_decision_has_none(story):
    compared(story)
    story.receive()
    story.complete()
    story.claim()
    story.decide()
    assert [one.revision for one in story.worklist.comparisons(T0)] == [1]
