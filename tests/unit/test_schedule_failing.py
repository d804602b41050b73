"""Ticks that fail, and studies that cannot be looked at: they cost no other, and are told of."""

import threading

from structlog.testing import capture_logs
from support.story import RULE
from support.ticking import SOON, Ticking

from triage_agent import schedule as module
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Status


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
