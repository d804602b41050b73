"""What retention may rely on, whatever keeps the worklist."""

from datetime import timedelta

import pytest
from support.story import STUDY, failed, scored, shipment

from triage_agent.domain.ports import Registered
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, Event, Finding, Outcome, Status

DAY = timedelta(days=1)
EXCLUDED = {"event": Event.EXCLUDED, "finding": Finding.NOT_ASSESSED, "status_reason": "CT"}
FAILED = {"event": Event.FAILED, "finding": Finding.NOT_ASSESSED, "status_reason": "torn"}


def delivered(story, study=STUDY, uid="2.25.1"):
    story.decided(shipment(uid), study=study)
    story.send()


def past(story, limit=10):
    return story.worklist.originals_past(story.now, limit)


def delete(story, study=STUDY):
    before = story.tick()
    paths = story.worklist.forget_originals(study, before, before)
    story.worklist.originals_gone(study, story.tick())
    return paths


def test_what_is_delivered_or_out_of_scope_may_go_oldest_first_and_no_more_than_asked_for(story):
    delivered(story, "1.2.3", "2.25.3")
    story.decided(study="1.2.2", **EXCLUDED)
    delivered(story, "1.2.4", "2.25.4")
    assert past(story) == ["1.2.3", "1.2.2", "1.2.4"]
    assert past(story, 2) == ["1.2.3", "1.2.2"]


def test_what_is_younger_than_the_time_asked_for_stays(story):
    delivered(story)
    came = story.worklist.study(STUDY).instances[0].received_at
    assert story.worklist.originals_past(came, 10) == []
    assert story.worklist.originals_past(came + timedelta(seconds=1), 10) == [STUDY]


def test_what_somebody_waits_for_stays(story):
    story.receive("1.2.2")
    story.decided(shipment("2.25.3"), study="1.2.3")  # its delivery waits
    story.decided(study="1.2.4", **FAILED)
    story.decided(study="1.2.5")  # no route took anything: it is decided and was never delivered
    assert past(story) == []
    for study in ("1.2.2", "1.2.3", "1.2.4", "1.2.5"):
        assert story.worklist.forget_originals(study, story.now, story.now) == []


def test_a_delivery_that_failed_for_good_keeps_the_originals_until_it_is_sent(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris", kind=ArtifactKind.HL7_ORU))
    story.lose(destinations=["ris"])
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.3", "pacs"))
    story.send()
    story.send()
    assert (story.status(), past(story)) == (Status.DELIVERED, [])  # what the RIS did not take could be put back
    story.worklist.retry_study(STUDY, "admin", story.tick())
    assert past(story) == []
    story.send()
    assert past(story) == [STUDY]


def test_a_failed_delivery_that_a_later_one_took_the_place_of_keeps_nothing(story):
    story.decided(shipment("2.25.1"))
    story.lose()
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    assert past(story) == []
    story.send()
    assert past(story) == [STUDY]


def test_the_record_stays_and_says_when_the_originals_went(story):
    story.claimed()
    story.decide(shipment(), assessments=[scored(f"{STUDY}.1", 0.75)])
    story.send()
    before = story.item()
    assert delete(story) == [f"{STUDY}.1.dcm"]
    detail = story.worklist.study(STUDY)
    (instance,) = detail.instances
    assert (instance.assessment.probability, detail.item) == (0.75, before)
    assert detail.audit[-1].action is AuditAction.ORIGINALS_DELETED
    assert (detail.audit[-1].detail, instance.original_deleted_at) == ({"instances": 1}, detail.audit[-1].at)
    assert detail.deliveries[0].uid == "2.25.1"
    assert past(story) == []
    assert story.worklist.digest_of(f"{STUDY}.1") == "a" * 64


def test_what_may_have_to_be_sent_again_for_want_of_commitment_stays(story):
    story.decided(shipment())
    (delivery,) = story.deliveries()
    story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    assert (story.status(), past(story)) == (Status.DELIVERED, [])


def test_nobody_is_told_that_a_deleted_original_is_kept(story):
    delivered(story)
    assert story.worklist.kept_instances([f"{STUDY}.1"]).keys() == {f"{STUDY}.1"}
    delete(story)
    assert story.worklist.kept_instances([f"{STUDY}.1"]) == {}


def test_files_that_a_crash_left_are_named_again_and_audited_once(story):
    delivered(story)
    first = story.worklist.forget_originals(STUDY, story.tick(), story.now)
    assert past(story) == [STUDY]
    assert delete(story) == first
    assert story.actions().count(AuditAction.ORIGINALS_DELETED) == 1
    assert past(story) == []


def test_the_same_instance_again_is_known_and_its_new_file_goes_too(story):
    delivered(story)
    delete(story)
    assert story.receive(image=f"{STUDY}.1") is Registered.DUPLICATE
    assert past(story) == [STUDY]
    assert delete(story) == [f"{STUDY}.1.dcm"]
    assert story.actions().count(AuditAction.ORIGINALS_DELETED) == 1


def test_a_late_image_opens_a_revision_and_only_its_original_is_there(story):
    story.claimed()
    story.decide(shipment(), assessments=[scored(f"{STUDY}.1")])
    story.send()
    delete(story)
    story.receive()
    story.complete()
    claimed = story.claim()
    assert [one.original_deleted_at is None for one in claimed.instances] == [False, True]
    assert story.worklist.last_artifact(STUDY, ArtifactKind.SR, 2) is None  # its bytes went with the originals
    story.decide(shipment("2.25.2"))
    story.send()
    assert past(story) == [STUDY]
    assert len(delete(story)) == 2


def test_an_image_between_the_mark_and_the_deletion_is_not_taken_for_deleted(story):
    delivered(story)
    paths = story.worklist.forget_originals(STUDY, story.tick(), story.now)
    story.receive()
    story.worklist.originals_gone(STUDY, story.tick())
    assert paths == [f"{STUDY}.1.dcm"]
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    story.send()
    assert past(story) == [STUDY]


def test_a_study_without_originals_is_not_put_back_to_work(story):
    story.claimed()
    story.decide(assessments=[failed(f"{STUDY}.1", Outcome.SKIPPED)], **EXCLUDED)
    delete(story)
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    assert story.status() is Status.OUT_OF_SCOPE
    assert AuditAction.RETRY_REQUESTED not in story.actions()


def test_a_study_of_which_nothing_could_be_kept_is_not_put_back_to_work(story):
    story.receive(image="1.2.1.1")
    story.receive("1.2.2", image="1.2.1.1", digest="b" * 64)
    assert story.worklist.retry_study("1.2.2", "admin", story.tick()) == 0
    assert story.status("1.2.2") is Status.NEEDS_HUMAN


def test_a_retry_forgets_nothing_of_images_whose_originals_are_deleted(story):
    story.claimed()
    story.decide(assessments=[failed(f"{STUDY}.1", Outcome.SKIPPED)], **EXCLUDED)
    delete(story)
    story.receive()
    story.complete()
    story.claim()
    story.decide(assessments=[failed(f"{STUDY}.2")], **FAILED)
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 1
    old, new = story.worklist.study(STUDY).instances
    assert (old.assessment.outcome, new.assessment) == (Outcome.SKIPPED, None)


@pytest.mark.parametrize("method", ["forget_originals", "originals_gone"])
def test_a_study_that_is_not_there_has_no_originals(worklist, story, method):
    arguments = [story.now] if method == "originals_gone" else [story.now, story.now]
    if method == "forget_originals":
        assert worklist.forget_originals("1.2.9", *arguments) == []
    else:
        worklist.originals_gone("1.2.9", *arguments)
    assert worklist.study("1.2.9") is None
