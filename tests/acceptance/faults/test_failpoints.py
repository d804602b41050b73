"""kill -9 at every step between an image's first byte and its delivered report, and at any other time."""

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from support.failpoints import FAILPOINTS, Failpoint
from support.faultsite import Images
from support.trials import SEED, TRIALS, die_and_come_back, run

_STUDIES = 3  # of every probability, one of two images: each step is reached
_LATEST_SECONDS = 2.0  # of a kill at a random time: everything is delivered by then where nothing else runs

pytestmark = pytest.mark.timeout(240 + 20 * TRIALS)


@dataclass(frozen=True)
class Kill:
    """One trial: at a failpoint, or at a time."""

    number: int
    failpoint: Failpoint | None
    after: float

    def __str__(self):
        return f"{self.number}: {self.failpoint or f'after {self.after:.2f} s'}"


def kills():
    """The short form tries a third of the failpoints, another one each day; the long form all, and times between."""
    chance = random.Random(SEED)
    if TRIALS:
        points = [FAILPOINTS[n // 2 % len(FAILPOINTS)] if n % 2 == 0 else None for n in range(TRIALS)]
    else:
        third = int(os.environ.get("TRIAGE_FAULT_THIRD", datetime.now(UTC).toordinal())) % 3
        points = [*FAILPOINTS[third::3], None, None]
    return [Kill(number, point, chance.uniform(0.0, _LATEST_SECONDS)) for number, point in enumerate(points)]


@pytest.mark.parametrize("failpoint", FAILPOINTS, ids=str)
def test_the_step_is_still_there(failpoint):
    failpoint.resolve()


def test_every_step_has_a_name_of_its_own():
    assert len({each.name for each in FAILPOINTS}) == len(FAILPOINTS)


def test_nothing_is_lost_doubled_or_lowered_wherever_the_agent_dies(launcher, tmp_path):
    def trial(lane, kill):
        studies = Images(lane.folder(), seed=1000 * kill.number).mixture(_STUDIES)
        return die_and_come_back(lane.agent(), studies, lane.peers, failpoint=kill.failpoint, after=kill.after)

    tally = run(kills(), trial, launcher, tmp_path)
    tally.write("kill-sqlite")
    tally.assert_nothing_is_wrong()
