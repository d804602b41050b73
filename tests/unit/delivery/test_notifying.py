"""The loops that tell people, over a worklist in a file and outlets that fail as a test wants."""

from datetime import timedelta
from random import Random

import pytest
from support.migrated import migrated
from support.story import Story, decision

from triage_agent.delivery.notifying import Notifier, RouteWatch
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.notice import ChannelRules, NoticeKind
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.notices import notices_of

RULES = ChannelRules(name="mail", kinds=frozenset({NoticeKind.STAT, NoticeKind.ROUTE_FAILING}))
AWAY = DeliveryError("away", permanent=False, away=True)


class Outlet:
    seconds = 1.0

    def __init__(self, *errors):
        self.errors, self.taken = [*errors], []

    def send(self, message, at):
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.taken.append(message)


@pytest.fixture
def story(tmp_path):
    url = migrated(tmp_path / "triage.db")
    engine = open_engine(url)
    told = Story(SqlWorklist(engine))
    told.notices = notices_of(told.worklist)
    told.notices.configure([RULES], ["pacs"], told.now)
    yield told
    engine.dispose()


def notifier(story, outlet, outcomes=None):
    return Notifier(
        notices=story.notices,
        rules=RULES,
        outlet=outlet,
        clock=lambda: story.now,
        rng=Random(1),
        retry=RetryPolicy(),
        observed=(outcomes if outcomes is not None else []).append,
    )


def stat(story, study="1.2.1"):
    story.claimed(study)
    assert story.worklist.decide(decision(study=study, at=story.tick(), priority=Priority.STAT), (), (), "w1")


def test_what_waits_is_sent_once(story):
    outlet, outcomes = Outlet(), []
    telling = notifier(story, outlet, outcomes)
    assert not telling.step()
    stat(story)
    assert (telling.step(), telling.step()) == (True, False)
    assert (len(outlet.taken), outcomes) == (1, ["sent"])


def test_one_that_is_away_is_tried_again_with_the_same_message_and_not_at_once(story):
    outlet, outcomes = Outlet(AWAY, AWAY), []
    telling = notifier(story, outlet, outcomes)
    stat(story)
    assert (telling.step(), telling.step()) == (False, False)
    for _ in range(2):
        story.tick(timedelta(minutes=1))
        telling.step()
    assert (outcomes, [one.attempt for one in outlet.taken]) == (["retry", "retry", "sent"], [3])


def test_a_restart_neither_loses_nor_doubles(story):
    stat(story)
    stat(story, "1.2.2")
    first, second = Outlet(), Outlet()
    notifier(story, first).step()
    assert story.notices.configure([RULES], ["pacs"], story.tick()) == 0
    telling = notifier(story, second)
    while telling.step():
        pass
    told = [one.notices[0].study_instance_uid for outlet in (first, second) for one in outlet.taken]
    assert told == ["1.2.1", "1.2.2"]


def test_what_is_not_taken_each_time_holds_up_none_behind_it(story):
    class Picky(Outlet):
        def send(self, message, at):
            if message.notices[0].study_instance_uid == "1.2.1":
                raise DeliveryError("answered 500", permanent=False)
            super().send(message, at)

    telling = notifier(story, outlet := Picky(), outcomes := [])
    for number in range(1, 5):
        stat(story, f"1.2.{number}")
    for _ in range(8):
        telling.step()
    assert [one.notices[0].study_instance_uid for one in outlet.taken] == ["1.2.2", "1.2.3", "1.2.4"]
    assert outcomes.count("retry") == 1  # and is not tried at once, again and again
    story.tick(timedelta(minutes=1))
    telling.step()
    assert (outcomes.count("retry"), story.notices.records()[0].waiting) == (2, 1)


def test_one_that_asks_to_be_left_alone_is(story):
    telling = notifier(
        story, outlet := Outlet(DeliveryError("busy", permanent=False, retry_after=timedelta(minutes=4)))
    )
    stat(story)
    telling.step()
    stat(story, "1.2.2")  # is not put to it either
    story.tick(timedelta(minutes=3))
    assert (telling.step(), outlet.taken) == (False, [])
    story.tick(timedelta(minutes=2))
    assert telling.step()


def test_what_is_refused_for_good_does_not_hold_up_the_next(story):
    outcomes = []
    telling = notifier(story, outlet := Outlet(DeliveryError("no", permanent=True)), outcomes)
    stat(story)
    stat(story, "1.2.2")
    while telling.step():
        pass
    assert (outcomes, len(outlet.taken)) == (["dead", "sent"], 1)


def test_a_bug_in_an_outlet_is_told_by_its_type_alone(story):
    telling = notifier(story, Outlet(RuntimeError("Doe^Jane")))
    stat(story)
    telling.step()
    assert story.notices.records()[0].last_error == "unexpected RuntimeError"


def test_a_route_is_told_of_after_its_time(story):
    troubles = {"pacs": "refused"}
    watch = RouteWatch(
        notices=story.notices,
        channels=[RULES],
        destinations=["pacs"],
        trouble_at=troubles.get,
        clock=lambda: story.now,
    )
    telling = notifier(story, outlet := Outlet())
    assert not watch.step()
    story.tick(RULES.after - timedelta(seconds=1))
    watch.step()
    assert not telling.step()
    story.tick()
    watch.step()
    watch.step()
    assert (telling.step(), telling.step()) == (True, False)
    assert outlet.taken[0].notices[0].kind is NoticeKind.ROUTE_FAILING
