"""Ticks that fail, and studies that cannot be looked at: they cost no other, and are told of."""

import threading
from dataclasses import replace
from datetime import timedelta

from structlog.testing import capture_logs
from support.story import RULE
from support.ticking import SOON, FakePacs, Ticking

from triage_agent import schedule as module
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status
from triage_agent.intake.retention import Retention
from triage_agent.schedule import Schedule


def test_a_study_that_cannot_be_looked_at_holds_up_no_other_and_is_looked_at_again(monkeypatch):
    story = Ticking()
    for study in ("1.2.1", "1.2.2"):
        story.receive(study)
    complete = story.worklist.complete

    def fail_once(view, reason, now):
        if view.study_instance_uid == "1.2.1" and not failed:
            failed.append(view)
            raise RuntimeError("DOE^JANE")
        return complete(view, reason, now)

    failed = []
    monkeypatch.setattr(story.worklist, "complete", fail_once)
    with capture_logs() as logs:
        story.complete_due(after=2 * RULE.quiet)
    assert (story.status("1.2.1"), story.status("1.2.2")) == (Status.RECEIVING, Status.READY)
    assert [(line["event"], line["error"]) for line in logs if "error" in line] == [
        ("completeness_failed", "RuntimeError")
    ]
    assert story.failures == ["study"]
    story.complete_due(after=module._AFTER_A_FAILURE)
    assert story.status("1.2.1") is Status.READY


def test_a_study_that_cannot_be_completed_after_the_pacs_has_answered_is_told_of_as_one(monkeypatch):
    asking, pacs = replace(RULE, ask_after=timedelta(seconds=2)), FakePacs(1)
    story = Ticking(pacs, asking)
    story.receive()

    def fail(*_):
        raise RuntimeError("DOE^JANE")

    monkeypatch.setattr(story.worklist, "complete", fail)
    with capture_logs() as logs:
        for _ in range(4):
            story.complete_due(asking.ask_after + asking.steady)
    story.end()
    assert pacs.asked
    assert set(story.failures) == {"study"}
    assert all("frames" in line for line in logs if line["event"] == "completeness_failed")
    assert "DOE" not in str(logs)


def test_what_can_fail_is_named_so_that_it_is_shown_before_it_does():
    ticks = {tick.__name__ for tick in (Schedule.complete_due, Schedule.leases, Schedule.keep_reserve)}
    ticks |= {tick.__name__ for tick in (Retention.delete_originals, Retention.empty_quarantine)}
    assert set(module.WORK) == ticks | {"study", "question"}


def test_a_tick_that_fails_is_tried_again_at_the_next(monkeypatch):
    monkeypatch.setattr(module, "_COMPLETENESS_SECONDS", 0.01)
    story, completed = Ticking(), threading.Event()
    story.schedule._completed = completed.set
    due, failures = story.worklist.due_for_completion, [RuntimeError("a bug"), WorklistUnavailableError("away")]

    def failing(now):
        if failures:
            raise failures.pop()
        return due(now)

    story.worklist.due_for_completion = failing
    story.receive()
    story.tick(RULE.quiet)
    story.schedule.start()
    assert completed.wait(SOON)
    story.schedule.stop()
    assert failures == []
    assert story.failures == ["complete_due"], "a database that is away is told of elsewhere"
