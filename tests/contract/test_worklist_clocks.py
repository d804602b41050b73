"""Clocks that are set, by an hour and back: nothing is done twice, and nothing waits for the hour."""

from datetime import timedelta

import pytest
from support.story import DX, LEASE, RULE, SECOND, STUDY, T0, received, scored, shipment

from triage_agent.domain.commitment import CommitmentRequest, Reference
from triage_agent.domain.vocabulary import Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.intake.assembly import Complete, assess

HOUR = timedelta(hours=1)
LONGEST = timedelta(minutes=5)
WAITS = LongestWaits(lease=LEASE, sending=LONGEST, replying=LONGEST, asking=LONGEST, fetching=LONGEST)


@pytest.fixture
def set_back(story):
    """The clock goes back by an hour; ticks then come as they do."""

    def to_the_past():
        story.now -= HOUR
        return story.worklist.bring_deadlines_near(story.tick(), WAITS)

    return to_the_past


def keep_request(story, transaction_uid="2.25.9"):
    request = CommitmentRequest(peer="pacs", transaction_uid=transaction_uid, references=(Reference(DX, f"{STUDY}.1"),))
    assert story.worklist.keep_commitment_request(request, story.now, story.now + SECOND)


def take_request(story):
    return story.worklist.claim_commitment_request(story.tick(), story.now + LONGEST)


def sent_to_be_kept(story):
    (taken,) = story.deliveries()
    story.worklist.delivery_sent(taken, story.tick(), commit=True)


def ask(story):
    """What the destination is asked about now."""
    found = story.worklist.claim_commitments("pacs", "2.25.7", story.tick(), story.now + LONGEST, 10, 3)
    return [artifact.uid for artifact in found]


def want(story):
    assert story.worklist.want_retrieval("1.2.8", "pacs", story.now, requested_by="admin")


def fetch(story):
    return story.worklist.claim_retrieval("w1", story.tick(), LEASE)


# --- back -----------------------------------------------------------------------------------------------------------
def test_a_study_that_a_dead_worker_held_moves_on_after_one_lease_though_the_clock_was_set_back(story, set_back):
    story.claimed(owner="dead")
    assert set_back() == 1
    assert story.worklist.expire_leases(story.tick()) == 0
    assert story.worklist.expire_leases(story.tick(LEASE)) == 1
    assert story.claim(owner="w2").study_instance_uid == STUDY


def test_a_study_that_a_living_worker_holds_stays_with_it_when_the_clock_is_set_back(story, set_back):
    story.claimed(owner="w1")
    assert set_back() == 1
    assert story.worklist.renew_leases("w1", story.tick(LEASE / 2), LEASE) == 1
    assert story.worklist.expire_leases(story.tick(LEASE / 2)) == 0
    assert story.decide(owner="w1")


def test_an_image_that_a_dead_worker_held_moves_on_after_one_lease_though_the_clock_was_set_back(story, set_back):
    story.receive()
    assert len(story.worklist.claim_images("dead", story.tick(), LEASE, 1)) == 1
    assert set_back() == 1
    assert story.worklist.claim_images("w2", story.tick(), LEASE, 1) == []
    assert len(story.worklist.claim_images("w2", story.tick(LEASE), LEASE, 1)) == 1


def test_a_delivery_that_a_dead_sender_held_moves_on_after_one_lease_though_the_clock_was_set_back(story, set_back):
    story.decided(shipment())
    assert len(story.deliveries(owner="dead")) == 1
    assert set_back() == 1
    assert story.deliveries() == []
    story.tick(LEASE)
    assert story.send() == ["2.25.1"]


def test_a_delivery_that_was_queued_before_the_clock_was_set_back_is_due_at_once(story, set_back):
    story.decided(shipment())
    assert set_back() == 1
    assert story.send() == ["2.25.1"]


def test_a_delivery_that_was_to_be_tried_again_is_not_kept_waiting_for_the_hour(story, set_back):
    story.decided(shipment())
    (taken,) = story.deliveries()
    story.worklist.delivery_failed(taken, "refused", story.now + timedelta(seconds=90), story.now)
    assert set_back() == 1
    assert story.send() == ["2.25.1"]


def test_a_request_for_commitment_that_came_before_the_clock_was_set_back_is_answered_at_once(story, set_back):
    keep_request(story)
    assert set_back() == 1
    assert take_request(story).attempt == 1


def test_a_request_that_a_dead_process_answered_is_taken_up_though_the_clock_was_set_back(story, set_back):
    keep_request(story)
    take_request(story)
    assert set_back() == 1
    assert take_request(story) is None
    story.tick(LONGEST)
    assert take_request(story).attempt == 2


def test_what_was_sent_before_the_clock_was_set_back_is_asked_about_at_once(story, set_back):
    story.decided(shipment())
    sent_to_be_kept(story)
    assert set_back() == 1
    assert ask(story) == ["2.25.1"]


def test_a_destination_that_was_asked_has_as_long_as_ever_to_answer_when_the_clock_is_set_back(story, set_back):
    story.decided(shipment())
    sent_to_be_kept(story)
    ask(story)
    assert set_back() == 1
    assert ask(story) == []
    story.tick(LONGEST)
    assert ask(story) == ["2.25.1"]


def test_a_study_that_was_wanted_before_the_clock_was_set_back_is_fetched_at_once(story, set_back):
    want(story)
    assert set_back() == 1
    assert fetch(story).attempt == 1


def test_a_study_that_a_dead_process_fetched_moves_on_after_one_lease_though_the_clock_was_set_back(story, set_back):
    want(story)
    fetch(story)
    assert set_back() == 2  # when it is free, and when it is due
    assert fetch(story) is None
    story.tick(LEASE)
    assert fetch(story).attempt == 2


def test_a_study_that_is_to_be_fetched_again_does_not_wait_for_the_hour(story, set_back):
    want(story)
    story.worklist.retrieval_ended(fetch(story), story.now, error="away", retry_at=story.now + LONGEST)
    assert set_back() == 1
    assert fetch(story) is None
    story.tick(LONGEST)
    assert fetch(story).attempt == 2


def test_a_study_that_was_quiet_when_the_clock_was_set_back_is_looked_at_and_completed(story):
    story.receive()
    story.now -= HOUR
    (view,) = story.worklist.due_for_completion(story.tick())
    step = assess(view, RULE, story.now)
    assert isinstance(step, Complete)
    assert story.worklist.complete(view, step.reason, story.now)
    assert story.status() is Status.READY


def test_an_image_that_comes_after_the_clock_was_set_back_does_not_make_its_study_wait_for_the_hour(story):
    story.receive()
    story.now -= HOUR
    story.receive()
    (view,) = story.worklist.due_for_completion(story.tick())
    assert isinstance(assess(view, RULE, story.now), Complete)


# --- as they should be ------------------------------------------------------------------------------------------------
def test_deadlines_as_they_are_set_are_left_alone(story):
    story.decided(shipment())
    (taken,) = story.deliveries()
    story.worklist.delivery_failed(taken, "refused", story.now + LONGEST, story.now)
    story.receive("1.2.2")
    story.complete("1.2.2")
    story.claim()
    story.receive("1.2.3")
    story.worklist.claim_images("w1", story.now, LEASE, 1)
    keep_request(story)
    story.worklist.commitment_unanswered(take_request(story), "away", story.now + LONGEST, story.now)
    keep_request(story, "2.25.8")
    want(story)
    assert story.worklist.bring_deadlines_near(story.now, WAITS) == 0


def test_what_was_asked_and_told_and_fetched_lately_is_left_alone(story):
    story.decided(shipment())
    sent_to_be_kept(story)
    assert ask(story) == ["2.25.1"]
    story.worklist.commitments_asked("2.25.7", story.now + LONGEST)
    want(story)
    story.worklist.retrieval_ended(fetch(story), story.now, error="away", retry_at=story.now + LONGEST)
    assert story.worklist.bring_deadlines_near(story.now, WAITS) == 0


# --- forth ------------------------------------------------------------------------------------------------------------
def test_who_loses_a_study_to_a_clock_that_leaps_decides_nothing_any_more(story):
    story.claimed(owner="w1")
    story.now += HOUR
    assert story.worklist.expire_leases(story.now) == 1
    assert story.claim(owner="w2").attempt == 2
    assert not story.decide(shipment("2.25.1"), owner="w1")
    assert story.decide(shipment("2.25.2"), owner="w2", assessments=[scored(f"{STUDY}.1")])
    assert story.send() == ["2.25.2"]


def test_a_living_worker_that_renews_first_loses_nothing_to_a_clock_that_leaps(story):
    """As the schedule does: its own leases first, then those of others."""
    story.claimed(owner="w1")
    story.now += HOUR
    assert story.worklist.renew_leases("w1", story.now, LEASE) == 1
    assert story.worklist.expire_leases(story.now) == 0
    assert story.decide(owner="w1")


def test_what_was_done_in_the_future_does_not_stand_in_the_way_when_the_clock_comes_back(story, set_back):
    """An hour forth, a whole study, and an hour back."""
    story.now += HOUR
    story.decided(shipment("2.25.1"))
    set_back()
    assert story.send() == ["2.25.1"]
    assert story.status() is Status.DELIVERED
    assert story.worklist.register(received(image=f"{STUDY}.9", at=T0 + 9 * SECOND), RULE)
    assert story.item().revision == 2
