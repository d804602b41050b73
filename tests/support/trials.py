"""Trials by the hundred: each breaks a site of its own in one way, and says what was wrong afterwards.

TRIAGE_FAULTS asks for the long form, with so many trials; TRIAGE_FAULT_SEED chooses which (they are the same again with
the same seed). Results go to build/faults/NAME.json.
"""

import json
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from support.agent import eventually
from support.faultsite import PATIENCE_SECONDS, FaultAgent, Modality, Peers, all_delivered
from support.verdict import Verdict, Watch, judge

TRIALS = int(os.environ.get("TRIAGE_FAULTS", "0"))  # 0: the short form
SEED = int(os.environ.get("TRIAGE_FAULT_SEED", "7"))
LANES = int(os.environ.get("TRIAGE_FAULT_LANES", "3"))  # trials at once: each waits most of the time
_RESULTS = Path(__file__).parents[2] / "build" / "faults"
_REACH_SECONDS = 20.0  # to come to a step that takes a second where nothing else runs
_SHOWN = 20  # of what is wrong
_AGAIN = 2  # times a step is tried again that its trial did not come to


def write_figures(name, **figures):
    """Keep them; those of the short form are kept apart, so that they never pass for the long one's."""
    _RESULTS.mkdir(parents=True, exist_ok=True)
    run = {
        "what": name,
        "form": "long" if TRIALS else "short",
        "seed": SEED,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
    }
    file = _RESULTS / (f"{name}.json" if TRIALS else f"{name}.short.json")
    file.write_text(json.dumps(run | figures, indent=1) + "\n")


@dataclass
class Tally:
    """What came of many trials."""

    trials: int = 0
    acknowledged: int = 0  # instances
    studies: int = 0
    reached: dict = field(default_factory=dict)  # by failpoint: whether any trial of it came to it
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    @property
    def unreached(self):
        """Failpoints that none of their trials came to: the step is not where the list says that it is."""
        return sorted(name for name, reached in self.reached.items() if not reached)

    def add(self, outcome, trial):
        name, point = str(trial), getattr(trial, "failpoint", None)
        self.trials += 1
        self.acknowledged += outcome.acknowledged
        self.studies += outcome.studies
        if point is not None:
            self.reached[point.name] = self.reached.get(point.name, False) or outcome.reached
        for wrong in vars(outcome.verdict).values():
            wrong[:] = [f"[{name}] {one}" for one in wrong]
        self.verdict.add(outcome.verdict)

    def write(self, name, **more):
        """Keep the figures."""
        write_figures(
            name,
            trials=self.trials,
            studies=self.studies,
            acknowledged=self.acknowledged,
            **self.verdict.counts(),
            failpoints=len(self.reached),
            unreached=self.unreached,
            seconds=round(self.seconds, 1),
            **more,
        )

    def assert_nothing_is_wrong(self):
        wrong = {kind: list(map(str, some))[:_SHOWN] for kind, some in vars(self.verdict).items() if some}
        assert not wrong, json.dumps(wrong, indent=1)
        assert not self.unreached, f"never reached: {self.unreached}"


@dataclass
class Outcome:
    """What came of one trial."""

    verdict: Verdict
    acknowledged: int
    studies: int
    reached: bool = True


class Lane:
    """Where one trial after the other is made: peers that go on, and a folder a trial."""

    def __init__(self, folder, launcher, pacs=None):
        self._folder = folder
        self._launcher = launcher
        self._numbers = count()
        self.peers = Peers(pacs)

    def agent(self, **site):
        return FaultAgent(self._folder / f"{next(self._numbers)}", self._launcher, **self.peers.ports, **site)

    def folder(self):
        """A new one."""
        made = self._folder / f"{next(self._numbers)}"
        made.mkdir()
        return made


def run(trials, make_trial, launcher, folder, make_pacs=lambda: None):
    """Make trials, some at once; `make_trial(lane, trial)` gives an `Outcome`, and `str(trial)` its name."""
    tally, started = Tally(), time.monotonic()
    for again in range(1 + _AGAIN):
        if again:  # a busy machine may do the step before it in another order, for once
            trials = [
                one for one in trials if getattr(getattr(one, "failpoint", None), "name", None) in tally.unreached
            ]
        _round(trials, make_trial, launcher, folder / f"round-{again}", make_pacs, tally)
    tally.seconds = time.monotonic() - started
    return tally


def _round(trials, make_trial, launcher, folder, make_pacs, tally):
    lock, waiting = threading.Lock(), iter(trials)

    def work(number):
        (folder / f"lane-{number}").mkdir(parents=True)
        lane = Lane(folder / f"lane-{number}", launcher, make_pacs())
        with lane.peers:
            while True:
                with lock:
                    trial = next(waiting, None)
                if trial is None:
                    return
                outcome = _tried(lane, trial, make_trial)
                with lock:
                    tally.add(outcome, trial)

    lanes = min(LANES, len(trials))
    with ThreadPoolExecutor(max(lanes, 1)) as pool:
        for done in [pool.submit(work, number) for number in range(lanes)]:
            done.result()


def _tried(lane, trial, make_trial):
    """A trial that comes to no end is a finding, and stops no other."""
    try:
        return make_trial(lane, trial)
    except Exception:  # noqa: BLE001 - as above
        return Outcome(Verdict(without_status=[traceback.format_exc()[-6000:]]), 0, 0, reached=False)


def finish(agent, studies, modality, peers, watch=None, *, reached=True, beside=(), services=None):
    """Let the senders end, wait until all is delivered, and judge; the agent, and those beside it, are gone then.

    `services` knows what else must come to its end (`settled`), and looks at that, too (`judge`).
    """
    watch = watch or Watch()
    try:
        modality.join(PATIENCE_SECONDS)
        all_delivered(agent, studies, look=watch)
        if services is not None:
            eventually(services.settled, PATIENCE_SECONDS, every=0.05)
        verdict = judge(agent, studies, modality.acknowledged, peers, watch)
        if services is not None:
            services.judge(verdict)
    finally:
        modality.stop()
        agent.forget()
        for each in (agent, *beside):
            each.kill()
    if modality.is_alive():
        verdict.without_status.append("the sender did not end")
    return Outcome(verdict, len(modality.acknowledged), len(studies), reached=reached)


def die_and_come_back(agent, studies, peers, *, failpoint=None, after=None, modality=None, services=None):
    """kill -9 at a failpoint, or so many seconds `after` the first image is sent; then the same agent again."""
    agent.start(wait=failpoint is not None, failpoint=failpoint)
    modality = modality or Modality(agent.port, studies)
    modality.start()
    if failpoint is not None:
        agent.dies(_REACH_SECONDS)
    else:
        time.sleep(after)  # the moment of the kill is what is tried
    agent.kill()
    reached = agent.reached or failpoint is None
    agent.start()
    return finish(agent, studies, modality, peers, reached=reached, services=services)
