"""What a decision keeps of each image of its study, whatever keeps the worklist."""

from support.story import STUDY, failed, scored

from triage_agent.domain.vocabulary import Outcome

IMAGES = ("1.2.1.1", "1.2.1.2", "1.2.1.3")


def known(story):
    return {one.sop_instance_uid: one.assessment for one in story.worklist.study(STUDY).instances}


def test_each_image_of_a_study_that_is_scored_as_a_whole_keeps_its_own(story):
    for image in IMAGES:
        story.receive(image=image)
    story.complete()
    story.claim()
    each = [scored(IMAGES[2], 0.3), failed(IMAGES[0]), scored(IMAGES[1], 0.9, anatomy="XR_HAND")]
    assert story.decide(assessments=each)
    assert known(story) == {one.sop_instance_uid: one for one in each}


def test_a_later_decision_s_take_the_place_of_earlier_ones_and_leave_the_others(story):
    story.receive(image=IMAGES[0])
    story.receive(image=IMAGES[1])
    story.complete()
    story.claim()
    story.decide(assessments=[scored(IMAGES[0], 0.1), scored(IMAGES[1], 0.2)])
    story.receive(image=IMAGES[2])
    story.complete()
    story.claim()
    again = [scored(IMAGES[1], 0.8, digest="e" * 64), failed(IMAGES[2], Outcome.SKIPPED)]
    assert story.decide(assessments=again)
    assert known(story) == {IMAGES[0]: scored(IMAGES[0], 0.1), IMAGES[1]: again[0], IMAGES[2]: again[1]}
