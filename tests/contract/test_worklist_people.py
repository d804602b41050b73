"""What people and metrics may rely on, whatever keeps the worklist."""

import pytest
from support.story import RULE, STUDY, failed, flag, received, scored, shipment

from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState, Event, Outcome, Priority, Status


def listed(story, **only):
    return [item.study_instance_uid for item in story.worklist.items(**only)]


def test_the_list_is_by_priority_then_probability_then_age(story):
    story.receive("1.2.1")
    story.receive("1.2.2")
    story.receive("1.2.3", requested_priority=Priority.STAT)
    story.decided(study="1.2.4", probability=0.6)
    story.decided(study="1.2.5", probability=0.9)
    story.decided(study="1.2.6", probability=0.9)
    story.decided(study="1.2.7", probability=0.1, priority=Priority.ROUTINE)
    assert listed(story) == ["1.2.3", "1.2.5", "1.2.6", "1.2.4", "1.2.7", "1.2.1", "1.2.2"]


def test_the_list_can_be_narrowed(story):
    story.decided(study="1.2.1")
    story.receive("1.2.2")
    story.receive("1.2.3", requested_priority=Priority.URGENT)
    assert listed(story, status=Status.RECEIVING) == ["1.2.3", "1.2.2"]
    assert listed(story, priority=Priority.URGENT) == ["1.2.1", "1.2.3"]
    assert listed(story, status=Status.RECEIVING, priority=Priority.URGENT) == ["1.2.3"]
    assert listed(story, limit=1) == ["1.2.1"]
    assert listed(story, status=Status.NEEDS_HUMAN) == []


def test_an_unknown_study_is_none(worklist):
    assert worklist.study("1.2.9") is None


def test_a_study_is_called_by_its_uid_or_its_accession_number(story):
    story.receive("1.2.3", accession_number="A2")
    story.receive("1.2.2", accession_number="A2")
    story.receive("1.2.1", accession_number="A1")
    story.receive("1.2.4")
    called = {name: list(story.worklist.studies_called(name)) for name in ("1.2.4", "A1", "A2", "A", "a1", "")}
    assert called == {"1.2.4": ["1.2.4"], "A1": ["1.2.1"], "A2": ["1.2.2", "1.2.3"], "A": [], "a1": [], "": []}


def test_a_uid_means_its_own_study_also_where_it_is_another_s_accession_number(story):
    story.receive("1.2.1")
    story.receive("1.2.2", accession_number="1.2.1")
    assert list(story.worklist.studies_called("1.2.1")) == ["1.2.1"]


def test_a_study_s_page_has_everything(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    detail = story.worklist.study(STUDY)
    assert detail.item == story.worklist.items()[0]
    assert [each.sop_instance_uid for each in detail.instances] == ["1.2.1.1"]
    assert [(each.uid, each.destination, each.summary) for each in detail.deliveries] == [
        ("2.25.1", "pacs", "sr 2.25.1"),
        ("2.25.2", "ris", "sr 2.25.2"),
    ]
    assert [event.at for event in detail.audit] == sorted(event.at for event in detail.audit)
    assert all(event.study_instance_uid == STUDY for event in detail.audit)


def test_a_retry_puts_dead_deliveries_back_with_all_their_attempts(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"), status_reason="one image was left out")
    story.lose("refused")
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 2
    assert [row.state for row in story.worklist.study(STUDY).deliveries] == [DeliveryState.PENDING] * 2
    assert (story.status(), story.item().status_reason) == (Status.DECIDED, "one image was left out")
    assert AuditAction.RETRY_REQUESTED in story.actions()
    assert [each.attempt for each in story.deliveries()] == [1, 1]


def test_a_failed_delivery_s_reason_stays_while_another_is_dead(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    story.lose("refused")
    story.worklist.retry_study(STUDY, "admin", story.tick())
    story.lose("still refused", destinations=["ris"])
    assert story.item().status_reason == "delivery of sr to ris failed: still refused"
    story.send(destinations=["pacs"])
    assert story.status() is Status.DECIDED


@pytest.mark.parametrize("event", [Event.FAILED, Event.EXCLUDED])
def test_a_retry_makes_a_study_ready_as_its_next_revision(story, event):
    story.decided(shipment("2.25.1"), event=event, status_reason="why")
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 1
    item = story.item()
    assert (item.status, item.revision, item.status_reason) == (Status.READY, 2, "put back to work by a person")
    claimed = story.claim()
    assert (claimed.revision, claimed.attempt) == (2, 1)
    assert story.decide(shipment("2.25.1", body=b"another object"))
    assert [row.revision for row in story.worklist.study(STUDY).deliveries] == [1, 2]


def test_a_retry_clears_what_was_not_scored(story):
    story.receive()
    story.receive()
    story.receive()
    story.complete()
    story.claim()
    assessments = [scored("1.2.1.1"), failed("1.2.1.2"), failed("1.2.1.3", Outcome.SKIPPED)]
    story.decide(event=Event.FAILED, status_reason="why", assessments=assessments)
    story.worklist.retry_study(STUDY, "admin", story.tick())
    assert [each.assessment for each in story.claim().instances] == [scored("1.2.1.1"), None, None]


def test_images_after_a_retry_have_the_whole_waiting_time(story):
    story.decided(event=Event.FAILED, status_reason="why")
    story.tick(RULE.max_wait)
    story.worklist.retry_study(STUDY, "admin", story.tick())
    retried_at = story.now
    story.receive()
    (view,) = story.worklist.due_for_completion(story.now + RULE.quiet)
    assert story.worklist.due_for_completion(story.now) == []
    assert (view.revision, view.first_received_at) == (2, retried_at)


def test_a_retry_of_what_did_not_fail_does_nothing(story):
    story.decided(shipment())
    before = story.worklist.study(STUDY)
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    assert story.worklist.retry_study("1.2.9", "admin", story.tick()) == 0
    assert story.worklist.study(STUDY) == before


def test_everything_that_failed_is_retried_and_nothing_else(story):
    story.decided(shipment("2.25.1"), study="1.2.1")
    story.lose()
    story.decided(study="1.2.2", event=Event.FAILED, status_reason="why")
    story.decided(study="1.2.3", event=Event.EXCLUDED, status_reason="a chest")
    story.decided(shipment("2.25.4"), study="1.2.4")
    assert story.worklist.retry_failed("admin", story.tick()) == 2
    statuses = [story.status(f"1.2.{number}") for number in (1, 2, 3, 4)]
    assert statuses == [Status.DECIDED, Status.READY, Status.OUT_OF_SCOPE, Status.DECIDED]


def test_counts_name_every_word_also_with_none(worklist):
    counts = worklist.counts()
    assert counts == {
        "status": {word.value: 0 for word in Status},
        "priority": {word.value: 0 for word in Priority},
        "outbox": {word.value: 0 for word in DeliveryState},
    }


def test_counts_count(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2", "ris"), study="1.2.1")
    story.receive("1.2.2")
    story.receive("1.2.3", requested_priority=Priority.STAT)
    story.lose(destinations=["ris"])
    counts = story.worklist.counts()
    assert {word: number for word, number in counts["status"].items() if number} == {"decided": 1, "receiving": 2}
    assert counts["priority"] == {"routine": 1, "urgent": 1, "stat": 1}
    assert counts["outbox"] == {"pending": 1, "sending": 0, "sent": 0, "committed": 0, "dead": 1}


def test_a_study_can_go_all_the_way_twice(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1")], story.tick())
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    assert [story.send(), story.send()] == [["2.25.1"], ["2.25.2"]]
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.3"), priority=Priority.ROUTINE, probability=0.2)
    assert story.item().delivered_at is None
    story.send()
    item = story.item()
    assert (item.status, item.revision, item.priority) == (Status.DELIVERED, 2, Priority.URGENT)


def test_ping_is_silent_while_all_is_well(worklist):
    worklist.register(received(), RULE)
    worklist.ping()


def oru(uid):
    return shipment(uid, to="ris", kind=ArtifactKind.HL7_ORU)


def next_revision(story, *shipments):
    story.receive()
    story.complete()
    story.claim()
    assert story.decide(*shipments)


def deliveries(story):
    return [(row.uid, row.state) for row in story.worklist.study(STUDY).deliveries]


@pytest.mark.parametrize("sent", [True, False])
def test_a_retry_does_not_send_a_result_after_the_one_that_took_its_place(story, sent):
    """Revision 1 said "normal" and died, revision 2 says "abnormal": the receiver must not end with "normal"."""
    story.decided(oru("2.25.1"))
    story.lose("the RIS was away")
    next_revision(story, oru("2.25.2"))
    if sent:
        assert story.send() == ["2.25.2"]
    assert story.worklist.retry_failed("admin", story.tick()) == 0
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    old = story.worklist.study(STUDY).deliveries[0]
    assert (old.state, old.last_error) == (
        DeliveryState.DEAD,
        "superseded by a later result; before that: the RIS was away",
    )
    assert story.send() == ([] if sent else ["2.25.2"])
    assert (story.status(), story.item().status_reason) == (Status.DELIVERED, None)


def test_a_dead_flag_is_not_sent_after_its_decision_and_does_not_keep_the_study_from_being_delivered(story):
    story.receive()
    story.worklist.raise_flag(flag(), [oru("2.25.1")], story.tick())
    story.lose("refused")
    story.complete()
    story.claim()
    story.decide(oru("2.25.2"))
    assert story.item().status_reason is None
    assert story.send() == ["2.25.2"]
    assert story.status() is Status.DELIVERED
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    assert story.deliveries() == []


def test_what_took_the_place_of_another_and_died_too_goes_out_after_it(story):
    story.decided(oru("2.25.1"))
    story.lose("refused")
    next_revision(story, oru("2.25.2"))
    story.lose("refused again")
    assert story.item().status_reason == "delivery of hl7-oru to ris failed: refused again"
    assert [row.last_error for row in story.worklist.study(STUDY).deliveries] == ["refused", "refused again"]
    assert story.worklist.retry_failed("admin", story.tick()) == 2
    assert [story.send(), story.send()] == [["2.25.1"], ["2.25.2"]]
    assert deliveries(story) == [("2.25.1", DeliveryState.SENT), ("2.25.2", DeliveryState.SENT)]


def test_a_retry_sends_an_older_result_where_the_later_one_does_not_go(story):
    story.decided(oru("2.25.1"))
    story.lose("refused")
    next_revision(story, shipment("2.25.2", to="ris"), shipment("2.25.3", to="pacs", kind=ArtifactKind.HL7_ORU))
    story.send()
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 1
    assert deliveries(story)[0] == ("2.25.1", DeliveryState.PENDING)
