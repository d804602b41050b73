"""What senders may rely on, whatever keeps the worklist."""

import pytest
from support.story import LEASE, SECOND, STUDY, flag, shipment

from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Priority, Status


def record(story, number=0, study=STUDY):
    return story.worklist.study(study).deliveries[number]


def test_a_shipment_is_handed_out_byte_for_byte(story):
    body = bytes(range(256))
    story.decided(shipment("2.25.7", body=body))
    (delivery,) = story.deliveries()
    assert (delivery.study_instance_uid, delivery.revision, delivery.destination) == (STUDY, 1, "pacs")
    assert delivery.artifact == shipment("2.25.7", body=body).artifact
    assert delivery.attempt == 1


def test_what_a_study_that_needs_a_human_tells_is_sent_and_the_study_stays_as_it_is(story):
    story.decided(shipment(), event=Event.FAILED, status_reason="why")
    assert story.send() == ["2.25.1"]
    assert (story.status(), story.item().status_reason) == (Status.NEEDS_HUMAN, "why")


def test_the_attempt_is_counted_before_it_is_made(story):
    story.decided(shipment())
    story.deliveries()
    assert (record(story).state, record(story).attempts) == (DeliveryState.SENDING, 1)


def test_a_study_is_delivered_with_its_last_open_row(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    assert story.send(destinations=["pacs"]) == ["2.25.1"]
    assert story.status() is Status.DECIDED
    assert story.send(destinations=["ris"]) == ["2.25.2"]
    assert (story.status(), story.item().delivered_at) == (Status.DELIVERED, story.now)
    assert AuditAction.DELIVERY_SENT in story.actions()
    assert (record(story).state, record(story).next_attempt_at) == (DeliveryState.SENT, None)


def test_a_decision_without_shipments_stays_decided(story):
    story.decided()
    assert story.status() is Status.DECIDED


def test_a_sent_flag_does_not_make_a_decision_without_shipments_delivered(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment()], story.tick())
    assert story.send() == ["2.25.1"]
    story.complete()
    story.claim()
    story.decide()
    assert story.status() is Status.DECIDED


def test_a_flag_that_is_still_open_keeps_the_study_from_being_delivered(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1", "ris")], story.tick())
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2", "pacs"))
    assert story.send(destinations=["pacs"]) == ["2.25.2"]
    assert story.status() is Status.DECIDED
    story.send()
    assert story.status() is Status.DELIVERED


def test_the_flag_goes_out_before_the_study_is_complete(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment()], story.tick())
    assert story.send() == ["2.25.1"]
    assert story.status() is Status.RECEIVING


@pytest.mark.parametrize("event", [Event.EXCLUDED, Event.FAILED])
def test_what_is_sent_of_a_study_that_was_not_assessed_leaves_its_status(story, event):
    story.claimed()
    story.decide(shipment(), event=event, status_reason="why")
    before = story.status()
    assert story.send() == ["2.25.1"]
    assert (story.status(), story.item().status_reason) == (before, "why")


def test_the_same_artifact_for_the_same_destination_is_sent_once(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1")], story.tick())
    story.worklist.raise_flag(flag(priority=Priority.STAT), [shipment("2.25.1", body=b"other")], story.tick())
    story.complete()
    story.claim()
    story.decide(shipment("2.25.1"), shipment("2.25.1", "ris"))
    taken = story.deliveries()
    assert [(each.artifact.uid, each.destination, each.artifact.body) for each in taken] == [
        ("2.25.1", "pacs", b"bytes"),
        ("2.25.1", "ris", b"bytes"),
    ]
    for delivery in taken:
        story.worklist.delivery_sent(delivery, story.tick())
    assert story.status() is Status.DELIVERED


def test_urgent_studies_are_sent_first_then_the_oldest(story):
    story.decided(shipment("2.25.1"), study="1.2.1", priority=Priority.ROUTINE)
    story.decided(shipment("2.25.2"), study="1.2.2", priority=Priority.STAT)
    story.decided(shipment("2.25.3"), study="1.2.3", priority=Priority.STAT)
    assert story.send(limit=2) == ["2.25.2", "2.25.3"]
    assert story.send() == ["2.25.1"]


def test_only_the_wanted_destinations_are_served(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    assert story.deliveries(destinations=[]) == []
    assert [each.destination for each in story.deliveries(destinations=["ris", "other"])] == ["ris"]


def test_a_row_waits_for_earlier_rows_of_its_study_and_destination(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2"), shipment("2.25.3", "ris"))
    first, elsewhere = story.deliveries()
    assert [first.artifact.uid, elsewhere.artifact.uid] == ["2.25.1", "2.25.3"]
    assert story.deliveries() == []
    story.worklist.delivery_failed(first, "busy", story.now + LEASE, story.tick())
    assert story.deliveries() == []
    story.tick(LEASE)
    assert story.send(destinations=["pacs"]) == ["2.25.1"]
    assert story.send(destinations=["pacs"]) == ["2.25.2"]


def test_rows_of_an_older_revision_go_first(story):
    story.decided(shipment("2.25.1"))
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    assert story.send() == ["2.25.1"]
    assert story.status() is Status.DECIDED
    assert story.send() == ["2.25.2"]
    assert story.status() is Status.DELIVERED


def test_a_dead_row_holds_up_nothing(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2"))
    assert story.lose() == ["2.25.1"]
    assert story.send() == ["2.25.2"]


def test_a_failure_is_kept_and_tried_again_when_its_time_comes(story):
    story.decided(shipment())
    (delivery,) = story.deliveries()
    retry_at = story.now + LEASE
    story.worklist.delivery_failed(delivery, "connection refused", retry_at, story.tick())
    row = record(story)
    assert (row.state, row.last_error, row.next_attempt_at) == (DeliveryState.PENDING, "connection refused", retry_at)
    assert story.actions()[-1] is AuditAction.DELIVERY_FAILED
    assert story.deliveries() == []
    story.tick(LEASE)
    (again,) = story.deliveries()
    assert (again.delivery_id, again.attempt) == (delivery.delivery_id, 2)


def test_the_first_failure_and_the_death_of_a_row_are_audited_and_not_each_attempt(story):
    """A peer that is down for three days is tried thousands of times."""
    story.decided(shipment())
    for attempt in range(1, 5):
        (delivery,) = story.deliveries()
        story.worklist.delivery_failed(delivery, f"no {attempt}", story.now, story.tick())
    assert (record(story).attempts, record(story).last_error) == (4, "no 4")
    assert story.actions().count(AuditAction.DELIVERY_FAILED) == 1
    story.lose()
    assert story.actions()[-1] is AuditAction.DELIVERY_DEAD
    story.worklist.retry_study(STUDY, "admin", story.tick())
    (delivery,) = story.deliveries()
    story.worklist.delivery_failed(delivery, "no again", story.now, story.tick())
    assert story.actions().count(AuditAction.DELIVERY_FAILED) == 2


def test_a_row_s_first_failure_is_audited_also_when_an_earlier_attempt_vanished(story):
    story.decided(shipment())
    story.deliveries()
    story.tick(LEASE)
    (delivery,) = story.deliveries()
    story.worklist.delivery_failed(delivery, "no", story.now, story.tick())
    assert delivery.attempt == 2
    assert story.actions()[-1] is AuditAction.DELIVERY_FAILED


def test_what_waits_for_another_attempt_is_due_when_its_destination_is_back(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    for delivery in story.deliveries():
        story.worklist.delivery_failed(delivery, "refused", story.now + 1000 * SECOND, story.tick())
    assert story.deliveries() == []
    assert story.worklist.make_due("pacs", story.now) == 1
    assert story.worklist.make_due("pacs", story.now) == 0
    assert story.send() == ["2.25.1"]
    assert record(story, 0).attempts == 2
    assert story.deliveries() == []


def test_a_delivery_that_is_given_up_says_so_on_the_list(story):
    story.decided(shipment(), status_reason="one image was left out")
    story.lose("AE not recognized")
    assert (story.status(), story.item().status_reason) == (
        Status.DECIDED,
        "delivery of sr to pacs failed: AE not recognized",
    )
    assert record(story).state is DeliveryState.DEAD
    assert AuditAction.DELIVERY_DEAD in story.actions()
    assert story.deliveries() == []


def test_a_flag_that_was_given_up_shows_once_the_study_is_decided(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment(kind=ArtifactKind.HL7_ORU, to="ris")], story.tick())
    story.lose("no listener")
    assert story.item().status_reason is None
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    story.send()
    assert (story.status(), story.item().status_reason) == (
        Status.DECIDED,
        "delivery of hl7-oru to ris failed: no listener",
    )


def test_a_dead_row_of_an_older_revision_does_not_hinder_the_new_one(story):
    story.decided(shipment("2.25.1"))
    story.lose()
    story.receive()
    assert story.item().status_reason is None
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    story.send()
    assert (story.status(), story.item().status_reason) == (Status.DELIVERED, None)


def test_a_sender_that_vanishes_is_followed_by_another(story):
    story.decided(shipment())
    assert len(story.deliveries("s1")) == 1
    assert story.deliveries("s2") == []
    story.tick(LEASE)
    (again,) = story.deliveries("s2")
    assert again.attempt == 2


def test_sent_is_a_fact_even_when_another_took_the_row(story):
    story.decided(shipment())
    (first,) = story.deliveries("s1")
    story.tick(LEASE)
    (second,) = story.deliveries("s2")
    story.worklist.delivery_sent(first, story.tick())
    assert story.status() is Status.DELIVERED
    delivered_at = story.item().delivered_at
    story.worklist.delivery_failed(second, "duplicate", None, story.tick())
    story.worklist.delivery_sent(second, story.tick())
    assert (story.status(), story.item().delivered_at) == (Status.DELIVERED, delivered_at)
    assert story.actions().count(AuditAction.DELIVERY_SENT) == 1


def test_the_failure_of_an_attempt_that_another_followed_is_ignored(story):
    story.decided(shipment())
    (first,) = story.deliveries("s1")
    story.tick(LEASE)
    story.deliveries("s2")
    story.worklist.delivery_failed(first, "late", None, story.tick())
    assert (record(story).state, record(story).last_error) == (DeliveryState.SENDING, None)


def test_a_late_image_leaves_open_deliveries_open(story):
    story.decided(shipment())
    (delivery,) = story.deliveries()
    story.receive()
    story.worklist.delivery_sent(delivery, story.now + SECOND)
    assert (story.status(), record(story).state) == (Status.RECEIVING, DeliveryState.SENT)


def test_the_last_report_is_the_newest_of_the_kind_that_an_earlier_revision_sent(story):
    def last(before_revision, kind=ArtifactKind.SR, study=STUDY):
        artifact = story.worklist.last_artifact(study, kind, before_revision)
        return None if artifact is None else (artifact.uid, artifact.body)

    story.decided(shipment("2.25.1", "pacs", body=b"first"), shipment("2.25.1", "archive", body=b"first"))
    for revision in (2, 3):
        story.receive()
        story.complete()
        story.claim()
        message = shipment(f"2.25.9{revision}", "ris", ArtifactKind.HL7_ORU)
        report = [shipment(f"2.25.{revision}", body=b"second")] if revision == 2 else []  # none could be built of 3
        story.decide(message, *report)
    story.decided(shipment("2.25.8"), study="1.2.2")
    assert [last(revision) for revision in (1, 2, 3, 4)] == [
        None,
        ("2.25.1", b"first"),
        ("2.25.2", b"second"),
        ("2.25.2", b"second"),
    ]
    assert last(3, ArtifactKind.HL7_ORU) == ("2.25.92", b"bytes")
    assert last(2, ArtifactKind.HL7_ORU) is None
    assert last(9, study="1.2.3") is None


def test_a_destination_s_trouble_is_the_latest_error_of_what_still_waits_for_it(story):
    for number in (1, 2, 3):
        story.decided(shipment(f"2.25.{number}", "ris"), shipment(f"2.25.9{number}", "pacs"), study=f"1.2.{number}")
    assert story.worklist.trouble_at("ris") is None
    first, second, third = story.deliveries(destinations=["ris"])
    story.worklist.delivery_failed(first, "no connection", story.now + LEASE, story.tick())
    story.worklist.delivery_failed(second, "timed out", story.now + LEASE, story.tick())
    story.worklist.delivery_failed(third, "refused", None, story.tick())
    assert (story.worklist.trouble_at("ris"), story.worklist.trouble_at("pacs")) == ("timed out", None)
    story.tick(LEASE)
    (one,) = story.deliveries(destinations=["ris"], limit=1)
    assert story.worklist.trouble_at("ris") == "timed out"
    story.worklist.delivery_sent(one, story.tick())
    story.send(destinations=["ris"])
    assert story.worklist.trouble_at("ris") is None


# --- destinations that no route names any more ------------------------------------------------------------------------
def test_what_waits_for_a_destination_without_a_route_is_dead_and_says_why(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "old-ris"))
    assert story.worklist.bury_unrouted({"pacs", "ris"}, story.tick()) == 1
    kept, buried = story.worklist.study(STUDY).deliveries
    assert (kept.state, kept.last_error) == (DeliveryState.PENDING, None)
    assert (buried.state, buried.next_attempt_at) == (DeliveryState.DEAD, None)
    assert "no route to old-ris any more" in buried.last_error
    assert "no route to old-ris any more" in story.item().status_reason
    assert story.actions()[-1] is AuditAction.DELIVERY_DEAD
    story.send()
    assert story.status() is Status.DECIDED
    assert story.worklist.bury_unrouted({"pacs", "ris"}, story.tick()) == 0


def test_a_retry_applies_once_the_route_is_back(story):
    story.decided(shipment("2.25.1", "ris"))
    story.worklist.bury_unrouted(set(), story.tick())
    assert story.worklist.retry_failed("admin", story.tick()) == 1
    assert story.worklist.bury_unrouted({"ris"}, story.tick()) == 0
    assert story.send(destinations=["ris"]) == ["2.25.1"]
    assert story.status() is Status.DELIVERED


def test_what_a_killed_process_was_sending_to_it_is_dead_too_and_sent_is_still_a_fact(story):
    story.decided(shipment("2.25.1", "ris"))
    (delivery,) = story.deliveries()
    assert story.worklist.bury_unrouted({"pacs"}, story.tick()) == 1
    assert record(story).state is DeliveryState.DEAD
    story.worklist.delivery_sent(delivery, story.tick())
    assert (record(story).state, story.status()) == (DeliveryState.SENT, Status.DELIVERED)


def test_every_study_that_waits_for_it_is_told(story):
    for number in (1, 2, 3):
        story.decided(shipment(f"2.25.{number}", "ris"), study=f"1.2.{number}")
    story.send(destinations=["ris"], limit=1)
    assert story.worklist.bury_unrouted(["pacs"], story.tick()) == 2
    assert [story.status(f"1.2.{number}") for number in (1, 2, 3)] == [Status.DELIVERED, Status.DECIDED, Status.DECIDED]
