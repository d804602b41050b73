"""The power fails: what was not synced is gone, and what was acknowledged is not (promise 1)."""

import random
import time
from dataclasses import dataclass

import pytest
from support.agent import triage_agent
from support.faultsite import FaultAgent, Images, Modality, Peers, all_delivered
from support.launcher import MUTATIONS
from support.powerloss import CHANGES, Disk
from support.trials import SEED, TRIALS, finish, run
from support.verdict import judge

_STUDIES = 3
_SHORT = 9
_LATEST_SECONDS = 2.0

pytestmark = [pytest.mark.external, pytest.mark.timeout(240 + 20 * TRIALS)]


@dataclass(frozen=True)
class Cut:
    """One trial: the power goes before so many calls that change the disk, or after so long."""

    number: int
    call: int | None
    after: float
    by_chance: bool  # whether some of what was not synced is kept

    def __str__(self):
        when = f"before call {self.call}" if self.call else f"after {self.after:.2f} s"
        return f"{self.number}: {when}{', some of the rest kept' if self.by_chance else ''}"


def cuts(of_start, of_life):
    """A third at a time, the others at a call; few of these at the start, which makes tables and thereby many calls."""
    chance = random.Random(SEED)
    made = []
    for number in range(TRIALS or _SHORT):
        call = chance.randint(1, of_start) if number % 9 == 1 else chance.randint(of_start + 1, of_life)
        after = chance.uniform(0, _LATEST_SECONDS)
        made.append(Cut(number, call if number % 3 else None, after, by_chance=number % 2 == 1))
    return made


@pytest.fixture
def calls(disk_launcher, library, tmp_path):
    """How often a site's disk is changed until the agent is ready, and until all is delivered."""
    disk = Disk(library, tmp_path / "measured-disk")
    studies = Images(tmp_path).mixture(_STUDIES)
    with Peers() as peers:
        agent = FaultAgent(tmp_path / "measured", disk_launcher, data_dir=disk.root / "var", disk=disk, **peers.ports)
        disk.watch(CHANGES)
        agent.start(wait=True)
        of_start = disk.count
        modality = Modality(agent.port, studies)
        modality.start()
        assert finish(agent, studies, modality, peers).verdict
    return {"of_start": of_start, "of_life": disk.count}


def test_nothing_acknowledged_is_lost_when_the_power_fails(disk_launcher, library, tmp_path, calls):
    def trial(lane, cut):
        disk = Disk(library, lane.folder() / "disk")
        studies = Images(lane.folder(), seed=1000 * cut.number).mixture(_STUDIES)
        agent = lane.agent(data_dir=disk.root / "var", disk=disk)
        if cut.call:
            disk.kill_at(cut.call)
        agent.start()
        modality = Modality(agent.port, studies)
        modality.start()
        if cut.call:
            agent.dies()
        else:
            time.sleep(cut.after)  # the moment of the cut is what is tried
        agent.kill()
        disk.cut(random.Random(cut.number) if cut.by_chance else None)
        agent.start()
        return finish(agent, studies, modality, lane.peers)

    tally = run(cuts(**calls), trial, disk_launcher, tmp_path)
    tally.write("power-cuts", calls=calls)
    tally.assert_nothing_is_wrong()


@pytest.mark.parametrize("mutation", [None, *MUTATIONS, "a disk that lies"])
def test_a_trial_notices_what_is_not_synced_and_only_that(mutation, disk_launcher, disk, images, tmp_path):
    studies = images.mixture(4)
    with Peers() as peers:
        agent = FaultAgent(tmp_path / "agent", disk_launcher, data_dir=disk.root / "var", disk=disk, **peers.ports)
        if mutation == "a disk that lies":
            disk.go_deaf()
        agent.start(wait=True, mutations=[mutation] if mutation in MUTATIONS else [])
        modality = Modality(agent.port, studies)
        modality.start()
        modality.join(60)
        all_delivered(agent, studies)
        agent.forget()
        agent.kill()
        disk.cut()
        if mutation == "no commit is synced":  # the database is empty then, and takes no spool by itself
            assert triage_agent("db", "rebuild", config=agent.config).returncode == 0
        agent.start(wait=True)
        verdict = judge(agent, studies, modality.acknowledged, peers)
        agent.close()
    assert len(modality.acknowledged) == 6
    # Where only the spool is durable, the images are found in it; what was decided and sent of them is forgotten.
    assert bool(verdict.doubled if mutation == "no commit is synced" else verdict.lost) == (mutation is not None)
    assert bool(verdict) == (mutation is None)
