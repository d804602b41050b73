"""A tick of the schedule has what is missing fetched elsewhere, and holds the study meanwhile."""

from dataclasses import replace

import pytest
from support.story import LEASE, RULE, SECOND, STUDY, Story

from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import Status
from triage_agent.schedule import Schedule
from triage_agent.worklist import MemoryWorklist


class Ticking(Story):
    def __init__(self):
        super().__init__(MemoryWorklist())
        self.woken = 0
        self.schedule = Schedule(
            worklist=self.worklist,
            rule=replace(RULE, fetch=True),
            clock=lambda: self.now,
            counter=None,
            completed=self._wake,
            owners=("us",),
            lease=LEASE,
            fetch_from="pacs",
        )

    def _wake(self):
        self.woken += 1

    def look(self, after):
        self.tick(after)
        self.schedule.complete_due()
        return self.status()


@pytest.fixture
def story():
    return Ticking()


def test_a_quiet_study_is_fetched_and_held_until_that_has_ended(story):
    story.receive()
    assert story.look(RULE.quiet) is Status.RECEIVING
    assert story.woken == 1  # whoever fetches
    claimed = story.worklist.claim_retrieval("us", story.now, LEASE)
    assert (claimed.study_instance_uid, claimed.peer, claimed.everything) == (STUDY, "pacs", False)
    story.look(SECOND)
    assert story.item().status_reason == "asking pacs which images it has"
    story.worklist.retrieval_learnt(claimed, 3, [f"{STUDY}.2", f"{STUDY}.3"])
    story.receive()
    assert story.look(RULE.quiet) is Status.RECEIVING
    assert story.look(RULE.quiet) is Status.RECEIVING
    assert story.item().status_reason == "fetching from pacs: 2 of 3 images are here"
    story.receive()
    story.worklist.retrieval_learnt(claimed, 3, [])
    story.worklist.retrieval_ended(claimed, story.now, error=None, retry_at=None)
    assert story.look(SECOND) is Status.READY
    assert story.item().status_reason == "all 3 images that the peer has are here"


def test_a_retrieval_that_ends_while_its_study_is_looked_at_delays_nothing(story, monkeypatch):
    story.receive()
    story.look(RULE.quiet)
    claimed = story.worklist.claim_retrieval("us", story.now, LEASE)
    look = story.worklist.due_for_completion

    def ends_then(now):
        seen = look(now)
        story.worklist.retrieval_ended(claimed, now, error="refused", retry_at=None)
        return seen

    monkeypatch.setattr(story.worklist, "due_for_completion", ends_then)
    story.look(SECOND)
    monkeypatch.undo()
    assert story.look(SECOND) is Status.READY


def test_a_study_that_stays_incomplete_is_decided_with_that(story):
    story.receive()
    story.look(RULE.quiet)
    claimed = story.worklist.claim_retrieval("us", story.now, LEASE)
    story.worklist.retrieval_learnt(claimed, 3, [f"{STUDY}.2", f"{STUDY}.3"])
    story.worklist.retrieval_ended(claimed, story.now, error="refused", retry_at=None)
    assert story.look(SECOND) is Status.READY
    assert "1 of 3 images that pacs has are here" in story.item().status_reason
    assert story.worklist.claim_study("us", story.now, LEASE).shortfall == "1 of 3 images; pacs did not send 2"
    assert story.worklist.retrieval_of(STUDY).state is RetrievalState.GIVEN_UP


def test_a_move_that_never_ends_is_waited_for_up_to_the_longest_wait(story):
    story.receive()
    story.look(RULE.quiet)
    claimed = story.worklist.claim_retrieval("us", story.now, LEASE)
    story.worklist.retrieval_learnt(claimed, 3, [f"{STUDY}.2", f"{STUDY}.3"])
    assert story.look(RULE.max_wait - 2 * RULE.quiet) is Status.RECEIVING
    assert story.look(RULE.quiet) is Status.READY
    assert story.worklist.claim_study("us", story.now, LEASE).shortfall == "1 of 3 images; pacs did not send 2"
