"""What is kept of storage commitment (PS3.4 annex J), both ways, whatever keeps the worklist."""

from datetime import timedelta

from support.story import DX, LEASE, RULE, SECOND, STUDY, T0, received, shipment

from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest, KeptInstance, Reference, Reported
from triage_agent.domain.vocabulary import AuditAction, DeliveryState, Status

SR = "1.2.840.10008.5.1.4.1.1.88.34"
HOUR = timedelta(hours=1)
NO_SUCH_OBJECT = 0x0112


# --- asked of us ------------------------------------------------------------------------------------------------------
def request(transaction_uid="2.25.9", peer="pacs", images=("1.2.1.1",)):
    return CommitmentRequest(
        peer=peer, transaction_uid=transaction_uid, references=tuple(Reference(DX, image) for image in images)
    )


def keep(story, **details):
    now = story.tick()
    return story.worklist.keep_commitment_request(request(**details), now, now + SECOND)


def take(story, away=()):
    return story.worklist.claim_commitment_request(story.tick(), story.now + LEASE, away)


def test_a_request_is_handed_out_as_it_came_once_its_time_has_come(story):
    asked = request(images=("1.2.1.1", "1.2.1.2"))
    assert story.worklist.keep_commitment_request(asked, story.tick(), story.now + 2 * SECOND)
    assert take(story) is None
    claimed = take(story)
    assert (claimed.request, claimed.attempt) == (asked, 1)


def test_a_request_that_somebody_answers_is_nobody_else_s_until_its_time_is_over(story):
    keep(story)
    assert take(story) is not None
    assert take(story) is None
    story.tick(LEASE)
    assert take(story).attempt == 2


def test_who_goes_on_looking_at_files_goes_on_holding_the_request(story):
    keep(story)
    claimed = take(story)
    story.worklist.hold_commitment_request(claimed, story.now + HOUR)
    story.tick(LEASE)
    assert take(story) is None


def test_a_new_request_takes_the_place_of_the_oldest_that_has_ended_long_ago_and_of_no_other(story):
    for number in range(4):
        assert keep(story, transaction_uid=f"2.25.{number}")
    first, second = take(story), take(story)
    story.worklist.commitment_unanswered(first, "away", None, story.tick())
    story.worklist.commitment_answered(second, 0, story.tick())
    story.tick(HOUR)
    forget = story.now
    assert keep(story, transaction_uid="2.25.4")  # nothing was to be forgotten
    for number in range(5, 8):
        now = story.tick()
        asked = request(transaction_uid=f"2.25.{number}")
        assert story.worklist.keep_commitment_request(asked, now, now + SECOND, forget)
    story.tick(HOUR)
    open_ones = []
    while (claimed := take(story)) is not None:
        open_ones.append(claimed)
    assert [one.request.transaction_uid for one in open_ones] == [f"2.25.{number}" for number in range(2, 8)]
    assert {one.request_id for one in open_ones} >= {first.request_id, second.request_id}
    assert len({one.request_id for one in open_ones}) == 6
    assert keep(story, transaction_uid="2.25.0")  # forgotten: as a new one
    assert not keep(story, transaction_uid="2.25.7")


def test_an_answered_request_is_not_handed_out_any_more(story):
    keep(story)
    story.worklist.commitment_answered(take(story), 0, story.tick())
    story.tick(HOUR)
    assert take(story) is None


def test_the_same_transaction_again_is_answered_again(story):
    assert keep(story)
    story.worklist.commitment_answered(take(story), 0, story.tick())
    assert not keep(story)
    claimed = take(story)
    assert (claimed.request, claimed.attempt) == (request(), 1)


def test_the_same_transaction_of_another_peer_is_another_one(story):
    assert keep(story)
    assert keep(story, peer="other")
    assert [take(story).request.peer, take(story).request.peer] == ["pacs", "other"]


def test_a_request_that_could_not_be_answered_waits_for_its_next_attempt(story):
    keep(story)
    story.worklist.commitment_unanswered(take(story), "no connection", story.now + HOUR, story.tick())
    story.tick(LEASE)
    assert take(story) is None
    story.tick(HOUR)
    assert take(story).attempt == 2


def test_a_request_given_up_is_dead_until_the_peer_asks_again(story):
    keep(story)
    story.worklist.commitment_unanswered(take(story), "refused", None, story.tick())
    story.tick(HOUR)
    assert take(story) is None
    assert not keep(story)
    assert take(story).request == request()


def test_who_was_overtaken_changes_nothing(story):
    keep(story)
    slow = take(story)
    story.tick(LEASE)
    quick = take(story)
    story.worklist.commitment_unanswered(slow, "timed out", None, story.tick())
    story.worklist.hold_commitment_request(slow, story.now + HOUR)
    story.tick(LEASE)
    assert take(story).attempt == quick.attempt + 1


def test_requests_of_a_peer_that_is_away_do_not_hold_up_others(story):
    keep(story, peer="away")
    keep(story, peer="there")
    assert take(story, away=["away"]).request.peer == "there"
    assert take(story, away=["away"]) is None
    assert take(story).request.peer == "away"


def test_the_oldest_request_is_answered_first(story):
    for number in ("1", "2", "3"):
        keep(story, transaction_uid=f"2.25.{number}")
    story.tick(HOUR)
    assert [take(story).request.transaction_uid for _ in range(3)] == ["2.25.1", "2.25.2", "2.25.3"]


def test_what_is_registered_is_told_with_what_its_file_must_be(story):
    story.worklist.register(received(STUDY, "1.2.1.1", T0, digest="b" * 64), RULE)
    asked = ["1.2.1.1", "1.2.1.1", "9.9.9", *(f"1.2.99.{number}" for number in range(1200))]
    assert story.worklist.kept_instances(asked) == {
        "1.2.1.1": KeptInstance(
            sop_instance_uid="1.2.1.1", sop_class_uid=DX, path="1.2.1.1.dcm", size=1000, sha256="b" * 64
        )
    }


def test_a_request_for_ten_thousand_instances_is_kept_whole(story):
    asked = request(images=tuple(f"1.2.1.{number}" for number in range(1, 10_001)))
    story.worklist.keep_commitment_request(asked, story.tick(), story.now)
    assert take(story).request == asked


# --- asked by us ------------------------------------------------------------------------------------------------------
def sent(story, *uids, commit=True, to="pacs", study=STUDY):
    story.decided(*(shipment(uid, to) for uid in uids), study=study)
    for _ in uids:
        for delivery in story.deliveries(destinations=[to]):
            story.worklist.delivery_sent(delivery, story.tick(), commit=commit)


def ask(story, transaction_uid="2.25.77", to="pacs", limit=10, most_asks=3):
    found = story.worklist.claim_commitments(to, transaction_uid, story.tick(), story.now + LEASE, limit, most_asks)
    return [artifact.uid for artifact in found]


def report(story, *kept, failed=(), transaction_uid="2.25.77", of=("pacs",), most_resends=1):
    said = CommitmentReport(
        transaction_uid=transaction_uid,
        committed=tuple(Reference(SR, uid) for uid in kept),
        failed=tuple((Reference(SR, uid), NO_SUCH_OBJECT) for uid in failed),
    )
    return story.worklist.commitment_reported(of, said, most_resends, story.tick())


def row(story, number=0, study=STUDY):
    return story.worklist.study(study).deliveries[number]


def test_what_was_sent_with_a_wish_for_commitment_is_asked_about(story):
    sent(story, "2.25.1", "2.25.2")
    assert story.status() is Status.DELIVERED
    assert ask(story) == ["2.25.1", "2.25.2"]
    assert row(story).state is DeliveryState.SENT


def test_what_was_sent_without_is_never_asked_about(story):
    sent(story, "2.25.1", commit=False)
    story.tick(HOUR)
    assert ask(story) == []


def test_the_artifact_comes_with_the_question(story):
    sent(story, "2.25.1")
    (artifact,) = story.worklist.claim_commitments("pacs", "2.25.77", story.tick(), story.now + LEASE, 10, 3)
    assert artifact == shipment("2.25.1").artifact


def test_a_question_holds_so_many_objects_and_goes_to_one_destination(story):
    sent(story, "2.25.1", "2.25.2", "2.25.3")
    sent(story, "2.25.4", to="archive", study="1.2.2")
    assert ask(story, limit=2) == ["2.25.1", "2.25.2"]
    assert ask(story, "2.25.78") == ["2.25.3"]
    assert ask(story, "2.25.79", to="archive") == ["2.25.4"]


def test_what_the_destination_keeps_is_committed_and_the_study_stays_delivered(story):
    sent(story, "2.25.1")
    ask(story)
    story.worklist.commitments_asked("2.25.77", story.now + HOUR)
    assert report(story, "2.25.1") == Reported(committed=1)
    assert (row(story).state, row(story).committed_at, row(story).last_error) == (
        DeliveryState.COMMITTED,
        story.now,
        None,
    )
    assert story.status() is Status.DELIVERED
    assert AuditAction.DELIVERY_COMMITTED in story.actions()
    assert story.worklist.counts()["outbox"]["committed"] == 1
    story.tick(2 * HOUR)
    assert ask(story) == []


def test_the_same_report_again_changes_nothing(story):
    sent(story, "2.25.1")
    ask(story)
    report(story, "2.25.1")
    before = story.worklist.study(STUDY)
    assert report(story, "2.25.1") == Reported()
    assert report(story, failed=["2.25.1"]) == Reported()
    assert story.worklist.study(STUDY) == before


def test_a_report_of_another_peer_or_about_others_objects_changes_nothing(story):
    sent(story, "2.25.1")
    before_asking = report(story, "2.25.1")
    ask(story)
    assert before_asking == Reported()
    assert report(story, "2.25.1", of=["other"]) == Reported()
    assert report(story, "2.25.99") == Reported()
    assert row(story).state is DeliveryState.SENT


def test_a_committed_object_is_committed_also_by_a_late_answer_to_an_earlier_question(story):
    sent(story, "2.25.1")
    ask(story, "2.25.77")
    story.tick(HOUR)
    ask(story, "2.25.78")
    assert report(story, "2.25.1", transaction_uid="2.25.77") == Reported(committed=1)


def test_a_failure_in_a_late_answer_counts_for_nothing(story):
    sent(story, "2.25.1")
    ask(story, "2.25.77")
    story.tick(HOUR)
    ask(story, "2.25.78")
    assert report(story, failed=["2.25.1"], transaction_uid="2.25.77") == Reported()
    assert row(story).state is DeliveryState.SENT


def test_what_the_destination_does_not_keep_is_sent_again_and_asked_about_again(story):
    sent(story, "2.25.1")
    ask(story)
    assert report(story, failed=["2.25.1"]) == Reported(resent=1)
    assert (row(story).state, story.status()) == (DeliveryState.PENDING, Status.DELIVERED)
    assert "0x0112 (no such object instance)" in row(story).last_error
    assert AuditAction.DELIVERY_NOT_COMMITTED in story.actions()
    (delivery,) = story.deliveries()
    assert delivery.artifact == shipment("2.25.1").artifact
    story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    assert ask(story, "2.25.78") == ["2.25.1"]
    assert report(story, "2.25.1", transaction_uid="2.25.78") == Reported(committed=1)


def lost(story):
    """A study whose report the destination has taken twice and keeps not."""
    sent(story, "2.25.1")
    ask(story)
    report(story, failed=["2.25.1"])
    for delivery in story.deliveries():
        story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    ask(story, "2.25.78")
    return report(story, failed=["2.25.1"], transaction_uid="2.25.78")


def test_what_the_destination_never_keeps_is_dead_at_last_and_the_study_says_why(story):
    assert lost(story) == Reported(dead=1)
    assert (row(story).state, row(story).next_attempt_at) == (DeliveryState.DEAD, None)
    assert story.status() is Status.DELIVERED
    assert "not committed: 0x0112" in story.item().status_reason
    assert story.actions()[-1] is AuditAction.DELIVERY_DEAD


def test_a_person_can_send_it_again_with_all_its_resends(story):
    lost(story)
    assert story.worklist.retry_failed("admin", story.tick()) == 1
    assert row(story).state is DeliveryState.PENDING
    for delivery in story.deliveries():
        story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    assert story.item().status_reason is None
    ask(story, "2.25.79")
    assert report(story, failed=["2.25.1"], transaction_uid="2.25.79") == Reported(resent=1)


def test_a_question_without_an_answer_is_put_again_and_given_up_in_the_end(story):
    sent(story, "2.25.1")
    for number in range(2):
        assert ask(story, f"2.25.7{number}", most_asks=2) == ["2.25.1"]
        story.worklist.commitments_asked(f"2.25.7{number}", story.now + HOUR)
        story.tick(LEASE)
        assert ask(story, "2.25.79", most_asks=2) == []
        story.tick(HOUR)
    assert ask(story, "2.25.79", most_asks=2) == []
    assert row(story).state is DeliveryState.SENT
    assert "asked 2 times" in row(story).last_error
    story.tick(HOUR)
    assert ask(story, "2.25.79") == []
    assert report(story, "2.25.1", transaction_uid="2.25.71") == Reported(committed=1)


def test_who_is_away_is_asked_as_often_as_it_takes(story):
    sent(story, "2.25.1")
    for _ in range(5):
        assert ask(story, most_asks=1) == ["2.25.1"]
        story.worklist.commitments_not_asked("2.25.77", "no connection", story.now + SECOND, counted=False)
        assert row(story).last_error == "no connection"
    assert ask(story, most_asks=1) == ["2.25.1"]


def test_a_refused_question_counts(story):
    sent(story, "2.25.1")
    ask(story, most_asks=1)
    story.worklist.commitments_not_asked("2.25.77", "N-ACTION answered 0x0124", story.now + SECOND, counted=True)
    assert ask(story, most_asks=1) == []
    assert row(story).state is DeliveryState.SENT


def test_what_was_asked_by_a_process_that_died_is_asked_again(story):
    sent(story, "2.25.1")
    ask(story)
    story.tick(LEASE)
    assert ask(story, "2.25.78") == ["2.25.1"]


def test_a_committed_report_keeps_an_older_one_from_being_sent_after_all(story):
    story.decided(shipment("2.25.1"))
    story.lose()
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2"))
    (delivery,) = story.deliveries()
    story.worklist.delivery_sent(delivery, story.tick(), commit=True)
    ask(story)
    report(story, "2.25.2")
    assert story.worklist.retry_study(STUDY, "admin", story.tick()) == 0
    assert "superseded" in row(story).last_error


def test_a_sender_that_comes_late_leaves_a_committed_delivery_as_it_is(story):
    story.decided(shipment("2.25.1"))
    (first,) = story.deliveries()
    story.tick(LEASE)
    (second,) = story.deliveries()
    story.worklist.delivery_sent(second, story.tick(), commit=True)
    ask(story)
    report(story, "2.25.1")
    story.worklist.delivery_sent(first, story.tick(), commit=True)
    story.worklist.delivery_failed(first, "timed out", None, story.tick())
    assert row(story).state is DeliveryState.COMMITTED
