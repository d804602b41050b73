"""What is kept of results that somebody takes back, whatever keeps the worklist."""

from dataclasses import replace

import pytest
from support.story import LEASE, STUDY, shipment

from triage_agent.domain.commitment import CommitmentReport, Reference
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Status
from triage_agent.domain.withdrawal import RejectionReason

SR = "1.2.840.10008.5.1.4.1.1.88.34"


def note(uid="2.25.9", to="pacs"):
    return shipment(uid, to, ArtifactKind.REJECTION)


def withdraw(story, *notes, study=STUDY):
    objects = story.worklist.objects_of(study)
    return story.worklist.withdraw(
        study, notes or [note()], objects, reason=RejectionReason.QUALITY, actor="admin", now=story.tick()
    )


def states(story):
    return [row.state for row in story.worklist.study(STUDY).deliveries]


def test_a_study_s_objects_are_told_by_destination_and_in_order_without_messages_or_what_is_dead(story):
    objects = [shipment("2.25.1"), shipment("2.25.2", "old"), shipment("2.25.1", "archive")]
    story.decided(*objects, shipment("2.25.3", "ris", ArtifactKind.HL7_ORU))
    story.lose(destinations=["old"])
    assert story.worklist.objects_of(STUDY) == [objects[0], objects[2]]
    withdraw(story)
    assert story.worklist.objects_of(STUDY) == [note()]
    assert story.worklist.objects_of("1.2.9") == []


def test_a_note_waits_behind_what_it_withdraws_and_the_study_stays_delivered(story):
    story.decided(shipment())
    story.send()
    assert withdraw(story) == 1
    assert story.status() is Status.DELIVERED
    assert story.send() == ["2.25.9"]
    assert (story.status(), states(story)) == (Status.DELIVERED, [DeliveryState.SENT] * 2)


def test_what_was_not_sent_yet_goes_first(story):
    story.decided(shipment())
    withdraw(story)
    assert story.send() == ["2.25.1"]
    assert story.status() is Status.DECIDED
    assert story.send() == ["2.25.9"]
    assert story.status() is Status.DELIVERED


def test_the_same_note_again_is_not_queued_again(story):
    story.decided(shipment())
    assert (withdraw(story), withdraw(story)) == (1, 0)
    assert story.actions().count(AuditAction.RESULTS_WITHDRAWN) == 1


def test_who_withdrew_what_and_why_is_in_the_trail(story):
    story.decided(shipment())
    withdraw(story, note(), note(to="archive"))
    event = next(one for one in story.worklist.study(STUDY).audit if one.action is AuditAction.RESULTS_WITHDRAWN)
    assert event.actor == "admin"
    notes = [{"to": "pacs", "uid": "2.25.9"}, {"to": "archive", "uid": "2.25.9"}]
    assert event.detail == {"reason": "quality", "notes": notes}


def test_of_a_study_that_nobody_knows_or_without_notes_nothing_happens(story):
    story.decided(shipment())
    assert withdraw(story, study="1.2.9") == 0
    given = {"reason": RejectionReason.QUALITY, "actor": "admin", "now": story.tick()}
    assert story.worklist.withdraw(STUDY, [], story.worklist.objects_of(STUDY), **given) == 0
    assert uids(story.worklist.results_of(STUDY, 10)) == ["2.25.1"]
    assert AuditAction.RESULTS_WITHDRAWN not in story.actions()


def test_a_study_that_needs_a_human_stays_so_while_its_note_is_sent(story):
    story.decided(shipment(), event=Event.FAILED, status_reason="why")
    story.send()
    withdraw(story)
    story.send()
    assert (story.status(), story.item().status_reason) == (Status.NEEDS_HUMAN, "why")


def test_a_dead_object_is_not_revived_behind_a_note_and_a_message_is(story):
    story.decided(
        shipment("2.25.1"), shipment("2.25.2", kind=ArtifactKind.SC), shipment("2.25.3", "ris", ArtifactKind.HL7_ORU)
    )
    story.send(limit=1, destinations=["pacs"])
    story.lose()
    withdraw(story)
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 1
    assert states(story)[1:3] == [DeliveryState.DEAD, DeliveryState.PENDING]


def test_a_dead_note_is_revived_whatever_other_note_was_sent(story):
    story.decided(shipment())
    story.send()
    withdraw(story)
    story.lose()
    withdraw(story, note("2.25.10"))
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 1
    assert [row.uid for row in story.worklist.study(STUDY).deliveries if row.state is DeliveryState.PENDING] == [
        "2.25.9",
        "2.25.10",
    ]


def report_lost(story, uid, transaction_uid):
    lost = CommitmentReport(transaction_uid=transaction_uid, committed=(), failed=((Reference(SR, uid), 0x0112),))
    return story.worklist.commitment_reported(["pacs"], lost, 3, story.tick())


@pytest.mark.parametrize("asked", [True, False])
def test_nobody_is_asked_to_keep_what_was_withdrawn_nor_sent_it_again(asked, story):
    story.decided(shipment())
    (delivery,) = story.deliveries()
    story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    if asked:
        assert story.worklist.claim_commitments("pacs", "2.25.77", story.tick(), story.now + LEASE, 10, 3)
    withdraw(story)
    assert report_lost(story, "2.25.1", "2.25.77").resent == 0
    assert story.worklist.claim_commitments("pacs", "2.25.78", story.tick() + 2 * LEASE, story.now + LEASE, 10, 3) == []
    assert states(story)[0] is DeliveryState.SENT


def test_what_is_sent_after_it_was_withdrawn_is_not_asked_about_and_its_note_is(story):
    story.decided(shipment())
    withdraw(story)
    for _ in range(2):
        (delivery,) = story.deliveries()
        story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    asked = story.worklist.claim_commitments("pacs", "2.25.77", story.tick(), story.now + LEASE, 10, 3)
    assert [artifact.uid for artifact in asked] == ["2.25.9"]


def uids(artifacts):
    return [artifact.uid for artifact in artifacts]


def test_what_is_withdrawn_is_shown_no_more_and_its_note_is(story):
    story.decided(shipment("2.25.1"), shipment("2.25.1", "archive"), shipment("2.25.3", "ris", ArtifactKind.HL7_ORU))
    story.send()
    withdraw(story)
    assert uids(story.worklist.results_of(STUDY, 10)) == ["2.25.9"]
    assert uids(story.worklist.withdrawn_of(STUDY, 10)) == ["2.25.1"]
    assert story.worklist.withdrawn_of("1.2.9", 10) == []


def test_what_reached_nobody_is_withdrawn_with_the_rest(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2", kind=ArtifactKind.SC))
    story.send(limit=1)
    story.lose()
    withdraw(story)
    assert uids(story.worklist.withdrawn_of(STUDY, 10)) == ["2.25.2", "2.25.1"]


def test_a_result_that_came_after_the_notes_were_made_stands(story):
    story.decided(shipment("2.25.1"))
    objects = story.worklist.objects_of(STUDY)
    story.receive(STUDY)
    story.decided(shipment("2.25.2"))
    given = {"reason": RejectionReason.QUALITY, "actor": "admin", "now": story.tick()}
    assert story.worklist.withdraw(STUDY, [note()], objects, **given) == 1
    assert uids(story.worklist.results_of(STUDY, 10)) == ["2.25.9", "2.25.2"]


def test_a_result_that_was_withdrawn_is_nobody_s_predecessor_and_a_message_is(story):
    story.decided(shipment("2.25.1"), shipment("2.25.3", "ris", ArtifactKind.HL7_ORU))
    assert story.worklist.last_artifact(STUDY, ArtifactKind.SR, 2).uid == "2.25.1"
    withdraw(story)
    assert story.worklist.last_artifact(STUDY, ArtifactKind.SR, 2) is None
    assert story.worklist.last_artifact(STUDY, ArtifactKind.HL7_ORU, 2).uid == "2.25.3"


def test_what_an_object_is_named_by_outlives_its_bytes(story):
    made = shipment("2.25.1")
    story.decided(replace(made, artifact=replace(made.artifact, header=b"whose it is")))
    story.send()
    assert story.worklist.forget_originals(STUDY, story.tick() + 1000 * LEASE, story.now)
    (kept,) = story.worklist.objects_of(STUDY)
    assert (kept.artifact.body, kept.artifact.header) == (b"", b"whose it is")
    assert story.worklist.last_artifact(STUDY, ArtifactKind.SR, 2) == kept.artifact
    withdraw(story)
    assert uids(story.worklist.withdrawn_of(STUDY, 10)) == ["2.25.1"]
    assert story.worklist.objects_of(STUDY) == [note()]
