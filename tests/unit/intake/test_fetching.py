"""One study is fetched: what is asked for, what is said of what did not come, and that it ends."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from support.story import DX, LEASE, REPORT, RULE, STUDY, Story, received, shipment

from triage_agent.domain.retrieval import (
    RemoteInstance,
    RemoteStudy,
    RetrievalError,
    RetrievalState,
    Sent,
    SubOperations,
    Wanted,
)
from triage_agent.intake.fetching import Fetcher, FetchRule, plan
from triage_agent.worklist import MemoryWorklist
from triage_agent.worklist.trail import AGENT

PAUSE = timedelta(seconds=10)
GET_RULE = FetchRule(tries=3, pause=PAUSE, arrival=timedelta(0))


def remote(number, series="1", sop_class=DX):
    return RemoteInstance(series_instance_uid=series, sop_instance_uid=f"{STUDY}.{number}", sop_class_uid=sop_class)


@dataclass
class FakeArchive:
    """A PACS at the port: `sends` says which of what it has it would send, `fails` how its requests end."""

    story: Story
    has: list = field(default_factory=list)
    number: int | None = None
    sends: set = field(default_factory=set)
    fails: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    knows_study: bool = True
    lists: bool = True

    def study(self, uid):
        if not self.knows_study:
            return None
        return RemoteStudy(study_instance_uid=uid, accession_number="", instances=self.number)

    def instances(self, _uid):
        return self.has if self.lists else []

    def retrieve(self, wanted, sop_classes):
        self.asked.append((tuple(wanted), frozenset(sop_classes)))
        for one in self.has:
            if one.sop_instance_uid in self.sends and any(_asks_for(each, one) for each in wanted):
                self.story.worklist.register(received(image=one.sop_instance_uid, at=self.story.tick()), RULE)
        failure = self.fails.pop(0) if self.fails else None
        return Sent(operations=SubOperations(completed=len(self.sends)), error=failure)


def _asks_for(wanted, instance):
    if wanted.series_instance_uid not in {"", instance.series_instance_uid}:
        return False
    return not wanted.sop_instance_uids or instance.sop_instance_uid in wanted.sop_instance_uids


class Fetching(Story):
    """A study that is wanted, a PACS, and who fetches."""

    def __init__(self, has=(), here=(), by="fetch", rule=GET_RULE, stopping=False):
        super().__init__(MemoryWorklist())
        self.archive = FakeArchive(self, list(has), len(has), {one.sop_instance_uid for one in has})
        for number in here:
            self.receive(image=f"{STUDY}.{number}")
        self.stopping = stopping
        self.waits = []
        self.fetcher = Fetcher(
            worklist=self.worklist, archive=self.archive, rule=rule, clock=lambda: self.now, wait=self._wait
        )
        revision = 1 if by == AGENT else 0
        assert self.worklist.want_retrieval(STUDY, "pacs", self.now, requested_by=by, revision=revision)

    def _wait(self, seconds):
        self.waits.append(seconds)
        return self.stopping

    def attempt(self):
        return self.fetcher.attempt(self.worklist.claim_retrieval("w1", self.now, LEASE, STUDY))

    @property
    def record(self):
        return self.worklist.retrieval_of(STUDY)


def test_only_what_is_missing_is_asked_for():
    story = Fetching([remote(1), remote(2), remote(3, "2")], here=[1])
    tried = story.attempt()
    assert (tried.fetched, tried.lacking, tried.error, tried.operations.completed) == (2, 0, None, 3)
    assert story.archive.asked == [
        (
            (
                Wanted(study_instance_uid=STUDY, series_instance_uid="1", sop_instance_uids=(f"{STUDY}.2",)),
                Wanted(study_instance_uid=STUDY, series_instance_uid="2"),
            ),
            frozenset({DX}),
        )
    ]
    assert (story.record.state, story.record.expected, story.record.missing) == (RetrievalState.DONE, 3, ())


def test_nothing_is_asked_for_where_all_is_here():
    story = Fetching([remote(1), remote(2)], here=[1, 2])
    assert story.attempt().lacking == 0
    assert story.archive.asked == []
    assert (story.record.state, story.record.expected) == (RetrievalState.DONE, 2)


@pytest.mark.parametrize(("missing", "whole"), [([], True), ([1, 2, 3], True), ([3], False)])
def test_the_study_is_asked_for_where_all_of_it_is_missing_or_nobody_knows_what(missing, whole):
    listed = [remote(1), remote(2), remote(3, "2")]
    wanted = plan(STUDY, listed, [one for one in listed if int(one.sop_instance_uid.rpartition(".")[2]) in missing])
    assert (wanted == [Wanted(study_instance_uid=STUDY)]) == whole


def test_a_pacs_that_sends_fewer_than_it_has_is_asked_again_and_then_given_up():
    story = Fetching([remote(1), remote(2), remote(3)], here=[1])
    story.archive.sends = {f"{STUDY}.2"}
    first = story.attempt()
    assert (first.fetched, first.lacking) == (1, 1)
    assert first.error.message == "pacs says that it has sent all, and 1 of 2 images did not come"
    assert (story.record.state, story.record.missing) == (RetrievalState.WAITING, (f"{STUDY}.3",))
    assert story.worklist.claim_retrieval("w2", story.now + PAUSE / 2, LEASE) is None
    story.attempt()
    last = story.attempt()
    assert (last.fetched, last.lacking, story.record.state) == (0, 1, RetrievalState.GIVEN_UP)
    assert story.record.shortfall([f"{STUDY}.1", f"{STUDY}.2"]) == "2 of 3 images; pacs did not send 1"
    whole = (Wanted(study_instance_uid=STUDY),)
    assert [wanted == whole for wanted, _ in story.archive.asked] == [False, False, True]


def test_a_promise_that_nobody_can_list_is_counted():
    story = Fetching([remote(1), remote(2)], here=[1, 2])
    story.archive.number = 4
    tried = story.attempt()
    assert (tried.lacking, story.record.expected, story.record.missing) == (2, 4, ())
    assert story.record.shortfall([f"{STUDY}.1", f"{STUDY}.2"]) == "2 of 4 images; pacs did not send 2"


def test_the_number_alone_does_where_instances_are_not_listed():
    story = Fetching([remote(1), remote(2)], here=[1])
    story.archive.lists = False
    assert story.attempt().lacking == 0
    assert story.archive.asked == [((Wanted(study_instance_uid=STUDY),), frozenset())]
    assert story.record.state is RetrievalState.DONE


def test_the_list_alone_does_where_there_is_no_number():
    story = Fetching([remote(1), remote(2)], here=[1])
    story.archive.number = None
    assert (story.attempt().fetched, story.record.state) == (1, RetrievalState.DONE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"knows_study": False}, "pacs has no such study"),
        ({"lists": False, "number": None}, "pacs does not say what the study has"),
    ],
)
def test_a_pacs_that_has_no_such_study_is_not_asked_again(change, says):
    story = Fetching([remote(1)])
    for name, value in change.items():
        setattr(story.archive, name, value)
    assert story.attempt().error.message == says
    assert (story.record.state, story.record.last_error) == (RetrievalState.GIVEN_UP, says)


def test_a_refusal_that_time_does_not_mend_is_final_and_says_what_to_do():
    story = Fetching([remote(1)])
    story.archive.sends = set()
    story.archive.fails = [RetrievalError("C-MOVE answered 0xA801", permanent=True, remedy="make us known")]
    story.attempt()
    assert story.record.state is RetrievalState.GIVEN_UP
    assert story.record.last_error == "C-MOVE answered 0xA801; make us known"


def test_a_complaint_does_not_matter_where_all_came():
    story = Fetching([remote(1)])
    story.archive.fails = [RetrievalError("C-MOVE ended without an answer", permanent=False)]
    assert story.attempt().error is None
    assert story.record.state is RetrievalState.DONE


@pytest.mark.parametrize(("by", "asked"), [(AGENT, False), ("fetch", True)])
def test_a_study_waits_for_radiographs_only_and_a_person_gets_everything(by, asked):
    story = Fetching([remote(1), remote(2, "2", REPORT)], here=[1], by=by)
    story.attempt()
    assert bool(story.archive.asked) == asked


def test_our_own_results_are_not_fetched_back():
    story = Fetching([remote(1)], here=[1])
    story.complete()
    story.claim()
    story.decide(shipment(f"{STUDY}.9"))
    story.archive.has.append(remote(9, "9", REPORT))
    story.archive.number = 2
    assert story.attempt().lacking == 0
    assert story.archive.asked == []


def test_images_that_come_after_the_last_answer_are_waited_for():
    rule = FetchRule(tries=1, pause=PAUSE, arrival=timedelta(seconds=5))
    story = Fetching([remote(1), remote(2)], rule=rule)
    story.archive.sends = set()
    late = iter([f"{STUDY}.1", None, f"{STUDY}.2"])

    def wait(seconds):
        if seconds and (uid := next(late, None)):
            story.receive(image=uid)
        return False

    story.fetcher._wait = wait
    assert (story.attempt().lacking, story.record.state) == (0, RetrievalState.DONE)


def test_the_wait_for_images_that_never_come_ends():
    rule = FetchRule(tries=1, pause=PAUSE, arrival=timedelta(seconds=5))
    story = Fetching([remote(1)], rule=rule)
    story.archive.sends = set()
    tried = story.attempt()
    assert "serve" in tried.error.remedy
    assert sum(story.waits) == pytest.approx(5.0)


def test_whoever_is_told_to_stop_notes_nothing_and_holds_it_until_it_is_given_back():
    story = Fetching([remote(1)], stopping=True)
    story.archive.sends = set()
    assert story.attempt() is None
    assert (story.record.state, story.record.attempts) == (RetrievalState.WAITING, 1)
    story.worklist.give_back("w1", story.now, counted=False)
    assert story.record.attempts == 0


def test_what_ends_its_process_each_time_is_not_fetched_for_ever():
    story = Fetching([remote(1)])
    for _ in range(GET_RULE.tries):  # claimed, and never heard of again
        story.worklist.claim_retrieval("dead", story.tick(LEASE), LEASE)
    story.tick(LEASE)
    assert story.attempt().error.message == "fetching it ended abnormally 3 times"
    assert (story.record.state, story.archive.asked) == (RetrievalState.GIVEN_UP, [])
