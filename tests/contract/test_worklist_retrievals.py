"""What fetching may rely on, whatever keeps the worklist: one process a study, a bounded number of times, no restart
that forgets."""

from datetime import timedelta

import pytest
from support.story import LEASE, RULE, STUDY, T0, received, shipment

from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import AuditAction, Status
from triage_agent.worklist.trail import AGENT

SECOND = timedelta(seconds=1)
MISSING = [f"{STUDY}.2", f"{STUDY}.3"]


def wanted(worklist, study=STUDY, by="fetch", at=T0, revision=0):
    return worklist.want_retrieval(study, "pacs", at, requested_by=by, revision=revision)


def given_up(worklist, missing=MISSING, expected=3, by="fetch", revision=0):
    """A retrieval that brought none of `missing`."""
    assert wanted(worklist, by=by, revision=revision)
    claimed = worklist.claim_retrieval("w1", T0, LEASE)
    worklist.retrieval_learnt(claimed, expected, missing)
    assert worklist.retrieval_ended(claimed, T0, error="refused", retry_at=None)


def test_a_study_that_is_not_here_yet_can_be_wanted(worklist):
    assert wanted(worklist)
    claimed = worklist.claim_retrieval("w1", T0, LEASE)
    assert (claimed.study_instance_uid, claimed.peer, claimed.attempt, claimed.everything) == (STUDY, "pacs", 1, True)
    record = worklist.retrieval_of(STUDY)
    assert (record.state, record.attempts, record.expected, record.missing) == (RetrievalState.WAITING, 1, None, ())
    assert worklist.retrieval_of("1.2.99") is None


def test_one_process_at_a_time_fetches_a_study(worklist):
    wanted(worklist)
    assert worklist.claim_retrieval("w1", T0, LEASE) is not None
    assert worklist.claim_retrieval("w2", T0 + LEASE / 2, LEASE) is None
    assert worklist.claim_retrieval("w2", T0 + LEASE / 2, LEASE, STUDY) is None
    assert worklist.claim_retrieval("w2", T0 + LEASE, LEASE).attempt == 2


def test_a_lease_that_is_renewed_is_kept_and_what_is_given_back_is_free(worklist):
    wanted(worklist)
    worklist.claim_retrieval("w1", T0, LEASE)
    assert worklist.renew_leases("w1", T0 + LEASE / 2, LEASE) == 1
    assert worklist.claim_retrieval("w2", T0 + LEASE, LEASE) is None
    assert worklist.give_back("w1", T0 + LEASE, counted=False) == 1
    assert worklist.claim_retrieval("w2", T0 + LEASE, LEASE).attempt == 1  # being told to stop is no failure
    assert worklist.give_back("w2", T0 + LEASE) == 1
    assert worklist.claim_retrieval("w2", T0 + LEASE, LEASE).attempt == 2


def test_whoever_lost_the_lease_writes_nothing_any_more(worklist):
    wanted(worklist)
    late = worklist.claim_retrieval("w1", T0, LEASE)
    now = worklist.claim_retrieval("w2", T0 + LEASE, LEASE)
    assert not worklist.retrieval_learnt(late, 9, [])
    assert not worklist.retrieval_ended(late, T0 + LEASE, error=None, retry_at=None)
    assert worklist.retrieval_of(STUDY).expected is None
    assert worklist.retrieval_learnt(now, 3, MISSING)
    assert worklist.retrieval_ended(now, T0 + LEASE, error=None, retry_at=None)
    assert worklist.retrieval_of(STUDY).state is RetrievalState.DONE


def test_what_failed_is_due_again_when_it_says_so_and_at_once_for_a_person(worklist):
    wanted(worklist)
    claimed = worklist.claim_retrieval("w1", T0, LEASE)
    assert worklist.retrieval_ended(claimed, T0, error="aborted", retry_at=T0 + 10 * SECOND)
    assert worklist.retrieval_of(STUDY).last_error == "aborted"
    assert worklist.claim_retrieval("w1", T0 + 9 * SECOND, LEASE) is None
    assert worklist.claim_retrieval("w2", T0 + SECOND, LEASE, STUDY).attempt == 2


def test_what_has_waited_longest_comes_first(worklist):
    wanted(worklist, "1.2.5", at=T0 + SECOND)
    wanted(worklist, "1.2.4")
    claims = [worklist.claim_retrieval("w1", T0 + SECOND, LEASE).study_instance_uid for _ in range(2)]
    assert claims == ["1.2.4", "1.2.5"]


def test_the_agent_asks_once_a_revision_and_only_while_it_is_receiving(story):
    worklist = story.worklist
    assert not wanted(worklist, by=AGENT, revision=1)
    story.receive()
    assert not wanted(worklist, by=AGENT, revision=2)
    assert wanted(worklist, by=AGENT, revision=1)
    assert not wanted(worklist, by=AGENT, revision=1)  # it is open
    claimed = worklist.claim_retrieval("w1", T0, LEASE)
    assert not claimed.everything
    worklist.retrieval_ended(claimed, T0, error="refused", retry_at=None)
    assert not wanted(worklist, by=AGENT, revision=1)
    story.complete()
    assert not wanted(worklist, by=AGENT, revision=1)
    story.claim()
    story.decide()
    story.receive()
    assert wanted(worklist, by=AGENT, revision=2)


def test_a_person_may_ask_again_and_takes_nothing_from_whoever_is_at_it(story):
    worklist = story.worklist
    given_up(worklist)
    assert wanted(worklist, at=T0 + SECOND)
    claimed = worklist.claim_retrieval("w1", T0 + SECOND, LEASE)
    assert claimed.attempt == 1
    assert wanted(worklist, at=T0 + 2 * SECOND)
    assert worklist.claim_retrieval("w2", T0 + 2 * SECOND, LEASE) is None
    assert worklist.retrieval_learnt(claimed, 1, [])
    story.receive()
    assert not wanted(worklist, by=AGENT, revision=1)


def test_a_study_is_seen_with_its_retrieval_and_looked_at_again_when_that_ends(story):
    worklist = story.worklist
    story.receive()
    (view,) = worklist.due_for_completion(story.tick(RULE.quiet))
    assert view.retrieval is None
    wanted(worklist, by=AGENT, revision=1, at=story.now)
    (view,) = worklist.due_for_completion(story.now)
    assert view.retrieval == worklist.retrieval_of(STUDY) == worklist.study(STUDY).retrieval
    worklist.check_later(STUDY, 1, story.now + 100 * SECOND, asked=False, reason="fetching from pacs")
    assert story.item().status_reason == "fetching from pacs"
    assert worklist.due_for_completion(story.tick()) == []
    claimed = worklist.claim_retrieval("w1", story.now, LEASE)
    worklist.retrieval_ended(claimed, story.now, error="later", retry_at=story.now + SECOND)
    assert worklist.due_for_completion(story.tick()) == []
    claimed = worklist.claim_retrieval("w1", story.now, LEASE)
    worklist.retrieval_ended(claimed, story.now, error=None, retry_at=None)
    (view,) = worklist.due_for_completion(story.now)
    assert view.retrieval.state is RetrievalState.DONE
    assert AuditAction.RETRIEVAL_REQUESTED in story.actions()
    assert story.actions()[-1] is AuditAction.RETRIEVAL_ENDED


def test_a_look_at_a_study_whose_retrieval_has_ended_meanwhile_does_not_put_it_off(story):
    worklist = story.worklist
    story.receive()
    wanted(worklist, by=AGENT, revision=1, at=story.now)
    claimed = worklist.claim_retrieval("w1", story.now, LEASE)
    later = story.now + 100 * SECOND
    assert worklist.check_later(STUDY, 1, later, asked=False, reason="fetching from pacs", fetching=True)
    worklist.retrieval_ended(claimed, story.tick(), error=None, retry_at=None)
    assert not worklist.check_later(STUDY, 1, later, asked=False, reason="fetching from pacs", fetching=True)
    assert [view.study_instance_uid for view in worklist.due_for_completion(story.now)] == [STUDY]


def test_what_is_waited_for_stays_said_while_images_come_and_no_longer(story):
    story.receive()
    story.worklist.check_later(STUDY, 1, story.now, asked=False, reason="fetching from pacs")
    story.receive()
    assert story.item().status_reason == "fetching from pacs"
    story.complete()
    story.receive()
    assert (story.status(), story.item().status_reason) == (Status.RECEIVING, None)


@pytest.mark.parametrize(
    ("missing", "expected", "says"),
    [
        (MISSING, 3, "1 of 3 images; pacs did not send 2"),
        ([], 3, "1 of 3 images; pacs did not send 2"),
        ([], 1, ""),
        ([f"{STUDY}.1"], 3, ""),
    ],
)
def test_whoever_decides_is_told_what_did_not_come(story, missing, expected, says):
    story.receive(image=f"{STUDY}.1")
    given_up(story.worklist, missing, expected)
    story.complete()
    assert story.claim().shortfall == says


def test_what_came_late_is_not_called_missing(story):
    story.receive(image=f"{STUDY}.1")
    given_up(story.worklist)
    story.worklist.register(received(image=MISSING[0], at=story.tick()), RULE)
    story.complete()
    assert story.claim().shortfall == "2 of 3 images; pacs did not send 1"


def test_what_is_here_of_a_study_are_its_instances_and_our_own_results(story):
    assert story.worklist.held_of(STUDY).instances == frozenset()
    story.decided(shipment("2.25.7"))
    held = story.worklist.held_of(STUDY)
    assert (held.instances, held.own_results) == ({f"{STUDY}.1"}, {"2.25.7"})
