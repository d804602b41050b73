"""The objects made of a study, and those made of it after its decision, whatever keeps the worklist."""

import pytest
from support.story import LEASE, STUDY, shipment

from triage_agent.domain.vocabulary import ArtifactKind, Status
from triage_agent.domain.withdrawal import RejectionReason


def test_the_objects_of_a_study_are_given_once_each_newest_first_and_messages_are_none(story):
    story.decided(
        shipment("2.25.1", "pacs", body=b"first"),
        shipment("2.25.1", "archive", body=b"first"),
        shipment("2.25.7", "ris", ArtifactKind.HL7_ORU),
    )
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2", body=b"second"), shipment("2.25.3", kind=ArtifactKind.SC, body=b"picture"))
    story.decided(shipment("2.25.8"), study="1.2.2")
    found = [(one.uid, one.kind, one.body) for one in story.worklist.results_of(STUDY, 10)]
    assert set(found[:2]) == {("2.25.2", ArtifactKind.SR, b"second"), ("2.25.3", ArtifactKind.SC, b"picture")}
    assert found[2:] == [("2.25.1", ArtifactKind.SR, b"first")]
    assert len(story.worklist.results_of(STUDY, 1)) == 1
    assert [one.uid for one in story.worklist.results_of(STUDY, 10, {ArtifactKind.SC})] == ["2.25.3"]
    assert not story.worklist.results_of("1.2.404", 10)


def add(story, *shipments, revision=1):
    return story.worklist.add_results(STUDY, revision, shipments, story.tick())


@pytest.mark.parametrize("sent", [True, False])
def test_what_is_made_after_the_decision_goes_behind_what_it_sent(sent, story):
    story.decided(shipment("2.25.1"))
    if sent:
        story.send()
    before = story.status()
    assert add(story, shipment("2.25.2", kind=ArtifactKind.EVIDENCE_SC))
    assert story.status() is before
    assert (story.send() or []) + (story.send() or []) == (["2.25.2"] if sent else ["2.25.1", "2.25.2"])
    assert story.status() is Status.DELIVERED


def test_what_is_made_of_a_revision_that_is_past_or_withdrawn_is_not_sent(story):
    late = shipment("2.25.2", kind=ArtifactKind.EVIDENCE_SC)
    assert not story.worklist.add_results("1.2.9", 1, [late], story.tick())
    story.decided(shipment("2.25.1"))
    assert not add(story, late, revision=2)
    story.receive(STUDY)
    assert not add(story, late)
    story.decided(shipment("2.25.3"))
    assert not add(story, late)
    given = {"reason": RejectionReason.QUALITY, "actor": "admin", "now": story.tick()}
    story.worklist.withdraw(
        STUDY, [shipment("2.25.9", kind=ArtifactKind.REJECTION)], story.worklist.objects_of(STUDY), **given
    )
    assert not add(story, late, revision=2)


def test_a_map_that_is_withheld_hinders_no_delivery(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2", kind=ArtifactKind.EVIDENCE_SC))
    first = story.worklist.claim_deliveries("d1", story.tick(), LEASE, 2)
    assert len(first) == 2
    for delivery in first:
        if delivery.artifact.kind.is_evidence:
            story.worklist.delivery_failed(delivery, "the site shows no regions", None, story.tick(), tried=False)
        else:
            story.worklist.delivery_sent(delivery, story.tick())
    assert story.status() is Status.DELIVERED
