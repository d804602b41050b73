"""Measures a day of many studies: the backlog, in seconds of work, while they come as they come to a hospital.

What is compressed: an hour lasts 3,600 / `compress` seconds, and in it studies come at `load` times the rate at which
they would come on a real day. So each moment is `load` times as hard as that day's, and the whole of it has
studies * load / compress studies. Bursts (a PACS that sends what it had kept) are not compressed: each has as many
studies, at once, as on a real day. What a compressed day does not show is what hours of the same load pile up; at a
load above 1 each hour's own load is left that far below what the agent can do.
"""

import os
import random
import time
from dataclasses import dataclass, replace

from sqlalchemy import Engine, distinct, func, select
from support.agent import eventually
from support.arrivals import Senders, of_pair
from support.flagbench import SETTLING_SECONDS, _all_settled, shape
from support.routebench import _machine, _used

from triage_agent.domain.vocabulary import Status
from triage_agent.settings import load_settings
from triage_agent.worklist import open_engine
from triage_agent.worklist.tables import InstanceRow, StudyRow

ALLOWED_SECONDS = 60.0  # the goal: never more than a minute's work
# Studies of each hour from midnight on, in percent of the day's: mornings and early afternoons, and a casualty
# department that never closes. Made up after that pattern, not counted anywhere.
HOURS = (1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 8, 7, 7, 8, 7, 6, 5, 4, 3, 3, 2, 2, 1)
BURST_HOURS = (7.9, 13.2)  # when a PACS sends what it had kept
_DAY_SECONDS = 86_400
_BUSIEST = 0.7  # of what the agent can do: the load is no higher at the peak
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Day:
    """Studies of the real day, images of each, how it is compressed, the most it is loaded with, studies of a burst."""

    studies: int = 10_000
    images: int = 2
    compress: float = 96.0
    load: float = 20.0
    burst: int = 40
    seed: int = 1

    @property
    def seconds(self):
        """How long the run takes, but for what is under way at its end."""
        return _DAY_SECONDS / self.compress

    @property
    def peak(self):
        """Studies a second in the real day's busiest hour."""
        return self.studies * max(HOURS) / sum(HOURS) / 3600

    def arrivals(self, pairs):
        """Each hour's, at random moments, and the bursts."""
        chance, moments, hour_seconds = random.Random(self.seed), [], 3600 / self.compress
        for hour, share in enumerate(HOURS):
            rate = self.load * self.studies * share / sum(HOURS) / 3600
            at = hour * hour_seconds
            while (at := at + chance.expovariate(rate)) < (hour + 1) * hour_seconds:
                moments.append(at)
        moments += [hour * hour_seconds for hour in BURST_HOURS for _ in range(self.burst)]
        return [
            of_pair(pairs[number % len(pairs)], at, self.images, raising=chance.random() < 1 / 3)
            for number, at in enumerate(sorted(moments))
        ]


def capacity(agent, pictures, *, studies, images):
    """Studies a second that the agent gets done when so many come at once: received, scored, decided, sent.

    What it waits for a study to be complete is left out, as long as it has others to work on.
    """
    at_once = [
        of_pair(pictures.pairs[n % len(pictures.pairs)], 0.0, images, raising=n % 3 == 0) for n in range(studies)
    ]
    senders = Senders(agent.port, at_once)
    looking = _Looking(agent)
    try:
        began = senders.start()
        senders.sent()
        eventually(lambda: _all_settled(agent, studies), SETTLING_SECONDS, every=0.2)
        took = time.time() - began
    finally:
        senders.close()
        looking.close()
    return studies / took


def measure(agent, pictures, day, can, before):
    """The day's backlog, second by second; a document. `can`: studies a second; `before`: studies that are there."""
    load = min(day.load, _BUSIEST * can / day.peak)
    day = replace(day, load=load)
    senders, looking, looks = Senders(agent.port, day.arrivals(pictures.pairs)), _Looking(agent), []
    try:
        used, machine, began = _used(agent.pid), _machine(), senders.start()
        while senders.running and time.time() - began < day.seconds + SETTLING_SECONDS:
            waiting = looking.waiting()
            looks.append((round(time.time() - began, 1), waiting))
            time.sleep(_LOOK_SECONDS)
        sent = senders.sent()
        took = time.time() - began
        spent, machine = _used(agent.pid) - used, _machine() - machine
    finally:
        senders.close()
        looking.close()
    eventually(lambda: _all_settled(agent, before + len(sent)), SETTLING_SECONDS, every=0.5)
    whole = _used(agent.pid) - used
    cores = os.cpu_count() or 1
    return {
        "studies_a_day": day.studies,
        "images_a_study": day.images,
        "compress": day.compress,
        "load": round(load, 2),
        "burst": day.burst,
        "studies_sent": len(sent),
        "studies_a_second_can": round(can, 2),
        "studies_a_second_mean": round(len(sent) / took, 2),
        "studies_a_second_peak": round(day.peak * load, 2),
        "picture": pictures.document(),
        "backlog_most_studies": max(waiting for _, waiting in looks),
        "backlog_most_s": round(max(waiting for _, waiting in looks) / can, 1),
        "backlog_s": shape([waiting / can for _, waiting in looks]),
        "goal_s": ALLOWED_SECONDS,
        "late_s": shape([one.late for one in sent]),
        "agent_core_seconds_a_study": round(whole / len(sent), 4),
        "agent_cpu_share": round(spent / took / cores, 3),
        "machine_cpu_share": round(machine / took / cores, 3),
        "looks": [(at, round(waiting / can, 2)) for at, waiting in looks],
    }


class _Looking:
    """Asks the worklist how many studies have something left to do now."""

    def __init__(self, agent):
        self._engine: Engine = open_engine(load_settings(agent.config).database_url)

    def waiting(self):
        """Studies with an image that was not scored, and complete ones that were not decided.

        A study that only waits for its quiet period is no work.
        """
        unscored = select(func.count(distinct(InstanceRow.study_instance_uid))).where(InstanceRow.outcome.is_(None))
        complete = select(func.count()).where(StudyRow.status.in_([Status.READY, Status.SCORING]))
        with self._engine.connect() as connection:
            return connection.scalar(unscored) + connection.scalar(complete)

    def close(self):
        self._engine.dispose()
