"""A worklist whose ticks are called by hand, and a PACS that is asked how many images a study has."""

import threading
import time
from datetime import timedelta

from support.story import LEASE, RULE, STUDY, Story, received

from triage_agent.schedule import Schedule
from triage_agent.worklist import MemoryWorklist

SOON = 30.0  # seconds


class FakePacs:
    """Answers how many images a study has; `None` where it does not know; raises what is an error."""

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def count_instances(self, study_instance_uid):
        self.asked.append(study_instance_uid)
        self.may_answer.wait(SOON)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Ticking(Story):
    """A worklist with a schedule whose ticks are called by hand."""

    def __init__(self, counter=None, rule=RULE):
        super().__init__(MemoryWorklist())
        self.rule = rule
        self.woken = 0
        self.failures = []
        self.schedule = Schedule(
            worklist=self.worklist,
            rule=rule,
            clock=lambda: self.now,
            counter=counter,
            completed=self._wake,
            owners=("us", "us-too"),
            lease=LEASE,
            failed=self.failures.append,
        )

    def _wake(self):
        self.woken += 1

    def receive(self, study=STUDY, image=None, **details):
        known = self.worklist.study(study)
        image = image or f"{study}.{len(known.instances) + 1 if known else 1}"
        return self.worklist.register(received(study, image, self.tick(), **details), self.rule)

    def complete_due(self, after=timedelta(0)):
        """One tick, `after` so long; returns when the questions it asked are answered."""
        self.tick(after)
        self.schedule.complete_due()
        self.answered()

    def answered(self):
        """Wait until no question is open."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            with self.schedule._lock:
                if not self.schedule._asking:
                    return
            time.sleep(0.001)
        raise AssertionError("a question was never answered")

    def end(self):
        self.schedule._askers.stop()
        for thread in self.schedule._askers._threads:
            if thread.ident is not None:
                thread.join(SOON)
