"""A complete study one of whose images somebody is still scoring, whatever keeps the worklist."""

from support.story import LEASE, scored


def claim_images(story, lease=LEASE):
    return story.worklist.claim_images("w2", story.tick(), lease, 10)


def test_a_study_one_of_whose_images_is_in_hand_waits_for_it_and_holds_up_no_other(story):
    story.receive("1.2.1")
    (image,) = claim_images(story, lease=10 * LEASE)
    story.receive("1.2.2")
    story.complete("1.2.1")
    story.complete("1.2.2")
    assert story.claim().study_instance_uid == "1.2.2"
    assert story.claim() is None
    story.worklist.record_assessment(image, scored("1.2.1.1", 0.7), story.tick())
    claimed = story.claim()
    assert [each.assessment for each in claimed.instances] == [scored("1.2.1.1", 0.7)]


def test_a_study_waits_for_an_image_in_hand_no_longer_than_its_lease(story):
    story.receive()
    claim_images(story)
    story.complete()
    assert story.claim() is None
    story.tick(LEASE)
    assert [each.assessment for each in story.claim().instances] == [None]
