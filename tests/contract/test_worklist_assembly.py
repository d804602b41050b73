"""What assembly may rely on, whatever keeps the worklist: when a study is looked at, and when it is complete."""

from datetime import timedelta

from support.story import RULE, STUDY, T0, received

from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import AuditAction, Status

SECOND = timedelta(seconds=1)


def test_a_study_is_due_when_the_rule_says_so(story):
    rule = CompletenessRule(quiet=30 * SECOND, max_wait=50 * SECOND)
    worklist = story.worklist
    worklist.register(received(image="1.2.1.1", at=T0), rule)
    worklist.register(received(image="1.2.1.2", at=T0 + 29 * SECOND), rule)
    assert worklist.due_for_completion(T0 + 49 * SECOND) == []
    (view,) = worklist.due_for_completion(T0 + 50 * SECOND)
    assert (view.instances, view.asked) == (2, 0)
    assert (view.first_received_at, view.last_received_at) == (T0, T0 + 29 * SECOND)


def test_due_studies_come_oldest_check_first_and_no_more_than_asked_for(story):
    for number in (3, 1, 2):
        story.receive(f"1.2.{number}")
    due = story.worklist.due_for_completion(story.now + RULE.quiet, limit=2)
    assert [view.study_instance_uid for view in due] == ["1.2.3", "1.2.1"]


def test_images_that_overtake_each_other_do_not_turn_time_back(worklist):
    worklist.register(received(image="1.2.1.1", at=T0 + 5 * SECOND), RULE)
    worklist.register(received(image="1.2.1.2", at=T0), RULE)
    (view,) = worklist.due_for_completion(T0 + 35 * SECOND)
    assert (view.first_received_at, view.last_received_at) == (T0, T0 + 5 * SECOND)


def test_a_check_can_be_put_off_and_questions_are_counted(story):
    story.receive()
    at = story.now + 90 * SECOND
    assert story.worklist.check_later(STUDY, 1, at, asked=True)
    assert story.worklist.check_later(STUDY, 1, at, asked=False)
    assert story.worklist.due_for_completion(at - SECOND) == []
    (view,) = story.worklist.due_for_completion(at)
    assert view.asked == 1


def test_a_check_of_a_study_that_moved_on_is_not_put_off(story):
    assert not story.worklist.check_later(STUDY, 1, T0, asked=False)
    story.receive()
    assert not story.worklist.check_later(STUDY, 2, T0, asked=False)
    story.complete()
    assert not story.worklist.check_later(STUDY, 1, T0, asked=False)


def test_questions_are_counted_anew_in_a_new_revision(story):
    story.receive()
    story.worklist.check_later(STUDY, 1, story.now, asked=True)
    story.complete()
    story.claim()
    story.decide()
    story.receive()
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    assert view.asked == 0


def test_completing_makes_a_study_ready_and_says_why(story):
    story.receive()
    story.complete()
    assert (story.status(), story.item().status_reason) == (Status.READY, "no image for 30 s")
    assert story.actions()[-1] is AuditAction.STATUS_CHANGED
    assert story.worklist.due_for_completion(story.now + RULE.max_wait) == []


def test_an_image_since_the_view_keeps_the_study_receiving(story):
    story.receive()
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    story.receive()
    assert not story.worklist.complete(view, "too late", story.tick())
    assert story.status() is Status.RECEIVING


def test_a_question_since_the_view_does_not_hinder_completing(story):
    story.receive()
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    story.worklist.check_later(STUDY, 1, story.now, asked=True)
    assert story.worklist.complete(view, "all are here", story.tick())


def test_a_study_completes_once(story):
    story.receive()
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    assert story.worklist.complete(view, "first", story.tick())
    assert not story.worklist.complete(view, "second", story.tick())


def test_an_image_reopens_a_ready_study_in_the_same_revision(story):
    story.receive()
    story.complete()
    story.receive()
    assert (story.status(), story.item().revision) == (Status.RECEIVING, 1)
