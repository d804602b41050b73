"""What of a study waits for what at a destination: the results that take each other's place, and nothing else."""

import pytest
from support.story import SECOND, flag, shipment

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Priority, Status
from triage_agent.worklist.chains import keep_order

K = ArtifactKind
HOURS = 72 * 3600 * SECOND
# The earlier of two results of a study, the later, and whether that one waits.
PAIRS = [
    (K.HL7_ORU, K.HL7_ORU, True),
    (K.SR, K.SR, True),
    (K.FHIR, K.FHIR, True),
    (K.UPS, K.UPS, True),
    (K.SR, K.REJECTION, True),
    (K.REJECTION, K.KOS, True),
    (K.REJECTION, K.REJECTION, True),
    (K.HL7_OMI, K.HL7_ORU, False),
    (K.HL7_ORU, K.HL7_ORM, False),
    (K.GSPS, K.SR, False),
    (K.SR, K.SR_TEXT, False),
    (K.UPS, K.SR, False),
    (K.REJECTION, K.UPS, False),
    (K.FHIR, K.HL7_ORU, False),
]


@pytest.mark.parametrize(("earlier", "later", "waits"), PAIRS)
def test_a_result_waits_for_an_earlier_one_that_it_takes_the_place_of_and_for_no_other(story, earlier, later, waits):
    story.decided(shipment("2.25.1", kind=earlier), shipment("2.25.2", kind=later))
    (first, *others) = story.deliveries()
    assert (first.artifact.uid, [one.artifact.uid for one in others]) == ("2.25.1", [] if waits else ["2.25.2"])
    assert keep_order(earlier, later) is waits


def test_what_is_not_taken_for_days_holds_up_its_own_kind_only(story):
    story.decided(
        shipment("2.25.1", "ris", K.HL7_OMI), shipment("2.25.2", "ris", K.HL7_ORU), shipment("2.25.3", "ris", K.HL7_OMI)
    )
    refused, sent = story.deliveries()
    story.worklist.delivery_failed(refused, "AE: no such order yet", story.now + HOURS, story.tick())
    story.worklist.delivery_sent(sent, story.tick())
    assert story.deliveries() == []
    assert [row.state for row in story.worklist.study("1.2.1").deliveries] == [
        DeliveryState.PENDING,
        DeliveryState.SENT,
        DeliveryState.PENDING,
    ]
    story.tick(HOURS)
    assert story.send() == ["2.25.1"]
    assert story.send() == ["2.25.3"]
    assert story.status() is Status.DELIVERED


def test_what_is_refused_for_good_holds_up_nothing(story):
    story.decided(shipment("2.25.1", kind=K.SR), shipment("2.25.2", kind=K.SR), shipment("2.25.3", kind=K.GSPS))
    taken = story.deliveries()
    for delivery in taken:
        story.worklist.delivery_failed(delivery, "refused", None, story.tick())
    assert [delivery.artifact.uid for delivery in taken] == ["2.25.1", "2.25.3"]
    assert story.send() == ["2.25.2"]


def test_another_study_and_another_destination_wait_for_nothing(story):
    story.decided(shipment("2.25.1", "a"), shipment("2.25.2", "b"), study="1.2.1")
    story.decided(shipment("2.25.3", "a"), study="1.2.2")
    assert [delivery.artifact.uid for delivery in story.deliveries()] == ["2.25.1", "2.25.2", "2.25.3"]


def test_what_waits_is_sent_by_the_priority_that_its_study_has_by_now(story):
    for number in (1, 2, 3):
        uid = f"1.2.{number}"
        story.decided(shipment(f"2.25.{number}"), study=uid, priority=Priority.ROUTINE)
    raised = flag(study="1.2.3", image="1.2.3.1", priority=Priority.STAT)
    assert story.worklist.raise_flag(raised, [], story.tick())
    assert [delivery.artifact.uid for delivery in story.deliveries()] == ["2.25.3", "2.25.1", "2.25.2"]


def test_what_a_lost_sender_held_takes_its_place_among_what_waits(story):
    story.decided(shipment("2.25.1"), study="1.2.1", priority=Priority.URGENT)
    held = story.deliveries()
    story.decided(shipment("2.25.2"), study="1.2.2", priority=Priority.ROUTINE)
    story.decided(shipment("2.25.3"), study="1.2.3", priority=Priority.STAT)
    story.tick(HOURS)
    taken = [delivery.artifact.uid for delivery in story.deliveries("s2")]
    assert (len(held), taken) == (1, ["2.25.3", "2.25.1", "2.25.2"])
