"""A study of which no route has anything to say is delivered; where there are no routes it stays decided."""

from datetime import timedelta

import pytest
from support.story import STUDY, decision, flag, shipment

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Status
from triage_agent.domain.withdrawal import RejectionReason


def decide(story, *shipments, routed=True, **changes):
    said = decision(at=story.tick(), revision=story.item().revision, **changes)
    assert story.worklist.decide(said, (), shipments, "w1", routed=routed)


def test_a_decision_of_which_no_route_has_anything_to_say_is_delivered_at_once(story):
    story.claimed()
    decide(story)
    item = story.item()
    assert (item.status, item.delivered_at, item.decided_at) == (Status.DELIVERED, story.now, story.now)
    assert story.worklist.originals_past(story.now + timedelta(days=1), 10) == [STUDY]


def test_without_routes_it_stays_decided(story):
    story.claimed()
    decide(story, routed=False)
    assert story.status() is Status.DECIDED


def test_with_something_to_say_it_is_delivered_when_that_is_sent(story):
    story.claimed()
    decide(story, shipment())
    assert story.status() is Status.DECIDED
    story.send()
    assert story.status() is Status.DELIVERED


@pytest.mark.parametrize("sent_before", [True, False])
def test_where_only_the_flag_had_something_to_say_it_is_delivered_with_that(story, sent_before):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1", "ris", ArtifactKind.HL7_OMI)], story.tick())
    if sent_before:
        story.send()
    story.complete()
    story.claim()
    decide(story)
    assert story.status() is (Status.DELIVERED if sent_before else Status.DECIDED)
    story.send()
    assert story.status() is Status.DELIVERED


def test_a_flag_that_died_keeps_it_decided_and_says_so(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1", "ris", ArtifactKind.HL7_OMI)], story.tick())
    story.lose("refused")
    story.complete()
    story.claim()
    decide(story)
    item = story.item()
    assert (item.status, item.status_reason) == (Status.DECIDED, "delivery of hl7-omi to ris failed: refused")


def test_each_revision_is_asked_anew(story):
    story.claimed()
    decide(story)
    story.receive()
    story.complete()
    story.claim()
    decide(story, routed=False)
    assert (story.status(), story.item().revision) == (Status.DECIDED, 2)


def test_a_rejection_note_alone_delivers_no_decision(story):
    """Its routes were taken away: the second revision was never told, and what is taken back is of the first."""
    story.claimed()
    decide(story, shipment("2.25.1"))
    story.send()
    story.receive()
    story.complete()
    story.claim()
    decide(story, routed=False)
    note = shipment("2.25.9", kind=ArtifactKind.REJECTION)
    stands = story.worklist.objects_of(STUDY)
    queued = story.worklist.withdraw(
        STUDY, [note], stands, reason=RejectionReason.QUALITY, actor="admin", now=story.tick()
    )
    assert queued == 1
    assert story.send() == ["2.25.9"]
    assert story.status() is Status.DECIDED
    assert story.worklist.study(STUDY).deliveries[-1].state is DeliveryState.SENT
