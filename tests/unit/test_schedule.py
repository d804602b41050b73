"""The ticks: completing studies, asking the PACS, keeping our leases and freeing those of the dead."""

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from apscheduler.schedulers import base
from support.agent import eventually
from support.story import LEASE, RULE, SECOND, STUDY, Story, received
from support.ticking import SOON, FakePacs, Ticking

from triage_agent import schedule as module
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status
from triage_agent.schedule import Schedule
from triage_agent.worklist import MemoryWorklist

ASKING = replace(RULE, ask_after=timedelta(seconds=2))


@pytest.fixture
def ticking():
    made = []

    def make(counter=None, rule=RULE):
        made.append((Ticking(counter, rule), counter))
        return made[-1][0]

    yield make
    for story, counter in made:
        if counter is not None:
            counter.may_answer.set()
        story.end()


# --- completeness ----------------------------------------------------------------------------------------------------
def test_a_study_is_complete_when_no_image_came_for_the_quiet_period(ticking):
    story = ticking()
    story.receive()
    story.complete_due(RULE.quiet - SECOND)
    assert (story.status(), story.woken) == (Status.RECEIVING, 0)
    story.complete_due(SECOND)
    assert (story.status(), story.woken) == (Status.READY, 1)


def test_every_image_starts_the_quiet_period_anew_up_to_the_longest_wait(ticking):
    story = ticking()
    story.receive()
    begun = story.now
    while story.now - begun < RULE.max_wait - RULE.quiet:
        story.complete_due(RULE.quiet - 2 * SECOND)
        assert story.status() is Status.RECEIVING
        story.receive()
    story.complete_due(begun + RULE.max_wait - story.now)
    assert story.status() is Status.READY


def test_the_pacs_is_asked_and_a_study_that_is_whole_completes_early(ticking):
    pacs = FakePacs(2)
    story = ticking(pacs, ASKING)
    story.receive()
    story.receive()
    story.complete_due(ASKING.ask_after)
    assert pacs.asked == [STUDY]
    assert (story.status(), story.woken) == (Status.RECEIVING, 0)
    story.complete_due(ASKING.steady)
    assert pacs.asked == [STUDY, STUDY]
    assert (story.status(), story.woken) == (Status.READY, 1)


def test_a_pacs_that_forwards_each_view_as_it_is_shot_has_one_revision_of_the_study(ticking):
    """Its own count grows with the views, 20 s apart, and is equal to ours at every question."""
    pacs = FakePacs()
    story = ticking(pacs, ASKING)
    for shot in range(1, 5):
        pacs.answer = shot
        story.receive()
        for _ in range(19):
            story.complete_due(SECOND)
        assert (story.status(), story.item().revision) == (Status.RECEIVING, 1)
    for _ in range(5):
        story.complete_due(SECOND)
    assert (story.status(), story.item().instances, story.item().revision) == (Status.READY, 4, 1)
    assert "all 4 images" in story.item().status_reason
    assert len(pacs.asked) == 4 + 1


@pytest.mark.parametrize("answer", [None, 3, 1, RuntimeError("the PACS crashed"), WorklistUnavailableError("away")])
def test_a_pacs_that_does_not_confirm_is_asked_again_later_and_the_quiet_period_decides(ticking, answer):
    pacs = FakePacs(answer)
    story = ticking(pacs, ASKING)
    story.receive()
    story.receive()
    story.complete_due(ASKING.ask_after)
    assert story.status() is Status.RECEIVING
    for _ in range(8):
        story.complete_due(2 * SECOND)
    assert len(pacs.asked) >= 2
    assert set(story.failures) == ({"question"} if type(answer) is RuntimeError else set())
    assert story.status() is Status.RECEIVING
    story.complete_due(RULE.quiet)
    assert story.status() is Status.READY


def test_questions_become_rarer(ticking):
    pacs = FakePacs(9)
    story = ticking(pacs, ASKING)
    story.receive()
    for _ in range(25):
        story.complete_due(SECOND)
    assert 3 <= len(pacs.asked) <= 5  # after 2, 4, 8 and 16 s


def test_a_study_is_asked_about_once_at_a_time(ticking):
    pacs = FakePacs(1)
    pacs.may_answer.clear()
    story = ticking(pacs, ASKING)
    story.receive()
    story.tick(ASKING.ask_after)
    for _ in range(5):
        story.schedule.complete_due()
        story.tick()
    pacs.may_answer.set()
    story.answered()
    assert pacs.asked == [STUDY]


def test_an_answer_that_is_older_than_an_image_completes_nothing(ticking):
    pacs = FakePacs(1)
    pacs.may_answer.clear()
    story = ticking(pacs, ASKING)
    story.receive()
    story.tick(ASKING.ask_after)
    story.schedule.complete_due()
    story.receive()
    pacs.may_answer.set()
    story.answered()
    assert (story.status(), story.woken) == (Status.RECEIVING, 0)


def test_a_pacs_that_is_slow_delays_no_quiet_period_however_many_questions_wait(ticking):
    pacs = FakePacs(None)
    pacs.may_answer.clear()
    story = ticking(pacs, ASKING)
    story.receive("1.3.1")  # its question is asked first, and its quiet period ends first
    story.tick(ASKING.ask_after)
    story.schedule.complete_due()
    quiet_at = story.item("1.3.1").received_at + RULE.quiet
    for number in range(150):
        story.worklist.register(received(f"1.4.{number}", f"1.4.{number}.1", story.now), ASKING)
    story.tick(ASKING.ask_after)
    story.schedule.complete_due()
    story.worklist.check_later("1.3.1", 1, quiet_at, asked=True)  # as its answer would have
    story.now = quiet_at
    for _ in range(3):  # a tick looks at a hundred studies
        story.schedule.complete_due()
    assert story.status("1.3.1") is Status.READY


# --- leases ----------------------------------------------------------------------------------------------------------
def test_what_a_dead_process_held_goes_back_and_the_workers_are_woken(ticking):
    story = ticking()
    story.claimed(owner="dead")
    story.tick(LEASE + SECOND)
    story.schedule.leases()
    assert (story.status(), story.woken) == (Status.READY, 1)


@pytest.mark.parametrize("owner", ["us", "us-too"])
def test_what_we_hold_is_renewed(ticking, owner):
    story = ticking()
    story.claimed(owner=owner)
    for _ in range(5):
        story.tick(LEASE / 2)
        story.schedule.leases()
    assert (story.status(), story.woken) == (Status.SCORING, 0)


# --- ticking ---------------------------------------------------------------------------------------------------------
def test_started_it_ticks_by_itself_until_it_is_stopped(monkeypatch, ticking):
    monkeypatch.setattr(module, "_COMPLETENESS_SECONDS", 0.01)
    monkeypatch.setattr(module, "_LEASES_SECONDS", 0.01)
    story, completed = ticking(), threading.Event()
    story.schedule._completed = completed.set
    story.receive()
    story.tick(RULE.quiet)
    story.schedule.start()
    assert completed.wait(SOON)
    story.schedule.stop()
    story.receive("1.2.5")
    story.tick(RULE.quiet)
    assert story.status("1.2.5") is Status.RECEIVING


# --- a clock that is set ----------------------------------------------------------------------------------------------
def test_ticks_go_on_when_the_machine_s_clock_is_set_back(monkeypatch):
    """APScheduler reckons by the machine's clock: it would wait for an hour."""
    back = timedelta(0)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - back

    for each in (module, base):
        monkeypatch.setattr(each, "datetime", Clock)
    scheduler, ticks = module._SteadyScheduler(timezone="UTC"), []
    scheduler.add_job(lambda: ticks.append(time.monotonic()), "interval", seconds=0.02, misfire_grace_time=None)
    scheduler.start()
    try:
        eventually(lambda: ticks, SOON, every=0.005)
        back = timedelta(hours=1)
        before = len(ticks)
        eventually(lambda: len(ticks) > before + 3, SOON, every=0.005)
    finally:
        scheduler.shutdown()


def test_a_clock_that_is_set_back_while_the_ticks_are_looked_at_delays_none_of_them(monkeypatch):
    monkeypatch.setattr(base.BaseScheduler, "_process_jobs", lambda _self: 3600.0)  # its look at the clock came later
    scheduler = module._SteadyScheduler(timezone="UTC")
    scheduler.start(paused=True)
    try:
        scheduler.add_job(lambda: None, "interval", seconds=0.5)
        assert scheduler._process_jobs() == 0.5
    finally:
        scheduler.shutdown()


def test_leases_of_the_dead_are_brought_near_when_the_clock_was_set_back():
    ticking = Ticking()
    ticking.claimed(owner="dead")
    ticking.now -= timedelta(hours=1)
    ticking.schedule.leases()
    ticking.tick(max(LEASE, module._LONGEST_LEASE))
    ticking.schedule.leases()
    assert ticking.status() is Status.READY
    ticking.end()


def test_the_end_does_not_wait_for_a_tick_that_does_not_end(monkeypatch):
    ticking, ended = Ticking(), threading.Event()
    monkeypatch.setattr(module, "_STOP_SECONDS", 0.05)
    monkeypatch.setattr(module, "_COMPLETENESS_SECONDS", 0.01)
    begun = threading.Event()

    def never():
        begun.set()
        ended.wait(SOON)

    monkeypatch.setattr(ticking.schedule, "complete_due", never)
    never.__name__ = "complete_due"
    ticking.schedule.start()
    begun.wait(SOON)
    started = time.monotonic()
    ticking.schedule.stop()
    assert time.monotonic() - started < SOON
    assert not ended.is_set()
    ended.set()


def test_originals_past_their_time_go_by_a_tick(monkeypatch):
    monkeypatch.setattr(module, "_RETENTION_SECONDS", 0.01)
    ticked = threading.Event()

    class Keeper:
        def delete_originals(self):
            ticked.set()

        def empty_quarantine(self):
            raise AssertionError("not in the first hour")

    schedule = Schedule(
        worklist=MemoryWorklist(),
        rule=RULE,
        clock=lambda: Story(None).now,
        counter=None,
        completed=lambda: None,
        owners=(),
        lease=LEASE,
        retention=Keeper(),
    )
    schedule.start()
    assert ticked.wait(SOON)
    schedule.stop()
