"""What intake and assembly may rely on, whatever keeps the worklist."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.story import REPORT, RULE, STUDY, T0, flag, received, scored, shipment

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.ports import Registered
from triage_agent.domain.vocabulary import AuditAction, Event, Finding, Outcome, Priority, Status

SECOND = timedelta(seconds=1)


def test_the_first_image_puts_its_study_on_the_list(worklist):
    header = {"patient_id": "P1", "patient_name": "Doe^Jane", "accession_number": "A1", "modality": "DX"}
    assert worklist.register(received(**header), RULE) is Registered.NEW
    (item,) = worklist.items()
    assert item.study_instance_uid == STUDY
    assert (item.status, item.revision, item.instances) == (Status.RECEIVING, 1, 1)
    assert (item.patient_id, item.patient_name, item.accession_number, item.modality) == tuple(header.values())
    assert (item.priority, item.priority_at_arrival) == (Priority.ROUTINE, Priority.ROUTINE)
    assert item.received_at == T0
    assert (item.finding, item.probability, item.flagged_at, item.decided_at) == (None, None, None, None)


def test_empty_texts_are_none_until_an_image_brings_them(story):
    story.receive(patient_id="", patient_name="")
    assert story.item().patient_name is None
    story.receive(patient_id="P1", patient_name="Doe^Jane")
    story.receive(patient_id="P2", patient_name="Roe^Richard")
    assert (story.item().patient_id, story.item().patient_name) == ("P1", "Doe^Jane")


def test_the_patient_on_the_list_is_never_made_of_two_headers(story):
    story.receive(patient_id="", patient_name="Doe^Jane")
    assert (story.item().patient_id, story.item().patient_name) == (None, "Doe^Jane")
    story.receive(patient_id="", patient_name="Poe^Joe")
    assert story.item().patient_name == "Doe^Jane"
    story.receive(patient_id="42", patient_name="")
    assert (story.item().patient_id, story.item().patient_name) == ("42", None)
    story.receive(patient_id="42", patient_name="Roe^Rick")
    assert (story.item().patient_id, story.item().patient_name) == ("42", None)


def test_an_image_is_registered_with_what_was_received(worklist):
    worklist.register(received(digest="b" * 64), RULE)
    assert worklist.digest_of("1.2.1.1") == "b" * 64
    assert worklist.digest_of("1.2.1.2") is None
    (instance,) = worklist.study(STUDY).instances
    assert (instance.path, instance.received_at, instance.assessment) == ("1.2.1.1.dcm", T0, None)


def test_the_same_bytes_again_change_nothing_but_the_audit_log(story):
    story.receive(image="1.2.1.1")
    before = story.item()
    assert story.receive(image="1.2.1.1") is Registered.DUPLICATE
    assert story.item() == before
    assert story.actions() == [AuditAction.INSTANCE_RECEIVED, AuditAction.INSTANCE_DUPLICATE]


def test_other_bytes_under_the_same_uid_leave_the_first_copy(story):
    story.receive(image="1.2.1.1", digest="a" * 64)
    before = story.item()
    assert story.receive(image="1.2.1.1", digest="b" * 64) is Registered.CONFLICT
    assert story.worklist.digest_of("1.2.1.1") == "a" * 64
    assert story.item() == before
    assert story.actions() == [AuditAction.INSTANCE_RECEIVED, AuditAction.INSTANCE_CONFLICT]


def test_other_bytes_whose_order_is_more_urgent_raise_their_study_where_it_stands(story):
    story.receive(image="1.2.1.1", digest="a" * 64, requested_priority=Priority.URGENT)
    for wanted in (Priority.ROUTINE, Priority.STAT, Priority.STAT, Priority.ROUTINE):
        story.receive(image="1.2.1.1", digest="b" * 64, requested_priority=wanted)
    item = story.item()
    assert (item.priority, item.priority_at_arrival) == (Priority.STAT, Priority.STAT)
    assert (item.status, item.revision, item.instances) == (Status.RECEIVING, 1, 1)
    (event,) = [one for one in story.worklist.study(STUDY).audit if one.action is AuditAction.PRIORITY_RAISED]
    assert (event.actor, event.detail["from"], event.detail["to"]) == ("PACS", "urgent", "stat")


def test_a_uid_that_another_study_has_is_a_conflict_of_that_study(story):
    story.receive(image="1.2.1.1")
    assert story.receive("1.2.2", image="1.2.1.1", digest="b" * 64) is Registered.CONFLICT
    event = story.worklist.study(STUDY).audit[-1]
    assert (event.action, event.detail["received_in_study"]) == (AuditAction.INSTANCE_CONFLICT, "1.2.2")


ONE = "an instance came again with other bytes: what came first counts, the other is in quarantine"


def test_a_study_whose_own_instances_came_with_other_bytes_says_so_among_its_reasons(story):
    story.receive(image="1.2.1.1", digest="a" * 64)
    story.receive(image="1.2.1.2", digest="a" * 64)
    assert story.worklist.study(STUDY).reasons == ()
    for digest in ("b", "c"):
        story.receive(image="1.2.1.1", digest=digest * 64)
    assert story.worklist.study(STUDY).reasons == (ONE,)
    story.receive(image="1.2.1.2", digest="b" * 64)
    (told,) = story.worklist.study(STUDY).reasons
    assert told.startswith("2 instances came again with other bytes")
    assert story.status() is Status.RECEIVING, "the first copies count: nothing is missing"


def test_other_bytes_that_came_for_another_study_are_no_reason_of_the_one_that_keeps_the_instance(story):
    story.receive(image="1.2.1.1", digest="a" * 64)
    story.receive("1.2.2", image="1.2.1.1", digest="b" * 64)
    assert story.worklist.study(STUDY).reasons == ()
    assert story.worklist.study("1.2.2").reasons == (), "its status says it"


CONFLICT = "instance 1.2.1.1 came with other bytes than in study 1.2.1, where it is kept; this copy is in quarantine"


def test_a_study_of_which_nothing_but_a_conflict_came_is_on_the_list_and_needs_a_human(story):
    story.receive(image="1.2.1.1")
    story.receive("1.2.2", image="1.2.1.1", digest="b" * 64, patient_name="Roe", requested_priority=Priority.STAT)
    item = story.item("1.2.2")
    assert (item.status, item.status_reason, item.instances) == (Status.NEEDS_HUMAN, CONFLICT, 0)
    assert (item.patient_name, item.priority, item.priority_at_arrival) == ("Roe", Priority.STAT, Priority.STAT)
    (event,) = story.worklist.study("1.2.2").audit
    assert (event.action, event.detail["kept_in_study"]) == (AuditAction.INSTANCE_CONFLICT, STUDY)
    assert story.worklist.due_for_completion(story.now + RULE.max_wait)[0].study_instance_uid == STUDY


def test_a_study_that_lacks_an_instance_for_a_conflict_says_so_and_goes_to_a_human(story):
    story.receive(image="1.2.1.1")
    story.receive("1.2.2")
    assert story.receive("1.2.2", image="1.2.1.1", digest="b" * 64) is Registered.CONFLICT
    assert (story.status("1.2.2"), story.item("1.2.2").status_reason) == (Status.RECEIVING, CONFLICT)
    story.complete("1.2.2")
    assert story.item("1.2.2").status_reason == f"no image for 30 s; {CONFLICT}"
    assert story.claim().lost == CONFLICT


def test_a_conflict_stays_on_the_list_whatever_else_becomes_of_the_study(story):
    story.receive(image="1.2.1.1")
    story.decided(shipment(), study="1.2.2")
    for image in ("1.2.1.1", "1.2.1.1"):
        story.receive("1.2.2", image=image, digest="b" * 64, requested_priority=Priority.STAT)
    assert story.status("1.2.2") is Status.DECIDED
    assert story.item("1.2.2").priority is Priority.STAT
    story.send()
    assert (story.status("1.2.2"), story.item("1.2.2").status_reason) == (Status.DELIVERED, CONFLICT)
    story.receive(image="1.2.1.2")
    story.receive("1.2.2", image="1.2.1.2", digest="b" * 64)
    story.receive("1.2.2", image="1.2.1.2", digest="b" * 64)
    assert story.item("1.2.2").status_reason == f"{CONFLICT}; so did others, see its audit trail"


def test_an_image_of_its_own_opens_the_revision_of_a_study_that_had_only_a_conflict(story):
    story.receive(image="1.2.1.1")
    story.receive("1.2.2", image="1.2.1.1", digest="b" * 64)
    story.receive("1.2.2", image="1.2.2.1")
    item = story.item("1.2.2")
    assert (item.status, item.revision, item.instances) == (Status.RECEIVING, 2, 1)


def test_a_duplicate_does_not_reopen_a_decided_study(story):
    story.decided()
    story.receive(image=f"{STUDY}.1")
    assert (story.status(), story.item().revision) == (Status.DECIDED, 1)


def test_the_order_is_the_header_s_and_only_rises(story):
    story.receive(requested_priority=Priority.URGENT)
    assert story.item().priority is Priority.URGENT
    story.receive(requested_priority=Priority.ROUTINE)
    assert story.item().priority is Priority.URGENT
    story.receive(requested_priority=Priority.STAT)
    assert (story.item().priority, story.item().priority_at_arrival) == (Priority.STAT, Priority.STAT)
    assert story.actions().count(AuditAction.PRIORITY_RAISED) == 1


def test_a_higher_order_does_not_lower_what_a_flag_raised(story):
    story.receive()
    story.worklist.raise_flag(flag(priority=Priority.STAT), (), story.tick())
    story.receive(requested_priority=Priority.URGENT)
    assert (story.item().priority, story.item().priority_at_arrival) == (Priority.STAT, Priority.URGENT)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (Event.DECIDED, Status.DECIDED),
        (Event.EXCLUDED, Status.OUT_OF_SCOPE),
        (Event.FAILED, Status.NEEDS_HUMAN),
    ],
)
def test_a_late_image_opens_the_next_revision_of_a_concluded_study(story, event, status):
    story.decided(event=event, status_reason="why")
    assert story.status() is status
    story.receive()
    item = story.item()
    assert (item.status, item.revision, item.instances, item.status_reason) == (Status.RECEIVING, 2, 2, None)
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    assert (view.revision, view.instances, view.first_received_at) == (2, 2, story.now)


def came(story, study=STUDY):
    """What reaches the study's row by an object that is no image, besides the count."""
    return replace(story.item(study), instances=0)


@pytest.mark.parametrize("sop_class_uid", [REPORT, "1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.2", "1.2"])
@pytest.mark.parametrize("event", [Event.DECIDED, Event.EXCLUDED, Event.FAILED])
def test_what_is_no_radiograph_is_kept_in_a_concluded_study_and_does_not_reopen_it(story, event, sop_class_uid):
    story.decided(event=event, status_reason="why")
    before = came(story)
    assert story.receive(sop_class_uid=sop_class_uid) is Registered.NEW
    assert (came(story), story.item().instances) == (before, 2)
    _, late = story.worklist.study(STUDY).instances
    assert late.assessment.outcome is Outcome.SKIPPED  # nobody would look at it any more
    assert late.assessment.reason.startswith("not a radiograph")
    assert story.actions()[-1] is AuditAction.INSTANCE_RECEIVED
    assert story.worklist.due_for_completion(story.now + RULE.max_wait) == []


def test_our_own_report_that_comes_back_leaves_a_delivered_study_delivered(story):
    story.decided(shipment())
    story.send()
    story.receive(sop_class_uid=REPORT)
    assert (story.status(), story.item().revision) == (Status.DELIVERED, 1)
    story.receive()
    assert (story.status(), story.item().revision) == (Status.RECEIVING, 2)


def test_what_is_no_radiograph_does_not_put_off_completion(story):
    story.receive()
    due = story.now + RULE.quiet
    story.tick(RULE.quiet - SECOND)
    story.receive(sop_class_uid=REPORT)
    (view,) = story.worklist.due_for_completion(due)
    assert (view.instances, view.last_received_at) == (2, due - RULE.quiet)
    assert story.worklist.complete(view, "quiet", due)


def test_what_is_no_radiograph_leaves_a_ready_study_ready_and_goes_with_it(story):
    story.receive()
    story.complete()
    story.receive(sop_class_uid=REPORT)
    assert (story.status(), story.item().status_reason) == (Status.READY, "no image for 30 s")
    claimed = story.claim()
    assert [each.assessment for each in claimed.instances] == [None, None]


def test_what_is_no_radiograph_takes_no_study_from_its_worker(story):
    story.claimed()
    story.receive(sop_class_uid=REPORT)
    assert story.status() is Status.SCORING
    assert story.worklist.renew_leases("w1", story.tick(), SECOND) == 1
    assert story.decide()
    assert story.worklist.study(STUDY).instances[1].assessment.outcome is Outcome.SKIPPED


def test_the_order_s_priority_in_a_report_raises_a_concluded_study_where_it_stands(story):
    story.decided(priority=Priority.ROUTINE, finding=Finding.NORMAL)
    story.receive(sop_class_uid=REPORT, requested_priority=Priority.STAT)
    assert (story.status(), story.item().priority) == (Status.DECIDED, Priority.STAT)
    assert story.actions()[-1] is AuditAction.PRIORITY_RAISED


def test_the_last_result_stays_on_the_list_until_the_next(story):
    story.decided()
    before = story.item()
    story.receive()
    after = story.item()
    assert (after.finding, after.probability, after.decided_at) == (Finding.ABNORMAL, 0.8, before.decided_at)


def test_a_late_image_takes_a_study_back_from_its_worker(story):
    story.claimed()
    story.receive()
    assert (story.status(), story.item().revision) == (Status.RECEIVING, 1)
    assert not story.decide(revision=1)


def test_assessments_of_old_images_stay_valid_in_a_new_revision(story):
    story.claimed()
    story.decide(assessments=[scored(f"{STUDY}.1", 0.8)])
    story.receive()
    (claimed,) = story.worklist.claim_images("w1", story.tick(), SECOND, 10)
    assert claimed.instance.sop_instance_uid == f"{STUDY}.2"
    assert story.worklist.study(STUDY).instances[0].assessment.probability == 0.8


def test_audit_events_without_a_study_are_kept(worklist):
    event = AuditEvent(at=T0, action=AuditAction.INSTANCE_QUARANTINED, actor="PACS", study_instance_uid="1.2.1")
    worklist.record_audit(AuditEvent(at=T0, action=AuditAction.AGENT_STARTED, actor="agent", detail={"n": 1}))
    worklist.record_audit(event)
    worklist.register(received(), RULE)
    assert worklist.study(STUDY).audit[0] == event


def test_no_audit_event_names_the_patient(story):
    story.receive(patient_id="SECRETID", patient_name="SECRET^NAME", accession_number="SECRETACC")
    story.complete()
    story.claim()
    story.decide(status_reason="SECRET")
    assert "SECRET" not in repr(story.worklist.study(STUDY).audit)


def test_texts_of_any_length_and_kind_are_taken(story):
    assert story.receive(patient_name="N\x00" * 5_000, patient_id="I" * 10_000, modality="\ud800") is Registered.NEW
    assert story.receive(accession_number="\x00" + "A" * 5_000) is Registered.NEW
    assert story.item().patient_name.startswith("N")


def test_the_paths_of_everything_registered_come_in_the_order_of_their_characters(story):
    for image in ("1.2.10", "1.2.9", "1.2.1", "1.2.Z", "1.2.a"):
        story.worklist.register(received(image=image), RULE)
    expected = [f"{image}.dcm" for image in ("1.2.1", "1.2.10", "1.2.9", "1.2.Z", "1.2.a")]
    assert list(story.worklist.spool_paths()) == expected
    walk = story.worklist.spool_paths()
    assert next(walk) == expected[0]
    story.worklist.register(received(image="1.2.0"), RULE)  # somebody receives while we read
    assert set(walk) >= set(expected[1:])
