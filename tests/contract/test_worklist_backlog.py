"""What waits and since when, the same on every worklist: the signal that nobody is at work."""

from datetime import timedelta

from support.story import LEASE, SECOND, STUDY, T0, shipment

from triage_agent.domain.backlog import Pending, Waiting
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import Priority


def test_nothing_waits_where_nothing_is(worklist):
    backlog = worklist.backlog(T0)
    assert (backlog.waiting, backlog.since, backlog.held, backlog.pending, backlog.retrievals) == (0, None, 0, {}, 0)
    assert backlog.waits_for(T0) == timedelta(0)


def test_a_study_that_is_ready_waits_since_its_last_image(story):
    story.receive("1.2.1")
    first = story.worklist.study("1.2.1").item.received_at
    story.complete("1.2.1")
    story.receive("1.2.2")
    story.complete("1.2.2")
    backlog = story.worklist.backlog(story.tick())
    assert (backlog.waiting, backlog.since, backlog.held) == (2, first, 0)
    assert backlog.waits_for(first + 90 * SECOND) == 90 * SECOND
    assert backlog.waits_for(first - SECOND) == timedelta(0), "a clock that was set back"


def test_a_study_whose_look_at_completeness_is_overdue_waits_since_then(story):
    story.receive()
    at = story.worklist.study(STUDY).item.received_at
    assert story.worklist.backlog(at + 10 * SECOND).waiting == 0, "its images may still be coming"
    backlog = story.worklist.backlog(at + 400 * SECOND)
    assert (backlog.waiting, backlog.since) == (1, at + 30 * SECOND)


def test_a_study_that_a_worker_has_is_held_until_its_lease_ends(story):
    story.receive()
    story.complete()
    story.claim()
    now = story.tick()
    assert (story.worklist.backlog(now).waiting, story.worklist.backlog(now).held) == (0, 1)
    assert story.worklist.backlog(now + LEASE).held == 0


def test_what_waits_to_be_sent_is_told_by_destination_with_the_age_of_the_oldest(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2", "ris"), study="1.2.1")
    first = story.worklist.study("1.2.1").item.decided_at
    story.decided(shipment("2.25.3"), study="1.2.2")
    assert story.worklist.backlog(story.tick()).pending == {
        "pacs": Pending(number=2, since=first),
        "ris": Pending(number=1, since=first),
    }
    (delivery,) = story.worklist.claim_deliveries("s", story.tick(), LEASE, 1, ["ris"])
    assert story.worklist.backlog(story.tick()).pending["ris"].number == 1, "what is being sent is not sent"
    story.worklist.delivery_sent(delivery, story.tick())
    assert story.worklist.backlog(story.tick()).pending.keys() == {"pacs"}


def test_a_delivery_that_was_tried_again_is_as_old_as_it_was(story):
    story.decided(shipment("2.25.1"))
    made = story.worklist.study(STUDY).item.decided_at
    (delivery,) = story.worklist.claim_deliveries("s", story.tick(), LEASE, 1)
    now = story.tick()
    story.worklist.delivery_failed(delivery, "away", now + 60 * SECOND, now)
    assert story.worklist.backlog(story.tick()).pending == {"pacs": Pending(number=1, since=made)}


def test_what_is_to_be_fetched_is_counted_until_it_has_ended(story):
    worklist = story.worklist
    for study in ("1.2.1", "1.2.2"):
        worklist.want_retrieval(study, "pacs", story.tick(), requested_by="admin")
    assert worklist.backlog(story.tick()).retrievals == 2
    retrieval = worklist.claim_retrieval("w", story.tick(), LEASE)
    worklist.retrieval_ended(retrieval, story.tick(), error=None, retry_at=None)
    assert worklist.retrieval_of(retrieval.study_instance_uid).state is not RetrievalState.WAITING
    assert worklist.backlog(story.tick()).retrievals == 1


def test_what_waits_is_told_by_priority_with_the_longest_of_each(story):
    story.receive("1.2.1")
    story.complete("1.2.1")
    story.receive("1.2.2", requested_priority=Priority.STAT)
    stat = story.worklist.study("1.2.2").item.received_at
    story.complete("1.2.2")
    story.receive("1.2.3")
    overdue = story.worklist.study("1.2.3").item.received_at + 30 * SECOND
    backlog = story.worklist.backlog(overdue + SECOND)
    first = story.worklist.study("1.2.1").item.received_at
    assert backlog.by_priority == {
        Priority.ROUTINE: Waiting(number=2, since=first),
        Priority.STAT: Waiting(number=1, since=stat),
    }
    assert (backlog.waiting, backlog.since) == (3, first)
    assert story.worklist.backlog(overdue - SECOND).by_priority[Priority.ROUTINE].number == 1


def test_what_is_not_tried_any_more_is_told_by_destination(story):
    story.decided(shipment("2.25.1"), shipment("2.25.2", "ris"), study="1.2.1")
    story.decided(shipment("2.25.3", "ris"), study="1.2.2")
    assert story.worklist.backlog(story.tick()).dead == {}
    story.lose(destinations=["ris"])
    assert story.worklist.backlog(story.tick()).dead == {"ris": 2}


def test_a_delivery_says_since_when_it_waits(story):
    story.decided(shipment("2.25.1"))
    made = story.worklist.study(STUDY).item.decided_at
    (delivery,) = story.deliveries()
    assert delivery.queued_at == made
