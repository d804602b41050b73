"""What workers may rely on, whatever keeps the worklist."""

from dataclasses import replace

import pytest
from support.story import LEASE, MODEL, SECOND, STUDY, decision, failed, flag, scored, shipment

from triage_agent.domain.vocabulary import AuditAction, DeliveryState, Event, Finding, Outcome, Priority, Status
from triage_agent.worklist import MAX_ATTEMPTS


def claim_images(story, owner="w1", limit=10, lease=LEASE):
    return story.worklist.claim_images(owner, story.tick(), lease, limit)


def uids(claimed):
    return [image.instance.sop_instance_uid for image in claimed]


def test_images_come_by_priority_then_age(story):
    story.receive("1.2.1")
    story.receive("1.2.2", requested_priority=Priority.STAT)
    story.receive("1.2.1")
    story.receive("1.2.3", requested_priority=Priority.URGENT)
    story.receive("1.2.2")
    claimed = claim_images(story, limit=4)
    assert uids(claimed) == ["1.2.2.1", "1.2.2.2", "1.2.3.1", "1.2.1.1"]
    assert [image.priority for image in claimed][:3] == [Priority.STAT, Priority.STAT, Priority.URGENT]
    assert uids(claim_images(story)) == ["1.2.1.2"]


def test_an_image_is_leased_to_one_worker(story):
    story.receive()
    assert uids(claim_images(story, "w1")) == ["1.2.1.1"]
    assert claim_images(story, "w2") == []
    story.tick(LEASE)
    assert uids(claim_images(story, "w2")) == ["1.2.1.1"]


def test_an_image_that_never_gives_a_result_is_left_alone(story):
    story.receive()
    for _ in range(MAX_ATTEMPTS):
        assert claim_images(story) != []
        story.tick(LEASE)
    assert claim_images(story) == []


def test_images_of_complete_studies_are_left_to_the_decision(story):
    story.receive()
    story.complete()
    assert claim_images(story) == []


def test_an_assessment_is_kept_once(story):
    story.receive()
    (claimed,) = claim_images(story)
    assert story.worklist.record_assessment(claimed, scored("1.2.1.1", 0.7), story.tick())
    assert not story.worklist.record_assessment(claimed, scored("1.2.1.1", 0.2), story.tick())
    (instance,) = story.worklist.study(STUDY).instances
    assert instance.assessment == scored("1.2.1.1", 0.7)
    assert claim_images(story) == []


def test_a_failed_assessment_is_kept_with_its_reason(story):
    story.receive()
    (claimed,) = claim_images(story)
    assert story.worklist.record_assessment(claimed, failed("1.2.1.1"), story.tick())
    (instance,) = story.worklist.study(STUDY).instances
    assert instance.assessment == failed("1.2.1.1")


def test_a_flag_raises_the_study_at_once(story):
    story.receive()
    at = story.tick()
    assert story.worklist.raise_flag(flag(at=at), (), at)
    item = story.item()
    assert (item.status, item.priority, item.flagged_at) == (Status.RECEIVING, Priority.URGENT, at)
    assert (item.probability, item.rule, item.acr_category, item.anatomy) == (0.95, "alert", "2", "XR_KNEE")
    assert (item.bundle, item.finding, item.decided_at) == (MODEL.label, None, None)
    assert story.worklist.study(STUDY).reasons == ("one image is 0.95",)
    assert story.actions()[-1] is AuditAction.PRIORITY_RAISED


@pytest.mark.parametrize("priority", [Priority.ROUTINE, Priority.URGENT])
def test_a_flag_that_would_not_raise_does_nothing(story, priority):
    story.receive(requested_priority=Priority.URGENT)
    before = story.worklist.study(STUDY)
    assert not story.worklist.raise_flag(flag(priority=priority), [shipment()], story.tick())
    assert story.worklist.study(STUDY) == before


def test_a_flag_for_an_unknown_study_does_nothing(story):
    assert not story.worklist.raise_flag(flag(), [shipment()], story.tick())


def test_a_flag_keeps_its_image_s_assessment_along(story):
    story.receive()
    (claimed,) = claim_images(story)
    assert story.worklist.raise_flag(flag(), [shipment()], story.tick(), scored("1.2.1.1", 0.95))
    detail = story.worklist.study(STUDY)
    assert (detail.item.priority, len(detail.deliveries)) == (Priority.URGENT, 1)
    assert detail.instances[0].assessment == scored("1.2.1.1", 0.95)
    assert not story.worklist.record_assessment(claimed, scored("1.2.1.1", 0.2), story.tick())


def test_an_image_that_was_refused_may_raise_and_keeps_its_probability(story):
    story.receive()
    claim_images(story)
    refused = replace(scored("1.2.1.1", 0.95), outcome=Outcome.FAILED, reason="unlike the training images")
    assert story.worklist.raise_flag(flag(), [shipment()], story.tick(), refused)
    detail = story.worklist.study(STUDY)
    assert detail.item.priority is Priority.URGENT
    assert detail.instances[0].assessment == refused


def test_the_assessment_of_a_flag_that_does_not_raise_is_kept_all_the_same(story):
    story.receive(requested_priority=Priority.STAT)
    assert not story.worklist.raise_flag(flag(), [shipment()], story.tick(), scored("1.2.1.1", 0.95))
    detail = story.worklist.study(STUDY)
    assert (detail.item.priority, detail.deliveries) == (Priority.STAT, ())
    assert detail.instances[0].assessment == scored("1.2.1.1", 0.95)


def test_a_flag_replaces_no_earlier_assessment(story):
    story.receive()
    (claimed,) = claim_images(story)
    story.worklist.record_assessment(claimed, scored("1.2.1.1", 0.7), story.tick())
    story.worklist.raise_flag(flag(), (), story.tick(), scored("1.2.1.1", 0.95))
    assert story.worklist.study(STUDY).instances[0].assessment == scored("1.2.1.1", 0.7)


def test_the_first_flag_is_when_the_study_was_flagged(story):
    story.receive()
    first = story.tick()
    story.worklist.raise_flag(flag(at=first), (), first)
    later = story.tick()
    assert story.worklist.raise_flag(flag(at=later, priority=Priority.STAT), (), later)
    assert (story.item().priority, story.item().flagged_at) == (Priority.STAT, first)


def test_a_flag_of_an_earlier_revision_still_raises(story):
    story.decided(priority=Priority.ROUTINE, finding=Finding.NORMAL, probability=0.1)
    story.receive()
    assert story.worklist.raise_flag(flag(revision=1), [shipment()], story.tick())
    item = story.item()
    assert (item.priority, item.finding, item.probability) == (Priority.URGENT, None, 0.95)
    assert story.worklist.study(STUDY).deliveries[0].revision == 1


def test_a_flag_after_the_decision_raises_and_leaves_the_result(story):
    story.decided(priority=Priority.ROUTINE, finding=Finding.NORMAL, probability=0.1, rule="normal")
    assert story.worklist.raise_flag(flag(), (), story.tick())
    item = story.item()
    assert (item.priority, item.finding, item.probability, item.rule) == (
        Priority.URGENT,
        Finding.NORMAL,
        0.1,
        "normal",
    )


def test_the_most_urgent_then_the_oldest_study_is_claimed(story):
    for number, priority in enumerate([Priority.ROUTINE, Priority.URGENT, Priority.URGENT, Priority.STAT]):
        story.receive(f"1.2.{number}", requested_priority=priority)
        story.complete(f"1.2.{number}")
    claimed = [story.claim() for _ in range(5)]
    assert [each and each.study_instance_uid for each in claimed] == ["1.2.3", "1.2.1", "1.2.2", "1.2.0", None]


def test_a_claimed_study_has_everything_a_decision_needs(story):
    story.receive()
    story.receive()
    (first, _) = claim_images(story)
    story.worklist.record_assessment(first, scored("1.2.1.1", 0.7), story.tick())
    story.worklist.give_back("w1", story.tick(), counted=False)
    story.complete()
    claimed = story.claim()
    assert story.status() is Status.SCORING
    assert (claimed.revision, claimed.attempt, claimed.priority) == (1, 1, Priority.ROUTINE)
    assert [each.sop_instance_uid for each in claimed.instances] == ["1.2.1.1", "1.2.1.2"]
    assert [each.assessment for each in claimed.instances] == [scored("1.2.1.1", 0.7), None]


def test_attempts_are_counted_within_a_revision(story):
    assert story.claimed().attempt == 1
    story.worklist.give_back("w1", story.tick())
    assert story.claim().attempt == 2
    story.decide()
    story.receive()
    story.complete()
    assert story.claim().attempt == 1


def test_an_image_that_interrupts_the_decision_sets_the_attempts_back(story):
    story.claimed()
    for _ in range(MAX_ATTEMPTS + 1):
        story.receive()
        story.complete()
        assert story.claim().attempt == 1


def test_an_attempt_that_ended_well_is_not_counted(story):
    story.claimed()
    for _ in range(MAX_ATTEMPTS + 1):
        assert story.worklist.give_back("w1", story.tick(), counted=False) == 1
        assert story.claim().attempt == 1
    story.worklist.give_back("w1", story.tick())
    assert story.claim().attempt == 2


def test_an_image_that_was_given_back_well_can_be_claimed_for_ever(story):
    story.receive()
    for _ in range(MAX_ATTEMPTS + 1):
        assert uids(claim_images(story)) == ["1.2.1.1"]
        assert story.worklist.give_back("w1", story.tick(), counted=False) == 1
    for _ in range(MAX_ATTEMPTS):
        assert uids(claim_images(story)) == ["1.2.1.1"]
        story.worklist.give_back("w1", story.tick())
    assert claim_images(story) == []


def test_a_decision_shows_on_the_list(story):
    story.claimed()
    assert story.decide(status_reason="1 of 2 images could not be scored")
    item = story.item()
    assert (item.status, item.status_reason) == (Status.DECIDED, "1 of 2 images could not be scored")
    assert (item.finding, item.probability, item.priority) == (Finding.ABNORMAL, 0.8, Priority.URGENT)
    assert (item.acr_category, item.rule, item.anatomy, item.bundle) == ("2", "abnormal", "XR_KNEE", MODEL.label)
    assert (item.decided_at, item.flagged_at, item.delivered_at) == (story.now, story.now, None)
    assert story.worklist.study(STUDY).reasons == ("the mean of 2 images is 0.80",)
    new = story.actions()[-3:]
    assert set(new) == {AuditAction.STATUS_CHANGED, AuditAction.DECISION_MADE, AuditAction.PRIORITY_RAISED}


@pytest.mark.parametrize(
    ("event", "status"), [(Event.EXCLUDED, Status.OUT_OF_SCOPE), (Event.FAILED, Status.NEEDS_HUMAN)]
)
def test_a_study_that_is_not_assessed_keeps_its_priority_and_says_why(story, event, status):
    story.claimed(requested_priority=Priority.URGENT)
    changes = {"finding": Finding.NOT_ASSESSED, "probability": None, "priority": Priority.ROUTINE}
    assert story.decide(event=event, status_reason="pixel data is truncated", **changes)
    item = story.item()
    assert (item.status, item.status_reason) == (status, "pixel data is truncated")
    assert (item.priority, item.finding, item.flagged_at) == (Priority.URGENT, Finding.NOT_ASSESSED, None)


def test_a_decision_stores_its_assessments(story):
    story.claimed()
    assert story.decide(assessments=[scored("1.2.1.1", 0.8)])
    assert story.worklist.study(STUDY).instances[0].assessment == scored("1.2.1.1", 0.8)


def test_a_decision_s_assessments_replace_earlier_ones(story):
    story.receive()
    (claimed,) = claim_images(story)
    story.worklist.record_assessment(claimed, scored("1.2.1.1", 0.7, "old" * 16), story.tick())
    story.complete()
    story.claim()
    assert story.decide(assessments=[scored("1.2.1.1", 0.9)])
    assert story.worklist.study(STUDY).instances[0].assessment == scored("1.2.1.1", 0.9)


def test_a_decision_writes_no_other_study_s_assessments(story):
    story.receive("1.2.2")
    story.claimed()
    assert story.decide(assessments=[scored("1.2.2.1")])
    assert story.worklist.study("1.2.2").instances[0].assessment is None


@pytest.mark.parametrize("change", [{"owner": "w2"}, {"revision": 2}, {"study": "1.2.9", "revision": 1}])
def test_only_the_holder_decides_and_only_its_revision(story, change):
    story.claimed()
    before = story.worklist.study(STUDY)
    assert not story.decide(shipment(), assessments=[scored("1.2.1.1")], **change)
    assert story.worklist.study(STUDY) == before


def test_a_study_is_decided_once(story):
    story.claimed()
    assert story.decide()
    assert not story.decide()


def test_a_decision_after_the_lease_went_to_another_is_refused(story):
    story.claimed(owner="w1")
    story.worklist.expire_leases(story.tick(LEASE))
    assert story.claim("w2").attempt == 2
    assert not story.decide(owner="w1")
    assert story.decide(owner="w2")


@pytest.mark.parametrize("event", [Event.GIVEN_BACK, Event.IMAGE_RECEIVED, Event.COMPLETED, Event.DELIVERED])
def test_a_decision_leads_only_where_decisions_lead(story, event):
    story.claimed()
    with pytest.raises(ValueError, match="a decision's event"):
        story.worklist.decide(decision(event=event), (), (), "w1")
    assert story.status() is Status.SCORING


def test_giving_back_frees_all_that_the_owner_holds_and_nothing_else(story):
    story.claimed("1.2.1", owner="w1")
    story.claimed("1.2.2", owner="w2")
    story.receive("1.2.3")
    assert uids(claim_images(story, "w1")) == ["1.2.3.1"]
    assert story.worklist.give_back("w1", story.tick()) == 2
    assert (story.status("1.2.1"), story.status("1.2.2")) == (Status.READY, Status.SCORING)
    assert story.item("1.2.1").status_reason == "given back by its worker"
    assert uids(claim_images(story, "w2")) == ["1.2.3.1"]
    assert story.worklist.give_back("w1", story.tick()) == 0


def test_giving_back_frees_deliveries(story):
    story.decided(shipment())
    assert len(story.deliveries("s1")) == 1
    assert story.worklist.give_back("s1", story.tick()) == 1
    assert story.worklist.study(STUDY).deliveries[0].state is DeliveryState.PENDING
    assert [each.attempt for each in story.deliveries("s2")] == [2]


def test_a_lease_that_ran_out_makes_the_study_ready(story):
    story.claimed()
    assert story.worklist.expire_leases(story.now + LEASE - SECOND) == 0
    assert story.worklist.expire_leases(story.now + LEASE) == 1
    assert (story.status(), story.item().status_reason) == (Status.READY, "its worker did not finish in time")
    assert story.worklist.expire_leases(story.now + LEASE) == 0


def test_renewing_extends_every_lease_of_the_owner(story):
    story.decided(shipment(), study="1.2.1")
    story.claimed("1.2.2", owner="w1")
    story.receive("1.2.3")
    assert len(claim_images(story, "w1")) == 1
    assert len(story.deliveries("w1")) == 1
    story.tick(LEASE - 2 * SECOND)
    assert story.worklist.renew_leases("w1", story.now, LEASE) == 3
    assert story.worklist.renew_leases("w2", story.now, LEASE) == 0
    later = story.tick(LEASE - SECOND)
    assert story.worklist.expire_leases(later) == 0
    assert story.worklist.claim_images("w2", later, LEASE, 10) == []
    assert story.worklist.claim_deliveries("w2", later, LEASE, 10) == []
    assert story.worklist.expire_leases(later + SECOND) == 1


def test_outcomes_that_are_not_scores_have_no_probability(story):
    story.claimed()
    story.decide(assessments=[failed("1.2.1.1", Outcome.SKIPPED)])
    assessment = story.worklist.study(STUDY).instances[0].assessment
    assert (assessment.outcome, assessment.probability) == (Outcome.SKIPPED, None)


def test_an_order_that_waits_while_its_study_rises_is_not_sent_after_all_and_hinders_nothing(story):
    """Whatever raised it (an image's header, an order, a flag): sent now, it would ask for less (promise 3)."""
    story.claimed()
    asks = replace(shipment("2.25.2"), raises_to=Priority.URGENT)
    story.decide(asks, shipment("2.25.3"), priority=Priority.URGENT)
    story.receive(image="1.2.1.1", digest="b" * 64, requested_priority=Priority.STAT)
    assert story.worklist.study(STUDY).item.priority is Priority.STAT
    (asked,) = story.deliveries()
    assert (asked.artifact.uid, asked.is_outdone) == ("2.25.2", True)
    story.worklist.delivery_failed(asked, "not sent", None, story.tick())
    (report,) = story.deliveries()
    assert (report.artifact.uid, report.is_outdone) == ("2.25.3", False)
    story.worklist.delivery_sent(report, story.tick())
    assert story.status() is Status.DELIVERED
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    assert story.worklist.originals_past(story.tick(), 10) == [STUDY]


def test_a_decision_asks_nobody_for_less_than_the_study_was_raised_to_meanwhile(story):
    story.receive()
    story.complete()
    story.claim()
    story.worklist.raise_flag(flag(priority=Priority.STAT), [shipment("2.25.1")], story.tick())
    asks = [
        replace(shipment(f"2.25.{number}"), raises_to=to) for number, to in ((2, Priority.URGENT), (3, Priority.STAT))
    ]
    story.decide(*asks, shipment("2.25.4"), priority=Priority.URGENT)
    assert story.worklist.study(STUDY).item.priority is Priority.STAT
    assert [row.uid for row in story.worklist.study(STUDY).deliveries] == ["2.25.1", "2.25.3", "2.25.4"]
