"""kill -9 at every step between an image's first byte and its committed report, and at any other time."""

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from support.failpoints import FAILPOINTS, SERVICES, Failpoint
from support.faultsite import Images
from support.services import SERVICE_TABLES, AskingModality, ServicePacs, Services
from support.trials import SEED, TRIALS, die_and_come_back, run

_STUDIES = 3  # of every probability, one of two images: each step is reached
_SERVED_SECONDS = 4.0  # as below, where the studies are fetched and committed, too
_LATEST_SECONDS = 2.0  # of a kill at a random time: everything is delivered by then where nothing else runs

pytestmark = pytest.mark.timeout(300 + 20 * TRIALS)


@dataclass(frozen=True)
class Kill:
    """One trial: at a failpoint, or at a time."""

    number: int
    failpoint: Failpoint | None
    after: float

    def __str__(self):
        return f"{self.number}: {self.failpoint or f'after {self.after:.2f} s'}"


def kills(steps, trials, latest):
    """The short form tries a sixth of the steps, another one each day; the long form all, and times between."""
    chance = random.Random(SEED)
    if trials:
        points = [steps[n // 2 % len(steps)] if n % 2 == 0 else None for n in range(trials)]
    else:
        sixth = int(os.environ.get("TRIAGE_FAULT_SIXTH", datetime.now(UTC).toordinal())) % 6
        points = [*steps[sixth::6], None, None]
    return [Kill(number, point, chance.uniform(0.0, latest)) for number, point in enumerate(points)]


def needs_of(kill):
    """How the PACS behaves: as the step needs it, or in one of its ways."""
    if kill.failpoint is not None and kill.failpoint.needs:
        return kill.failpoint.needs
    ways = ("another association", "the same association", "has lost it")
    return ways[kill.number % (2 if kill.failpoint else 3)]


def way_of(kill):
    """By C-MOVE and by C-GET in turn, where the step does not ask for one."""
    if kill.failpoint is not None and kill.failpoint.needs == "C-GET":
        return "get"
    return "move" if kill.number // 2 % 2 == 0 else "get"


@pytest.mark.parametrize("failpoint", [*FAILPOINTS, *SERVICES], ids=str)
def test_the_step_is_still_there(failpoint):
    failpoint.resolve()


def test_every_step_has_a_name_of_its_own():
    every = [*FAILPOINTS, *SERVICES]
    assert len({each.name for each in every}) == len(every)


def test_nothing_is_lost_doubled_or_lowered_wherever_the_agent_dies(launcher, tmp_path):
    def trial(lane, kill):
        studies = Images(lane.folder(), seed=1000 * kill.number).mixture(_STUDIES)
        return die_and_come_back(lane.agent(), studies, lane.peers, failpoint=kill.failpoint, after=kill.after)

    tally = run(kills(FAILPOINTS, TRIALS, _LATEST_SECONDS), trial, launcher, tmp_path)
    tally.write("kill-sqlite")
    tally.assert_nothing_is_wrong()


def test_nothing_is_lost_doubled_or_untold_wherever_the_agent_dies_while_it_commits_and_fetches(launcher, tmp_path):
    def trial(lane, kill):
        studies = Images(lane.folder(), seed=1000 * kill.number).mixture(_STUDIES)
        withheld = studies[1][1]
        needs = needs_of(kill)
        site = {"may": ["store", "query", "commit"], "commit": True, "retrieve": way_of(kill), "tables": SERVICE_TABLES}
        agent, pacs = lane.agent(**site), lane.peers.pacs
        pacs.serve(agent.port, [one for images in studies for one in images], needs)
        sent = [[one for one in images if one is not withheld] for images in studies]
        return die_and_come_back(
            agent,
            studies,
            lane.peers,
            failpoint=kill.failpoint,
            after=kill.after,
            modality=AskingModality(agent.port, sent, pacs),
            services=Services(agent, studies, pacs, [withheld]),
        )

    tally = run(kills(SERVICES, TRIALS // 2, _SERVED_SECONDS), trial, launcher, tmp_path, ServicePacs)
    tally.write("kill-services")
    tally.assert_nothing_is_wrong()
